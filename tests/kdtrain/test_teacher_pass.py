"""A trial with a table and one without give the same rows, bit for bit; and a full table needs no teacher."""

import pytest
import torch

from kdtrain import teacher_pass, teacher_table
from kdtrain.method import asks_teacher, list_methods, load_method
from kdtrain.train import train
from tests.kdtrain.trials import finish, make_config, store_teacher, without_times

WRAPPED = ("select(kd)", "standardize(dkd)", "weight_by_discrepancy(kd)", "auxiliary_head(kd)")
TAUGHT = [name for name in (*list_methods(), *WRAPPED) if asks_teacher(load_method(name).needs)]
ON_LOGITS = [name for name in TAUGHT if not (load_method(name).needs.pooled or load_method(name).needs.maps)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"), epochs=1)


@pytest.fixture
def refuse_teacher(monkeypatch):
    """From when it is called, nobody can load a teacher's network."""
    def refuse(*_):
        raise AssertionError("the teacher was asked")
    return lambda: monkeypatch.setattr(teacher_pass, "load_teacher", refuse)


def told(state):
    """What a trial ends as, but for how its teacher was asked."""
    state = without_times(state)
    return {**state, "facts": {**state["facts"], "teacher_pass": "any"}}


def taught(teacher, **changes):
    return make_config(**{"augment": "crop_flip", "epochs": 2, "method": "kd", "test_curve": True, "measure_test": True,
                          **teacher, **changes})


@pytest.mark.parametrize("method", ON_LOGITS)
def test_a_table_changes_no_bit_of_any_method_on_logits(method, teacher, tmp_path, refuse_teacher):
    live = finish(taught(teacher, method=method))
    filling = finish(taught(teacher, method=method, tables_dir=str(tmp_path)))
    teacher_table._open_once.cache_clear()  # as another process
    refuse_teacher()
    reading = finish(taught(teacher, method=method, tables_dir=str(tmp_path)))
    assert told(live) == told(filling) == told(reading)
    assert [state["facts"]["teacher_pass"] for state in (live, filling, reading)] == ["live", "table", "table"]


@pytest.mark.parametrize("changes", [
    {"augment": "resized_crop_flip"}, {"rand_augment": 1}, {"erasing": 0.5}, {"mixup": 0.8}, {"cutmix": 1.0},
    {"method": "tests.kdtrain.trials:Watching"},
])
def test_what_no_table_can_hold_is_asked_live_and_the_row_says_so(changes, teacher, tmp_path):
    live = finish(taught(teacher, **changes, epochs=1))
    beside = finish(taught(teacher, **changes, epochs=1, tables_dir=str(tmp_path)))
    assert beside["facts"]["teacher_pass"] == "live"
    assert told(live) == told(beside)


def test_trials_that_share_their_views_share_every_pass_of_the_teacher(teacher, tmp_path, refuse_teacher):
    first = taught(teacher, view_seed=7, tables_dir=str(tmp_path))
    finish(first)
    refuse_teacher()
    others = ({"seed": 1}, {"settings": {"temperature": 1.5}}, {"method": "dkd"}, {"train_images": 60, "batch_size": 7})
    for changes in others:
        finish(taught(teacher, view_seed=7, tables_dir=str(tmp_path), **changes))
    with pytest.raises(AssertionError, match="the teacher was asked"):
        finish(taught(teacher, view_seed=8, tables_dir=str(tmp_path)))


def test_shared_views_leave_order_and_weights_to_each_trial(teacher):
    def see(**changes):
        run = next(iter(train(taught(teacher, **{"view_seed": 7, "epochs": 1, **changes})))).run
        fed = [batch for _, batch in run.feed.read_epoch(1)]
        return (torch.cat([getattr(batch, name) for batch in fed]) for name in ("index_B", "view_B"))

    (index_N, view_N), (other_index_N, other_view_N) = see(), see(seed=1)
    assert not torch.equal(index_N, other_index_N)
    assert torch.equal(view_N[index_N.argsort()], other_view_N[other_index_N.argsort()])
    own_index_N, own_view_N = see(view_seed=None)
    assert not torch.equal(view_N[index_N.argsort()], own_view_N[own_index_N.argsort()])


def test_the_teacher_s_logits_are_its_network_s(teacher):
    """Against the network itself, image by image."""
    run = next(iter(train(taught(teacher, epochs=1)))).run
    for _, fed in run.feed.read_epoch(1):
        for image_CHW, logits_C in zip(fed.image_BCHW, fed.teacher_logits_BC, strict=True):
            assert torch.allclose(run.teacher.network(image_CHW[None])[0], logits_C, atol=1e-5)
    test_BCHW = run.images.test.image_NCHW[:5]
    alone_BC = run.teacher.network(teacher_pass.normalise(test_BCHW, run.images.info))
    assert torch.allclose(run.teacher_logits_test_NC[:5], alone_BC, atol=1e-5)


def test_other_pixels_under_the_same_name_are_another_table(teacher, tmp_path, monkeypatch):
    finish(taught(teacher, tables_dir=str(tmp_path), epochs=1))
    monkeypatch.setattr(teacher_pass, "fingerprint_data", lambda config: ("other pixels", 700, 1097))
    finish(taught(teacher, tables_dir=str(tmp_path), epochs=1))
    assert len(list(tmp_path.iterdir())) == 2


def test_batches_of_another_size_are_another_table(teacher, tmp_path, monkeypatch):
    """They may round otherwise: what an older version stored is not what this one would compute."""
    finish(taught(teacher, tables_dir=str(tmp_path), epochs=1))
    monkeypatch.setattr(teacher_pass, "choose_batch", lambda device: 64)
    finish(taught(teacher, tables_dir=str(tmp_path), epochs=1))
    assert len(list(tmp_path.iterdir())) == 2


def test_bf16_and_float32_have_tables_of_their_own(teacher, tmp_path):
    finish(taught(teacher, tables_dir=str(tmp_path), epochs=1, precision="bf16"))
    assert len(list(tmp_path.iterdir())) == 2  # one to train with, one to measure agreement by


def test_a_table_without_room_is_said_in_the_trial_s_facts(teacher, tmp_path):
    state = finish(taught(teacher, tables_dir=str(tmp_path), table_bytes=10, epochs=2))
    cells = 2 * 100 + 400 + 1097  # views of two epochs, validation, test
    assert state["facts"]["warning"] == (
        f"teacher table: {cells:,} logits were not stored, there is no room for them in {tmp_path}"
    )
    assert told(finish(taught(teacher, epochs=2))) == told({**state, "facts": {
        name: value for name, value in state["facts"].items() if name != "warning"
    }, "warning": None})
