import pytest

from analysis import tables
from kdtrain.config import TrialConfig
from kdtrain.images import load_info
from sweeps import cost
from tests.kdtrain.trials import make_config
from tests.sweeps.tiny_study import WHOLE, change, read


def bound(old, new, *more):
    text = change(old, new)
    for old, new in more:
        text = change(old, new, text)
    return cost.bound_epochs(read(text))


def test_without_early_stopping_every_trial_takes_the_whole_budget():
    assert bound("rule: asha", "rule: none") == (4 * 9, 4 * 9)


def test_promoting_lets_a_third_go_on_at_each_rung():
    # rungs 1 and 3 of 9 epochs: 9 trials to epoch 1, 3 of them to 3, 1 of them to 9
    assert bound("trials_per_arm: 4", "trials_per_arm: 9", ("immune: 0.25", "immune: 0")) == (21, 21)
    assert 9 * 1 + 3 * 2 + 1 * 6 == 21


def test_one_trial_reaches_the_end_however_few_there_are():
    assert bound("trials_per_arm: 4", "trials_per_arm: 2", ("immune: 0.25", "immune: 0")) == (2 * 1 + 2 + 6,) * 2


def test_immune_trials_run_to_the_end_beside_those_that_are_judged():
    # one of four is immune: 9 epochs; three to epoch 1, one of them to 3 and to 9
    assert cost.bound_epochs(read(WHOLE)) == (9 + 3 * 1 + 1 * 2 + 1 * 6,) * 2


def test_a_stopping_rule_may_let_one_or_all_go_on():
    low, high = bound("rule: asha", "rule: asha_stop", ("immune: 0.25", "immune: 0"))
    assert (low, high) == (4 * 1 + 8, 4 * 9)
    assert bound("rule: asha", "rule: asha_stop") == (9 + 3 * 1 + 8, 4 * 9)  # one of four is immune


def test_the_cost_of_a_study_is_that_of_its_arms_repeats_and_teachers():
    found = cost.estimate_cost(read(change("train_on: train+validation", "train_on: train")), lambda config: 2.0)
    assert len(found.arms) == 6
    assert found.trials == 6 * (4 + 2) + 2
    assert found.epochs_low == found.epochs_high == 6 * (20 + 2 * 9) + 2 * 3
    assert found.seconds_high == 2.0 * found.epochs_high
    assert found.arms[0].seconds_low == 2.0 * (20 + 18)


def test_a_teacher_that_is_stored_costs_nothing():
    study = read(WHOLE)
    found = cost.estimate_cost(study, lambda config: 1.0, stored=[study.teachers[0].teacher_id])
    assert [teacher.model for teacher in found.teachers] == ["resnet20"]


def test_an_epoch_sees_the_train_images_and_in_repeats_the_held_out_ones_too():
    study, info = read(WHOLE), load_info("digits")
    tune = study.trial_config(study.arms[0], {}, seed=0, stage="tune")
    repeat = study.trial_config(study.arms[0], {}, seed=0, stage="repeat")
    assert cost.count_train_images(tune, info) == 300
    assert cost.count_train_images(repeat, info) == 700
    few = read(change("validation: 400", "validation: 400, train_images: 50"))
    assert cost.count_train_images(few.trial_config(few.arms[0], {}, seed=0, stage="repeat"), info) == 450


@pytest.mark.parametrize("index", range(4))
def test_an_epoch_is_timed_with_and_without_a_teacher_and_needs_no_data(index):
    study = read(change("recipe: small, epochs: 9", "recipe: small, epochs: 9, batch_size: 8")).at(data_root="/nowhere")
    config = study.trial_config(study.arms[index], {}, seed=0, stage="tune")
    assert cost.measure_seconds_per_epoch(config) > 0


def test_a_method_that_the_loop_refuses_is_refused_when_it_is_planned():
    config = make_config(method="tests.kdtrain.trials:TwoViews")
    with pytest.raises(ValueError, match="asks for 2 views of an image"):
        cost.measure_seconds_per_epoch(config)


def test_a_method_with_parameters_of_its_own_is_timed():
    assert cost.measure_seconds_per_epoch(make_config(method="tests.kdtrain.trials:Stateful")) > 0


@pytest.mark.parametrize("fields", [
    {"data": "imagenet", "image_size": 32, "augment": "resized_crop_flip", "rand_augment": 2, "erasing": 0.25},
    {"data": "imagenet", "image_size": 32, "augment": "crop_flip", "padding": 4, "workers": 64},
    {"image_size": 16, "augment": "crop", "padding": 1},
])
def test_a_trial_on_files_is_timed_on_a_batch_of_noise_and_reads_none(fields):
    config = make_config(data_root="/nowhere", batch_size=4, validation=1_000, train_images=1_000, **fields)
    assert cost.measure_seconds_per_epoch(config) > 0


@pytest.mark.parametrize(
    ("data", "batch_size", "timed"),
    [("imagenet", 1024, 5), ("imagenet", 4, 4), ("cifar10", 1024, 256), ("cifar10", 64, 64)],
)
def test_on_a_cpu_few_of_many_large_images_are_timed_for_all(monkeypatch, data, batch_size, timed):
    seen = []
    monkeypatch.setattr(cost, "train_on_batch", lambda run, fed, **moment: seen.append(len(fed.label_B)))
    monkeypatch.setattr(cost, "_time", lambda step, device: (step(), 1.0)[1])
    config = TrialConfig(data=data, student="resnet8(width=1)", batch_size=batch_size, validation=0, train_images=2048,
                         device="cpu")
    seconds = cost.measure_seconds_per_epoch(config)
    assert seen == [timed]
    # a second to make the timed images and one to train on them; an epoch has 2,048
    assert seconds == pytest.approx(2 * 2048 / timed)


def test_making_batches_costs_nothing_where_other_processes_hide_it_behind_training(monkeypatch):
    seconds = iter([3.0, 2.0, 0.0, 3.0, 2.0, 0.0, 12.0, 2.0, 0.0])  # to feed, to train, to predict
    monkeypatch.setattr(cost, "_time", lambda step, device: next(seconds))
    configs = [make_config(workers=workers, validation=0) for workers in (0, 4, 4)]  # 100 images in batches of 32
    assert [cost.measure_seconds_per_epoch(config) for config in configs] == [4 * 5.0, 4 * 2.0, 4 * 3.0]


def test_seconds_come_from_an_earlier_study_of_the_same_models_and_method(tmp_path, monkeypatch):
    study = read(WHOLE)
    trial = {"study_id": "s1", "trial_id": "t1", "data": "digits", "student": "resnet8(width=4)", "method": "ce"}
    tables.write(tmp_path, "trials", "t1", [trial])
    tables.write(tmp_path, "epochs", "t1", [
        {"study_id": "s1", "trial_id": "t1", "epoch": epoch, "epoch_seconds": seconds, "num_images": 150}
        for epoch, seconds in enumerate((9.0, 1.5, 1.5), start=1)
    ])
    timed = []
    monkeypatch.setattr(cost, "measure_seconds_per_epoch", lambda config: timed.append(config.method) or 30.0)
    find = cost.find_seconds_per_epoch([tmp_path])
    plain, taught = (study.trial_config(study.arms[index], {}, seed=0, stage="tune") for index in (0, 2))
    assert find(plain) == pytest.approx(3.0)   # a median of 1.5 seconds for 150 images, 300 images here
    assert find(taught) == pytest.approx(30.0)
    assert find(taught) == pytest.approx(30.0)
    assert timed == ["kd"]                     # once


PLANNED = change("recipe: small, epochs: 9", "recipe: small, epochs: 9, augment: crop, padding: 1")


def plan_tables(text):
    study = read(text).at(tables_dir="somewhere")
    return cost.estimate_cost(study, lambda config: 0.0, seconds_per_image=lambda config: 0.001).tables


def test_a_table_holds_the_different_views_that_are_expected_of_so_many_draws():
    """Two arms a pair ask: nine epochs that the search shares, two repeats of nine in each: 45 draws of 9 views.

    Repeats train on all 700 images; 400 held-out ones and 1,097 of test are asked as they are. A cell is a number of 8
    bytes and ten logits of 4.
    """
    cells = round(700 * 9 * (1 - (8 / 9) ** 45)) + 400 + 1097
    assert [(table.model, table.cells, table.num_bytes) for table in plan_tables(PLANNED)] == [
        ("wrn_16_1", cells, 48 * cells), ("resnet20", cells, 48 * cells),
    ]
    assert plan_tables(PLANNED)[0].seconds == pytest.approx(cells / 1000)


@pytest.mark.parametrize(("line", "draws"), [
    ("views: shared", 9),
    ("views: {tune: own}", 2 * 20 + 2 * 2 * 9),
    ("views: {tune: own, repeat: shared}", 2 * 20 + 9),
])
def test_sharing_views_makes_a_table_smaller(line, draws):
    assert plan_tables(PLANNED + line)[0].cells == round(700 * 9 * (1 - (8 / 9) ** draws)) + 400 + 1097


def test_a_table_is_bounded_and_there_is_none_where_it_is_off_or_views_have_no_number():
    assert plan_tables(PLANNED + "teacher_table: {max_bytes: 1000}")[0].num_bytes == 1000
    assert plan_tables(PLANNED + "teacher_table: off") == ()
    assert plan_tables(change("augment: crop, padding: 1", "augment: resized_crop_flip", PLANNED)) == ()


def test_an_epoch_without_a_table_is_planned_with_its_pass_of_the_teacher(monkeypatch):
    monkeypatch.setattr(cost, "measure_seconds_per_image", lambda config: 1000.0)
    study = read(change("recipe: small, epochs: 9", "recipe: small, epochs: 9, batch_size: 8"))
    taught = study.trial_config(study.arms[2], {}, seed=0, stage="tune")
    tabled = study.at(tables_dir="somewhere").trial_config(study.arms[2], {}, seed=0, stage="tune")
    assert cost.measure_seconds_per_epoch(taught) > 300_000 > cost.measure_seconds_per_epoch(tabled)
