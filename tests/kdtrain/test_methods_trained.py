"""Every method trains a student on real images, and stops and goes on without a trace."""

from __future__ import annotations

import math

import pytest
import torch

from kdtrain import checkpoint
from kdtrain.method import list_methods, load_method
from kdtrain.run import build_run
from kdtrain.train import train, train_on_batch
from tests.kdtrain.trials import finish, make_config, store_teacher, without_times

every_method = pytest.mark.parametrize("method", list_methods())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"), epochs=1)


@pytest.fixture(scope="module")
def uninterrupted(teacher):
    """The final state of a method's trial of two epochs, trained once."""
    states = {}

    def find(method):
        if method not in states:
            states[method] = finish(_make_config(method, teacher))
        return states[method]

    return find


def _make_config(method, teacher, **changes):
    """Two epochs of two batches; no weight decay, so that only a gradient moves a weight."""
    fields = teacher if load_method(method).needs.teacher_logits else {}
    small = {"epochs": 2, "train_images": 64, "validation": 64, "weight_decay": 0}
    return make_config(method=method, **small, **fields, **changes)


@every_method
def test_a_trial_that_is_killed_within_its_second_epoch_gives_the_same_bits(tmp_path, teacher, uninterrupted, method):
    config = _make_config(method, teacher)
    run = next(train(config)).run
    checkpoint.save(tmp_path / "c.pt", run.state_dict())
    _, fed = next(run.feed.read_epoch(2))
    train_on_batch(run, fed, epoch=2, progress=0.5, generator=torch.Generator())  # lost with the process
    assert without_times(finish(config, tmp_path / "c.pt")) == without_times(uninterrupted(method))


@every_method
def test_rows_hold_finite_terms_that_add_up(uninterrupted, method):
    for row in uninterrupted(method)["rows"]:
        assert row["loss_total"] == pytest.approx(sum(row["terms"].values()), rel=1e-5)
        assert all(math.isfinite(term) for term in row["terms"].values())
        assert row["loss_label"] == row["terms"]["label"]


@every_method
def test_training_moves_all_of_the_student_and_all_that_the_method_trains(teacher, uninterrupted, method):
    start = build_run(_make_config(method, teacher))
    for part, module in (("student", start.student), ("own", start.own)):
        trained = uninterrupted(method)["modules"][part]
        for name, before in () if module is None else module.named_parameters():
            assert not torch.equal(trained[name], before), f"{part} {name}"


@every_method
@pytest.mark.parametrize("changes", [{"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}, {"precision": "bf16"}],
                         ids=["mixed", "bf16"])
def test_it_trains_on_mixed_batches_and_in_half_precision(teacher, method, changes):
    config = _make_config(method, teacher, **changes)
    assert all(math.isfinite(row["loss_total"]) for row in finish(config)["rows"])
