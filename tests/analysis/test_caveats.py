"""What a board says against itself: every sentence is provoked by a study that deserves it."""

from __future__ import annotations

import pytest

import analysis
from analysis import tables
from tests.analysis.make_study import arms, make_study, write_arm, write_study, write_teacher, write_trial


def _warn(*directories) -> tuple[str, ...]:
    return analysis.open(directories).leaderboard().warnings


def _make_plain(results, *, number=0, seeds=(0.80, 0.81, 0.82), **changes):
    """One arm of plain training, its repeats alone."""
    for seed, top1 in enumerate(seeds):
        write_trial(results, arms()[0] | changes, number=number + seed, stage="repeat", status="completed", epochs=4,
                    seed=seed, test_top1=top1)


def test_studies_that_differ_are_not_one_board(study, tmp_path):
    write_study(tmp_path / "other", study_id="s2", name="other", repeat={"seeds": 5, "train_on": "train"},
                fix={"epochs": 40})
    assert (
        "the studies differ in seeds per arm, images of the repeats: gains are measured within a study, but ranks, "
        "tests and means over pairs mix them"
    ) in _warn(study, tmp_path / "other")


def test_another_epoch_rule_is_a_difference(study, tmp_path):
    write_study(tmp_path / "other", study_id="s2", name="other")
    tables.write(tmp_path / "other", "studies", "s2", [{"study_id": "s2", "name": "other", "epoch_rule": "best_val"}])
    assert any(line.startswith("the studies differ in epoch rule: ") for line in _warn(study, tmp_path / "other"))


def test_studies_that_are_alike_are_not_called_different(study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    assert not any(line.startswith("the studies differ") for line in _warn(study, other))
    assert not any("not the same in all studies" in line for line in _warn(study, other))


def test_a_pair_of_two_studies_is_no_two_pairs(study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    assert "2 of 2 pairs are in several studies and count once for each: no independent pairs" in _warn(study, other)
    assert not any("in several studies" in line for line in _warn(study))


@pytest.mark.parametrize(("changes", "told"), [
    ({"fixed": {"weight": 2.0}}, "fixed settings"),
    ({"method": "nkd", "space": {"lr": {"log": [0.1, 1.0]}}}, "method and ranges"),
])
def test_one_label_for_two_things_is_named(study, tmp_path, changes, told):
    other = [arm | (changes if arm["label"] == "kd" else {}) for arm in arms()]
    write_study(tmp_path / "other", study_id="s2", name="other", arms=other)
    found = [line for line in _warn(study, tmp_path / "other") if "not the same in all studies" in line]
    assert found == [f"kd is not the same in all studies: they differ in its {told}"]


def test_without_plain_training_it_is_said_why_there_is_no_gain(tmp_path):
    write_study(tmp_path, arms=arms()[1:2])
    write_arm(tmp_path, arms()[1], number=0)
    assert "tiny-study: nothing is labelled ce, so its pairs have no gain, no gap closed and no verdict" in _warn(
        tmp_path)


def test_plain_training_by_name_alone_is_named(tmp_path):
    write_study(tmp_path, arms=[])
    _make_plain(tmp_path, method="kd")
    assert "tiny-study: what is labelled ce is kd, and every gain is measured from it" in _warn(tmp_path)


def test_repeats_that_were_lost_are_said_to_be_in_no_mean(study):
    kd = arms()[1]
    write_trial(study, kd, number=990, stage="repeat", status="diverged", epochs=2, seed=9)
    assert (
        "kd on toy, big to tiny: 1 of 4 repeats diverged or failed, and the others alone are in its mean"
    ) in _warn(study)


def test_seeds_without_any_spread_are_named(study):
    assert "ce on toy, small: its 3 seeds agree to the last image, so its interval has no width" in _warn(study)
    assert not any(line.startswith("kd on") for line in _warn(study))


def test_pairs_that_the_pooled_gap_lacks_are_counted(study):
    write_teacher(study, "big", test_top1=None)
    assert (
        "gap closed pooled is over 1 of 2 pairs: of the others the teacher's test top-1, or the spread of the plain "
        "student, is not known"
    ) in _warn(study)


@pytest.mark.parametrize(("top1", "told"), [(0.79, True), (0.81, True), (0.82, False)])
def test_a_teacher_no_better_than_its_student_is_named(study, top1, told):
    write_teacher(study, "big", test_top1=top1)     # the plain student has .81
    assert told == any(line.startswith("on 1 of 2 pairs the teacher is no better") for line in _warn(study))
