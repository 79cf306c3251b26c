"""The law of the studies that are shipped."""

from pathlib import Path

import pytest

import sweeps
from sweeps import study

EVERY = study.list_studies()


@pytest.fixture(params=EVERY)
def found(request):
    return study.load(request.param)


def test_the_studies_are_found_as_files():
    files = Path(sweeps.__file__).parent.glob("studies/*.yaml")
    assert sorted(path.stem for path in files) == EVERY
    assert {"digits", "fashion_mnist"} <= set(EVERY)


def test_a_study_bears_the_name_of_its_file(found):
    assert study.load(found.name).study_id == found.study_id


def test_a_study_opens_with_its_question_its_command_and_its_time(found):
    head = found.source_text.split("study:")[0]
    assert all(line.startswith("#") for line in head.strip().splitlines())
    assert "?" in head
    assert f"kdsweep run {found.name}" in head
    assert "minutes" in head


def test_a_study_gives_no_warning(found):
    assert found.warnings == ()


def test_a_study_has_plain_training_and_its_controls_beside_the_methods_in_every_pair(found):
    labels = {(arm.student, arm.label) for arm in found.arms}
    for pair in found.pairs:
        for label in ("ce", "ce_x2", "kd", "nkd", "tf_nkd"):
            assert (pair.student, label) in labels


def test_every_arm_of_a_study_searches_something_and_begins_inside_its_space(found):
    assert len({arm.arm_id for arm in found.arms}) == len(found.arms) > 0
    for arm in found.arms:
        assert arm.space
        assert arm.first
        for point in arm.first:
            assert all(arm.space[name].contains(value) for name, value in point.items())


def test_every_trial_of_a_study_is_another_one(found):
    configs = [
        found.trial_config(arm, point, seed=seed, stage=stage)
        for arm in found.arms
        for point in arm.first
        for seed in (0, 1)
        for stage in ("tune", "repeat")
    ]
    assert len({config.trial_id for config in configs}) == len(configs)


def test_every_pair_of_a_study_has_its_teacher(found):
    assert {pair.teacher_id for pair in found.pairs} == {teacher.teacher_id for teacher in found.teachers}
    assert all(teacher.gate is not None for teacher in found.teachers)


def test_a_study_stops_weak_trials_and_repeats_its_winners_at_least_three_times(found):
    assert found.rungs
    assert found.repeat.seeds >= 3
