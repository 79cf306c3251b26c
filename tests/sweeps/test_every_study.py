"""The law of the studies that are shipped."""

import re
from functools import cache
from pathlib import Path

import pytest

import sweeps
from sweeps import study
from sweeps.asha import is_immune
from sweeps.cost import estimate_cost

EVERY = study.list_studies()
load = cache(study.load)


@pytest.fixture(params=EVERY)
def found(request):
    return load(request.param)


def read_head(found):
    """The comment that the study file opens with."""
    return found.source_text.split("study:")[0]


def test_the_studies_are_found_as_files():
    files = Path(sweeps.__file__).parent.glob("studies/*.yaml")
    assert sorted(path.stem for path in files) == EVERY
    assert {
        "cifar10_small", "digits", "fashion_mnist", "nkd_cifar100", "nkd_imagenet", "swin_tf_nkd", "tf_nkd_imagenet",
    } <= set(EVERY)  # fmt: skip


def test_a_study_bears_the_name_of_its_file(found):
    assert load(found.name).study_id == found.study_id


def test_a_study_opens_with_its_question_its_command_and_its_time(found):
    head = read_head(found)
    assert all(line.startswith("#") for line in head.strip().splitlines())
    assert "?" in head
    assert f"kdsweep run {found.name}" in head
    assert re.search(r"[Aa]bout \d+ minutes on|\d+ days of one GPU", head)


def test_a_study_that_counts_its_epochs_counts_them_right(found):
    counted = re.search(r"([\d,]+) epochs of", read_head(found))
    if counted:
        cost = estimate_cost(found, lambda config: 0.0)
        assert {cost.epochs_low, cost.epochs_high} == {int(counted[1].replace(",", ""))}


def test_a_study_that_says_that_one_trial_is_immune_has_one(found):
    immune = [number for number in range(found.search.trials_per_arm) if is_immune(number, found.stop.immune)]
    assert len(immune) == ("is immune" in found.source_text)


def test_a_study_that_takes_days_counts_its_epochs(found):
    assert ("days" in read_head(found)) == bool(re.search(r"[\d,]+ epochs of", read_head(found)))


def test_a_study_of_a_paper_says_what_it_reports(found):
    head = read_head(found)
    if found.name.startswith(("nkd", "tf_nkd", "swin")):
        assert "arXiv:2208.10139" in head
        assert re.search(r"\b[6-8]\d\.\d\d\b", head)


def test_a_study_of_tf_nkd_on_imagenet_says_over_how_many_images_it_takes_its_mean(found):
    if found.data.name == "imagenet" and "tf_nkd" in {arm.method for arm in found.arms}:
        told = f"takes a mean over the batch: here over {found.fix['batch_size']:,} images in one process"
        assert told in read_head(found)


def test_a_study_gives_no_warning(found):
    assert found.warnings == ()


def test_a_study_has_plain_training_and_its_controls_beside_the_methods_in_every_pair(found):
    labels = {(arm.student, arm.label) for arm in found.arms}
    taught = [pair for pair in found.pairs if pair.teacher is not None]
    for pair in found.pairs:
        for label in ("ce", "ce_x2"):
            assert (pair.student, label) in labels
        assert (pair.student, "nkd") in labels or (pair.student, "tf_nkd") in labels
    for pair in taught:
        for label in ("kd", "nkd"):
            assert (pair.student, label) in labels


def test_every_arm_of_a_study_searches_something_and_begins_inside_its_space(found):
    assert len({arm.arm_id for arm in found.arms}) == len(found.arms) > 0
    for arm in found.arms:
        assert arm.space
        assert arm.first
        for point in arm.first:
            assert all(arm.space[name].contains(value) for name, value in point.items())


def test_the_learning_rate_of_the_recipe_is_tried_first_in_every_arm(found):
    for arm in found.arms:
        if "lr" in arm.space:
            assert {point["lr"] for point in arm.first} == {(found.fix | found.exceptions.get(arm.student, {}))["lr"]}


def test_every_trial_of_a_study_is_another_one(found):
    configs = [
        found.trial_config(arm, point, seed=seed, stage=stage)
        for arm in found.arms
        for point in arm.first
        for seed in (0, 1)
        for stage in ("tune", "repeat")
    ]
    assert len({config.trial_id for config in configs}) == len(configs)


def test_every_pair_of_a_study_has_its_teacher_or_none_has_one(found):
    taught = {pair.teacher_id for pair in found.pairs if pair.teacher is not None}
    assert taught == {teacher.teacher_id for teacher in found.teachers}
    assert taught == set() or None not in {pair.teacher for pair in found.pairs}
    assert all(teacher.gate is not None for teacher in found.teachers if teacher.origin is None)


def test_a_study_stops_weak_trials_and_repeats_its_winners_at_least_three_times(found):
    assert found.rungs
    assert found.repeat.seeds >= 3


def test_the_13_pairs_of_cifar100_share_what_needs_no_teacher():
    found = load("nkd_cifar100")
    assert len(found.pairs) == 13
    assert len({pair.student for pair in found.pairs}) == 9
    # five methods without a teacher for each student, three with one for each pair
    assert len(found.arms) == 5 * 9 + 3 * 13


@pytest.mark.parametrize(
    ("student", "lr", "control"), [("resnet20", 0.05, 0.1), ("MobileNetV2", 0.01, 0.02), ("ShuffleV1", 0.01, 0.02)]
)
def test_the_pairs_of_cifar100_train_at_the_published_rate_and_the_control_at_twice_that(student, lr, control):
    found = load("nkd_cifar100")
    arms = {arm.label: arm for arm in found.arms if arm.student == student}
    rates = {
        label: found.trial_config(arms[label], arms[label].first[0], seed=0, stage="tune").lr
        for label in ("ce", "ce_lr_x2")
    }
    assert rates == {"ce": lr, "ce_lr_x2": control}


@pytest.mark.parametrize(
    ("name", "clip_norm"), [("nkd_imagenet", 5.0), ("tf_nkd_imagenet", None)]
)
def test_mobilenet_v1_is_clipped_where_its_source_clips_it(name, clip_norm):
    found = load(name)
    trials = {
        arm.student: found.trial_config(arm, arm.first[0], seed=0, stage="tune").clip_norm for arm in found.arms
    }
    assert trials["MobileNetV1"] == clip_norm
    assert trials["torchvision/resnet18"] is None


@pytest.mark.parametrize(("name", "epochs"), [("nkd_imagenet", 1), ("nkd_cifar100", 20)])
def test_dkd_warms_up_over_the_epochs_that_its_authors_publish_for_the_data(name, epochs):
    found = load(name)
    arms = [arm for arm in found.arms if arm.method == "dkd"]
    warmups = {found.trial_config(arm, arm.first[0], seed=0, stage="repeat").settings["warmup_epochs"] for arm in arms}
    assert warmups == {epochs}
