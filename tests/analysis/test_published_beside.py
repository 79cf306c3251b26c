"""Ours beside published, on a made-up study of a published pair with typed-out numbers.

    pair resnet32x4 -> resnet8x4 on cifar100    ours (3 seeds)              printed
    teacher                                     .79                         .7942 (CRD)
    ce, the plain student                       .724 .725 .726 = .725       .7250 (CRD)
    kd                                          .735 .736 .737 = .736       .7333 (CRD's run, last epoch)
    dkd                                         .755 .756 .757 = .756       .7632 (mdistiller, best epoch on test)
    dkd, best of its epochs on test             .760 .761 .762 = .761
    dist                                        .760 .762 .764 = .762       .7631 with spread .0019 (DIST)
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis import tables
from analysis.published.anchors import Anchors
from analysis.published.beside import FIELDS, KEYS, compare, put
from analysis.published.best_epochs import Key, read_best_test
from analysis.published.differences import Measured, Recipe, compare_last, judge_recipe, measure_seeds
from analysis.published.literature import load
from tests.analysis.make_study import BEGAN, write_trial

SEEDS = {
    "ce": [0.724, 0.725, 0.726],
    "kd": [0.735, 0.736, 0.737],
    "dkd": [0.755, 0.756, 0.757],
    "dist": [0.760, 0.762, 0.764],
}
OFF = SEEDS | {"ce": [0.710, 0.711, 0.712]}     # 1.4 pp below the published plain student
LONE = {label: seeds[:1] for label, seeds in SEEDS.items()}


def make_study(
    results: Path, seeds: dict[str, list[float]], *, curves: tuple[str, ...] = (), teacher: str = "resnet32x4",
    student: str = "resnet8x4", data: str = "cifar100", num_seeds: int | None = None, epoch_rule: str = "last",
) -> Path:
    """A finished study of one pair; arms in `curves` have a test curve that peaks 0.005 above its last epoch."""
    pair = {"data": data, "teacher": teacher, "teacher_id": "id-t", "student": student}
    arms = [_arm(label, pair) for label in seeds]
    config = {"pairs": [pair], "arms": arms, "repeat": {"seeds": num_seeds or len(seeds["ce"])}}
    tables.write(results, "studies", "s1", [{
        "study_id": "s1", "name": "ours", "created_at": BEGAN, "schema_version": 1, "config_json": json.dumps(config),
        "objective": "val_top1", "selection_split": "val", "epoch_rule": epoch_rule, "seed": 0}])
    tables.write(results, "teachers", "id-t", [
        {"teacher_id": "id-t", "data": data, "model": teacher, "source": "trained", "test_top1": 0.79}])
    for place, arm in enumerate(arms):
        for seed, top1 in enumerate(seeds[arm["label"]]):
            trial_id = write_trial(results, arm, number=10 * place + seed, stage="repeat", status="completed",
                                   epochs=3, study_id="s1", seed=seed, test_top1=top1)
            if arm["label"] in curves:
                write_curve(results, trial_id, top1)
    return results


def write_curve(results: Path, trial_id: str, top1: float) -> None:
    tables.write(results, "test_curves", trial_id, [
        {"study_id": "s1", "trial_id": trial_id, "epoch": epoch, "test_top1": value, "num_images": 1000}
        for epoch, value in enumerate([0.5, top1 + 0.005, top1], start=1)
    ])


def _arm(label: str, pair: dict[str, Any]) -> dict[str, Any]:
    own = pair if label != "ce" else pair | {"teacher": None, "teacher_id": None}
    return own | {"arm_id": f"{label}-{pair['student']}", "label": label, "method": label}


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """Compares a made-up study; each is made once."""
    made: dict[str, Any] = {}

    def compare_study(seeds: dict[str, list[float]] = SEEDS, *, source: str | None = None, **study: Any):
        key = json.dumps([seeds, study])
        if key not in made:
            results = analysis.open(make_study(tmp_path_factory.mktemp("study"), seeds, **study))
            made[key] = results.leaderboard(), read_best_test(results)
        board, best_test = made[key]
        return compare(board, source=source, best_test=best_test)

    return compare_study


def row(answer, method: str, source: str) -> dict[str, Any]:
    found = [row for row in answer.rows if (row["method"], row["source"]) == (method, source)]
    assert len(found) == 1, [(row["method"], row["source"]) for row in answer.rows]
    return found[0]


def test_anchors_come_first_and_say_how_far_ours_are_away(beside):
    answer = beside(source="RepDistiller")
    assert [row["method"] for row in answer.rows] == ["teacher", "student (ce)", "kd"]
    teacher, student, _ = answer.rows
    assert (teacher["ours"], teacher["published"]) == (0.79, 0.7942)
    assert teacher["difference"] == pytest.approx(-0.0042)
    assert (student["published"], student["num_seeds"]) == (0.725, 3)
    assert student["difference"] == pytest.approx(0.0)
    assert student["remark"] == "recipe not seen to differ"
    assert not any("recipe" in note for note in answer.notes)


def test_with_equal_anchors_top1_is_compared(beside):
    kd = row(beside(source="RepDistiller"), "kd", "RepDistiller")
    assert kd["ours"] == pytest.approx(0.736)
    assert kd["ours_low"] < 0.736 < kd["ours_high"]
    assert (kd["published"], kd["role"], kd["selection"]) == (0.7333, "reproduced", "last")
    assert kd["difference"] == pytest.approx(0.0027)
    assert (kd["gain_difference"], kd["gap_closed_difference"], kd["z"]) == (None, None, None)
    assert kd["remark"] == "published sd unknown"


def test_with_anchors_off_gains_are_compared_and_a_banner_says_why(beside):
    answer = beside(OFF, source="RepDistiller")
    kd = row(answer, "kd", "RepDistiller")
    assert kd["difference"] is None
    assert kd["gain_difference"] == pytest.approx((0.736 - 0.711) - (0.7333 - 0.7250))
    assert kd["gap_closed_difference"] == pytest.approx(0.025 / 0.079 - 0.0083 / 0.0692)
    assert kd["remark"] == "the recipe differs"
    assert row(answer, "student (ce)", "RepDistiller")["remark"] == "recipe differs"
    assert answer.notes[0] == (
        "the recipe differs: cifar100: resnet32x4 → resnet8x4: our plain student has 71.10, that of RepDistiller "
        "72.50, more than two standard errors of ours (0.12 pp) away: compare gains and gap closed, not top-1")


def test_with_one_seed_the_recipe_is_unknown_and_both_are_shown(beside):
    answer = beside(LONE, source="RepDistiller")
    kd = row(answer, "kd", "RepDistiller")
    assert kd["difference"] == pytest.approx(0.735 - 0.7333)
    assert kd["gain_difference"] == pytest.approx((0.735 - 0.724) - (0.7333 - 0.7250))
    assert kd["gap_closed_difference"] is None, "one seed has no gap that is known to be one"
    assert answer.notes[0] == (
        "whether the recipe differs is unknown: cifar100: resnet32x4 → resnet8x4: we have one seed of the plain "
        "student, that of RepDistiller has 72.50")


def test_a_number_of_the_best_epoch_is_compared_with_our_best_epoch(beside):
    dkd = row(beside(curves=("ce", "dkd")), "dkd", "mdistiller")
    assert dkd["ours"] == pytest.approx(0.761)
    assert dkd["difference"] == pytest.approx(0.761 - 0.7632)
    assert dkd["selection"] == "best_test"
    assert dkd["remark"].startswith("best test epoch, for comparison only")


def test_a_number_of_the_best_epoch_is_not_compared_with_our_last_one(beside):
    dkd = row(beside(curves=("ce",)), "dkd", "mdistiller")
    assert (dkd["ours"], dkd["difference"], dkd["gain_difference"], dkd["num_seeds"]) == (None, None, None, None)
    assert dkd["published"] == 0.7632
    assert dkd["remark"] == "of its best test epoch, and we have no test curves: see repeat.test_curve"


def test_our_best_epoch_is_never_set_against_a_last_one(beside):
    kd = row(beside(curves=("ce", "kd")), "kd", "RepDistiller")
    assert kd["ours"] == pytest.approx(0.736)


def test_a_number_of_the_best_epoch_has_no_difference_where_the_recipe_differs(beside):
    dkd = row(beside(OFF, curves=("dkd",)), "dkd", "mdistiller")
    assert dkd["ours"] == pytest.approx(0.761)
    assert (dkd["difference"], dkd["gain_difference"]) == (None, None)
    assert dkd["remark"].startswith("the recipe differs, and plain students of the best test epoch are not published")


def test_a_pair_whose_anchors_nobody_prints_is_compared_without_them(beside):
    answer = beside({"ce": SEEDS["ce"], "kd_plus_ls": SEEDS["kd"]}, teacher="wrn_40_2", curves=("kd_plus_ls",))
    [found] = answer.rows
    assert (found["method"], found["source"], found["published"]) == ("kd_plus_ls", "logit-std", 0.7711)
    assert found["difference"] == pytest.approx(0.741 - 0.7711)
    assert len(answer.notes) == 1, "nothing is said of a recipe"


def test_what_must_be_known_of_a_number_stands_beside_it(beside):
    remark = row(beside(), "dkd", "ND")["remark"]
    assert remark.endswith("; starred there: their own run of DKD, whose authors have 76.32")


@pytest.mark.parametrize(("rule", "told"), [("best_val", "of the last epoch, ours of the best on val"), ("last", None)])
def test_another_epoch_rule_of_ours_stands_beside_the_number(tmp_path, rule, told):
    results = analysis.open(make_study(tmp_path / "study", {"ce": SEEDS["ce"]}, epoch_rule=rule))
    kd = _arm("kd", {"data": "cifar100", "teacher": "resnet32x4", "teacher_id": "id-t", "student": "resnet8x4"})
    for seed, top1 in enumerate(SEEDS["kd"]):
        trial_id = write_trial(tmp_path / "study", kd, number=50 + seed, stage="repeat", status="completed", epochs=3,
                               study_id="s1", seed=seed)
        tables.write(tmp_path / "study", "evals", trial_id, [
            {"study_id": "s1", "trial_id": trial_id, "split": "test", "epoch": 2, "epoch_rule": rule, "top1": top1}])
    found = row(put(results.leaderboard(), results, source="RepDistiller").published, "kd", "RepDistiller")
    assert found["remark"] == ("published sd unknown" if told is None else f"{told}; published sd unknown")


def test_z_counts_both_spreads_and_takes_unknown_runs_as_one(beside):
    dist = row(beside(), "dist", "DIST")
    assert dist["difference"] == pytest.approx(-0.0011)
    # (0.7620 - 0.7631) / sqrt(0.002^2 / 3 + 0.0019^2) = -0.0011 / 0.0022233
    assert dist["z"] == pytest.approx(-0.4948, abs=1e-4)
    assert dist["remark"] == "its epoch is unknown; number of published runs unknown, taken as 1"


def test_z_divides_the_published_spread_by_its_runs(tmp_path):
    board = analysis.open(make_study(tmp_path / "study", SEEDS)).leaderboard()
    ours = next(row for row in board.pairs.rows if row["method"] == "dist")
    result = next(r for r in load() if (r.source, r.student, r.data) == ("DIST", "resnet8x4", "cifar100"))
    found = compare_last(dataclasses.replace(result, num_runs=4, selection="last"), ours,
                         anchors=Anchors(0.7942, 0.725, "DIST"), recipe=Recipe.alike)
    assert found.z == pytest.approx(-0.0011 / math.sqrt(0.002**2 / 3 + 0.0019**2 / 4))
    assert found.remarks == ()


def test_a_published_teacher_below_its_student_leaves_no_gap_to_close(tmp_path):
    board = analysis.open(make_study(tmp_path / "study", OFF)).leaderboard()
    ours = next(row for row in board.pairs.rows if row["method"] == "kd")
    result = next(r for r in load() if (r.source, r.method, r.student) == ("RepDistiller", "KD", "resnet8x4"))
    found = compare_last(result, ours, anchors=Anchors(0.70, 0.725, "somebody"), recipe=Recipe.differs)
    assert found.gap_closed_difference is None
    assert found.gain_difference is not None


def test_the_best_epochs_of_an_arm_without_a_teacher_are_found_in_every_pair_of_its_student(tmp_path):
    board = analysis.open(make_study(tmp_path / "study", SEEDS)).leaderboard()
    lone = Key("ours", "cifar100", None, "resnet8x4", "dkd")
    assert row(compare(board, best_test={lone: [0.77, 0.78]}), "dkd", "mdistiller")["ours"] == pytest.approx(0.775)
    other = lone._replace(teacher_id="id-other")
    assert row(compare(board, best_test={other: [0.77, 0.78]}), "dkd", "mdistiller")["ours"] is None


def test_there_is_no_z_for_one_seed_of_ours(beside):
    dist = row(beside(LONE), "dist", "DIST")
    assert dist["z"] is None
    assert "one seed of ours" in dist["remark"]


def test_quoted_numbers_are_left_out_unless_asked_for(tmp_path):
    results = analysis.open(make_study(tmp_path / "study", SEEDS))
    board = results.leaderboard()
    assert {row["role"] for row in compare(board).rows} == {None, "primary", "reproduced"}
    quoted = compare(board, roles=("quoted",))
    assert {row["role"] for row in quoted.rows} == {None, "quoted"}
    assert row(quoted, "kd", "mdistiller")["published"] == 0.7333
    with pytest.raises(ValueError, match=r"no published role `primery`\. Did you mean `primary`\?"):
        compare(board, roles=("primery",))


def test_sources_with_equal_anchors_share_a_line_and_others_have_their_own(beside):
    answer = beside()
    students = {row["source"]: row["published"] for row in answer.rows if row["method"] == "student (ce)"}
    assert students == {"RepDistiller, ND, DIST": 0.725, "NORM": 0.7287, "SimKD": 0.7309}


def test_a_banner_is_for_sources_of_which_a_method_is_compared(beside):
    """SimKD ran KD on its own plain student (73.09); of NORM we share the plain student (72.87) alone."""
    notes = " ".join(beside().notes)
    assert "that of SimKD 73.09" in notes
    assert "NORM" not in notes


def test_plain_training_is_an_anchor_and_not_a_method(beside):
    assert "ce" not in {row["method"] for row in beside().rows}


def test_every_row_has_every_column_and_none_is_ranked(beside):
    answer = beside(curves=("dkd",))
    for found in answer.rows:
        assert list(found) == [*KEYS, *(field.name for field in FIELDS)]
    assert all(field.better == "" for field in FIELDS)
    assert answer.notes[-1].startswith("shown beside ours and never ranked with them: primary, reproduced")


def test_a_model_with_arguments_is_another_model(beside):
    answer = beside(student="resnet8x4(width=16)")
    assert answer.rows == ()
    assert answer.notes == ("none of these pairs is published; `kdsweep published` lists all",)


def test_a_label_of_ones_own_is_another_method(beside):
    answer = beside({"ce": SEEDS["ce"], "kd hot": SEEDS["kd"]}, source="RepDistiller")
    assert [row["method"] for row in answer.rows] == ["teacher", "student (ce)"]


def test_another_data_set_is_another_pair(beside):
    answer = beside(data="digits", source="repdistiller")
    assert answer.notes == ("none of these pairs is published by RepDistiller; `kdsweep published` lists all",)


def test_an_unknown_source_is_answered_with_known_ones(beside):
    with pytest.raises(ValueError, match="no published source `CRD`"):
        beside(source="CRD")


def test_an_arm_without_results_is_not_compared(beside):
    answer = beside(SEEDS | {"kd": []}, source="RepDistiller")
    assert [row["method"] for row in answer.rows] == ["teacher", "student (ce)"]


def test_without_a_plain_student_of_ours_the_recipe_is_unknown(tmp_path):
    results = analysis.open(make_study(tmp_path / "study", SEEDS | {"ce": []}, num_seeds=3))
    answer = compare(results.leaderboard(), source="RepDistiller")
    kd = row(answer, "kd", "RepDistiller")
    assert kd["difference"] == pytest.approx(0.0027)
    assert kd["gain_difference"] is None
    assert "we have no plain student" in answer.notes[0]
    assert row(answer, "student (ce)", "RepDistiller")["ours"] is None


@pytest.mark.parametrize(("mean", "verdict"), [
    (0.7250, Recipe.alike), (0.7268, Recipe.alike), (0.7232, Recipe.alike),     # two standard errors: 0.002
    (0.7272, Recipe.differs), (0.7228, Recipe.differs),
])
def test_a_recipe_differs_beyond_two_standard_errors(mean, verdict):
    plain = Measured(mean, sd=0.002, num_seeds=4, low=None, high=None)
    assert judge_recipe(plain, 0.7250) is verdict


def test_seeds_without_any_spread_differ_only_where_they_differ():
    same = Measured(0.7 - 2e-16, sd=0.0, num_seeds=3, low=None, high=None)  # what the mean of three 0.7 comes to
    assert judge_recipe(same, 0.7) is Recipe.alike
    assert judge_recipe(same, 0.7001) is Recipe.differs


def test_a_recipe_is_unknown_where_a_number_is_missing():
    assert judge_recipe(None, 0.7) is Recipe.unknown
    assert judge_recipe(measure_seeds([0.7]), 0.7) is Recipe.unknown
    assert judge_recipe(measure_seeds([0.7, 0.71]), None) is Recipe.unknown


def test_the_best_epoch_is_the_maximum_of_each_repeat(tmp_path):
    results = analysis.open(make_study(tmp_path / "study", SEEDS, curves=("ce", "dkd")))
    best = read_best_test(results)
    assert set(best) == {
        Key("ours", "cifar100", None, "resnet8x4", "ce"), Key("ours", "cifar100", "id-t", "resnet8x4", "dkd")}
    assert best[Key("ours", "cifar100", "id-t", "resnet8x4", "dkd")] == pytest.approx([0.760, 0.761, 0.762])


def test_two_repeats_with_one_seed_are_two(tmp_path):
    study = make_study(tmp_path / "study", SEEDS, curves=("dkd",))
    arm = _arm("dkd", {"data": "cifar100", "teacher": "resnet32x4", "teacher_id": "id-t", "student": "resnet8x4"})
    again = write_trial(study, arm, number=90, stage="repeat", status="completed", epochs=3, study_id="s1", seed=2)
    write_curve(study, again, 0.765)
    [seeds] = read_best_test(analysis.open(study)).values()
    assert sorted(seeds) == pytest.approx([0.760, 0.761, 0.762, 0.770])


def test_failed_repeats_and_the_search_have_no_best_epoch(tmp_path):
    study = make_study(tmp_path / "study", SEEDS, curves=("dkd",))
    arm = _arm("dkd", {"data": "cifar100", "teacher": "resnet32x4", "teacher_id": "id-t", "student": "resnet8x4"})
    for number, stage, status in [(90, "repeat", "failed"), (91, "tune", "completed")]:
        trial_id = write_trial(study, arm, number=number, stage=stage, status=status, epochs=3, study_id="s1", seed=9)
        write_curve(study, trial_id, 0.9)
    [seeds] = read_best_test(analysis.open(study)).values()
    assert seeds == pytest.approx([0.760, 0.761, 0.762])


def test_a_study_without_test_curves_has_no_best_epochs(tmp_path):
    assert read_best_test(analysis.open(make_study(tmp_path / "study", SEEDS))) == {}
