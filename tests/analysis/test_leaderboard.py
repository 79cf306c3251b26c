"""The board's numbers typed out by hand for the study of make_study.py, and what it says of unfinished ones."""

from __future__ import annotations

import pytest

import analysis
from analysis import significance, tables
from analysis.comparison import compare
from tests.analysis.make_study import (
    PAIRS,
    STUDY,
    TEACHER_TOP1,
    TEST_TOP1,
    arms,
    make_study,
    write_arm,
    write_study,
    write_teacher,
    write_trial,
)


@pytest.fixture(scope="module")
def board(finished_study):
    return analysis.open(finished_study).leaderboard()


def _row(board, method, student):
    return next(row for row in board.pairs.rows if (row["method"], row["student"]) == (method, student))


def test_a_finished_study_is_whole(board):
    assert board.title == "tiny-study"
    assert not board.partial
    assert board.missing == ()


def test_that_the_aggregates_name_different_winners_is_said(board):
    assert board.warnings[-1] == (
        "the aggregates disagree on the best method: gap closed pooled: kd and tf_nkd; mean gain: kd and tf_nkd; "
        "interquartile mean: kd; mean rank: tf_nkd")


def test_one_row_per_pair_and_method_with_methods_without_a_teacher_in_every_pair_of_their_student(board):
    assert [(row["teacher"], row["student"], row["method"]) for row in board.pairs.rows] == [
        ("big", "tiny", "ce"), ("big", "tiny", "kd"), ("big", "tiny", "tf_nkd"),
        ("wide", "small", "ce"), ("wide", "small", "kd"), ("wide", "small", "tf_nkd"),
    ]


def test_the_numbers_of_one_row(board):
    row = _row(board, "kd", "tiny")
    assert row == {
        "study": "tiny-study", "data": "toy", "teacher": "big", "teacher_id": "id-big", "student": "tiny",
        "method": "kd",
        "test_top1_mean": pytest.approx(0.85),
        "test_top1_sd": pytest.approx(0.01),
        "test_top1_low": pytest.approx(0.825159, abs=1e-6),     # 0.85 - 4.302653 * 0.01 / sqrt(3)
        "test_top1_high": pytest.approx(0.874841, abs=1e-6),
        "num_seeds": 3,
        "tied_with_best": True,                                 # it is the best
        "gain": pytest.approx(0.04),                            # over ce's 0.81
        "detectable": pytest.approx(0.030709, abs=1e-6),         # noncentral t, 4 degrees of freedom, sd 0.01 both
        "gap_closed": pytest.approx(0.04 / 0.09),               # of 0.90 - 0.81
        "teacher_top1": 0.90,
        "test_nll": pytest.approx(0.6), "test_ece": pytest.approx(0.05), "test_agreement": pytest.approx(0.9),
        "trials": 4,                                            # completed, stopped, diverged, failed
        "epochs": 8,                                            # 4 + 2 + 1 + 1
        "seconds": 16.0,
    }


def test_the_plain_student_gains_nothing_over_itself(board):
    row = _row(board, "ce", "small")
    assert (row["gain"], row["gap_closed"], row["test_top1_sd"]) == (0.0, 0.0, 0.0)


def test_over_pairs_the_gap_closed_is_pooled_and_the_plain_student_comes_first(board):
    summary = {row["method"]: row for row in board.summary.rows}
    assert list(summary) == ["ce", "kd", "tf_nkd"]
    assert summary["kd"]["gap_closed_pooled"] == pytest.approx((0.04 + 0.00) / (0.09 + 0.07))
    assert summary["tf_nkd"]["gap_closed_pooled"] == pytest.approx((0.01 + 0.03) / (0.09 + 0.07))
    assert summary["kd"]["gain_mean"] == pytest.approx(0.02)
    assert [summary[method]["rank_mean"] for method in summary] == [2.75, 1.75, 1.5]  # ce and kd tie on small
    assert [summary[method]["num_pairs"] for method in summary] == [2, 2, 2]
    assert [summary[method]["trials"] for method in summary] == [8, 8, 8]


def test_the_plain_student_is_the_reference_and_has_no_interval_of_its_own(board):
    plain = board.summary.rows[0]
    assert [plain[f"gain_mean{end}"] for end in ("", "_low", "_high")] == [0.0, None, None]
    assert [plain[f"gain_iqm{end}"] for end in ("", "_low", "_high")] == [0.0, None, None]


def test_the_interquartile_mean_is_of_the_middle_half_of_all_seeds(board):
    summary = {row["method"]: row for row in board.summary.rows}
    # kd: +.03 +.04 +.05 on tiny, -.01 .00 +.01 on small: the lowest and the highest go
    assert summary["kd"]["gain_iqm"] == pytest.approx((0.03 + 0.04 + 0.00 + 0.01) / 4)
    assert summary["tf_nkd"]["gain_iqm"] == pytest.approx((0.01 + 0.01 + 0.02 + 0.03) / 4)


def test_an_interval_over_pairs_holds_its_mean_and_not_more_than_the_seeds_span(board):
    row = next(row for row in board.summary.rows if row["method"] == "kd")
    assert row["gain_mean_low"] < 0.02 < row["gain_mean_high"]
    assert row["gain_mean_low"] >= ((0.84 - 0.82) + (0.87 - 0.88)) / 2
    assert row["gain_mean_high"] <= ((0.86 - 0.80) + (0.89 - 0.88)) / 2


def test_a_verdict_compares_a_method_with_plain_training(board):
    verdicts = {row["method"]: row for row in board.verdicts.rows}
    assert list(verdicts) == ["kd", "tf_nkd"]
    kd = verdicts["kd"]
    assert kd["num_pairs"] == 2
    assert kd["improves"] == pytest.approx((9 / 9 + 4.5 / 9) / 2)   # tiny: all 9 couples; small: 3 wins and 3 ties
    assert not kd["can_be_significant"]
    assert kd["worse"] + kd["equal"] + kd["better"] == pytest.approx(1.0)
    assert "ce" in kd["verdict"]


def test_nothing_is_judged_where_nothing_was_trained_plainly(tmp_path):
    write_study(tmp_path)
    write_teacher(tmp_path, "big")
    write_arm(tmp_path, arms()[1], number=0)
    board = analysis.open(tmp_path).leaderboard()
    assert board.verdicts.rows == ()
    assert "verdicts" not in dict(board.footer)


def test_a_profile_falls_from_all_seeds_to_none(board):
    kd = [row["share"] for row in board.profiles.rows if row["method"] == "kd"]
    assert kd == sorted(kd, reverse=True)
    assert kd[-1] == 0.0
    assert {row["method"] for row in board.profiles.rows} == {"ce", "kd", "tf_nkd"}


def test_an_arm_shown_in_two_pairs_costs_what_it_cost_once(study):
    tables.write(study, "teachers", "id-more", [{"teacher_id": "id-more", "model": "more", "test_top1": 0.92}])
    kd = {**arms()[1], "arm_id": "kd-more", "teacher": "more", "teacher_id": "id-more"}
    write_arm(study, kd, number=900)
    board = analysis.open(study).leaderboard()
    assert [row["student"] for row in board.pairs.rows if row["method"] == "ce"] == ["tiny", "small", "tiny"]
    ce = board.summary.rows[0]
    assert (ce["trials"], ce["epochs"], ce["num_pairs"]) == (8, 16, 3)


def test_a_result_that_two_pairs_show_is_no_second_witness(study):
    alone = {row["method"]: row for row in analysis.open(study).leaderboard().verdicts.rows}
    kd = {**arms()[1], "arm_id": "kd-more", "teacher": "more", "teacher_id": "id-more"}
    write_arm(study, kd, number=900)
    board = analysis.open(study).leaderboard()
    verdicts = {row["method"]: row for row in board.verdicts.rows}
    assert (verdicts["kd"]["num_pairs"], verdicts["tf_nkd"]["num_pairs"]) == (3, 2)
    assert verdicts["tf_nkd"]["verdict"].endswith("(2 pairs)")
    for name in ("improves", "p_wilcoxon", "worse", "equal", "better"):
        assert verdicts["tf_nkd"][name] == alone["tf_nkd"][name]
    assert dict(board.footer)["shared"].startswith("3 pairs have 2 students.")


def test_seeds_of_a_student_with_two_teachers_are_drawn_once_for_its_pairs(tmp_path):
    write_study(tmp_path, pairs=[], arms=[])
    ce, kd, tf_nkd = arms()[:3]
    for number, arm in enumerate([ce, tf_nkd, kd, {**kd, "arm_id": "kd-more", "teacher": "more", "teacher_id": "m"}]):
        write_arm(tmp_path, arm, number=100 * number)
    row = next(row for row in analysis.open(tmp_path).leaderboard().summary.rows if row["method"] == "tf_nkd")
    # .82 without spread, less plain means of which a resample of .80 .81 .82 is all .80 or all .82 once in 27
    assert (row["gain_mean_low"], row["gain_mean_high"]) == pytest.approx((0.00, 0.02))


def test_a_verdict_guesses_the_plain_student_of_two_teachers_once(tmp_path):
    write_study(tmp_path, pairs=[], arms=[])
    ce, kd = arms()[:2]
    for number, arm in enumerate([ce, kd, {**kd, "arm_id": "kd-more", "teacher": "more", "teacher_id": "m"}]):
        write_arm(tmp_path, arm, number=100 * number)
    results = analysis.open(tmp_path)
    couples = [(TEST_TOP1["kd", "tiny"], TEST_TOP1["ce", "tiny"])] * 2
    once = significance.judge_couples(couples, names=[("kd", "ce"), ("kd-more", "ce")], rope=0.002)
    assert once != significance.judge_couples(couples, rope=0.002)
    [row] = results.leaderboard().verdicts.rows
    assert [row[name] for name in ("worse", "equal", "better")] == [once.worse, once.equal, once.better]
    assert compare(results, "kd", "ce").notes[-1] == significance.describe_posterior("kd", "ce", once, rope=0.002)


def test_methods_are_ordered_by_the_pooled_gap_closed(tmp_path):
    write_study(tmp_path)
    write_teacher(tmp_path, "big")
    ce, kd, tf_nkd = arms()[:3]
    for number, arm in enumerate([tf_nkd, ce, kd]):
        write_arm(tmp_path, arm, number=100 * number)
    rows = analysis.open(tmp_path).leaderboard().summary.rows
    assert [(row["method"], row["num_pairs"]) for row in rows] == [("ce", 1), ("kd", 1), ("tf_nkd", 1)]


def test_pairs_stand_in_the_order_of_the_plan_whatever_the_order_of_the_trials(tmp_path):
    write_study(tmp_path)
    for teacher in TEACHER_TOP1:
        write_teacher(tmp_path, teacher)
    for number, arm in enumerate(arms()):
        write_arm(tmp_path, arm, number=9000 - 100 * number)
    shown = analysis.open(tmp_path).leaderboard().pairs.to_pandas()
    assert list(dict.fromkeys(zip(shown["teacher"], shown["student"], strict=True))) == PAIRS


def test_a_method_that_lacks_a_pair_stands_below_those_that_have_all(tmp_path):
    write_study(tmp_path)
    for model in ("big", "wide"):
        write_teacher(tmp_path, model)
    for number, arm in enumerate(arms()):
        if arm["arm_id"] != "kd-small":
            write_arm(tmp_path, arm, number=100 * number)
    rows = analysis.open(tmp_path).leaderboard().summary.rows
    assert [(row["method"], row["gap_closed_pooled"]) for row in rows] == [
        ("ce", 0.0), ("tf_nkd", pytest.approx(0.25)), ("kd", pytest.approx(0.04 / 0.09)),
    ]


def test_the_search_never_shows_its_test_results(study):
    write_trial(study, arms()[1], number=950, stage="tune", status="completed", epochs=4, test_top1=0.99)
    row = _row(analysis.open(study).leaderboard(), "kd", "tiny")
    assert (row["num_seeds"], row["trials"]) == (3, 5)
    assert row["test_top1_mean"] == pytest.approx(0.85)


def test_another_epoch_rule_than_the_studys_is_not_counted(study):
    trials = analysis.open(study).trials()
    trial = trials[(trials["stage"] == "repeat") & (trials["arm_id"] == "kd-tiny")].iloc[0]["trial_id"]
    row = {"study_id": STUDY, "trial_id": trial, "split": "test", "epoch_rule": "best_test", "top1": 0.99}
    tables.write(study, "evals", f"{trial}-best", [row])
    assert _row(analysis.open(study).leaderboard(), "kd", "tiny")["test_top1_mean"] == pytest.approx(0.85)


def test_a_repeat_that_diverged_is_missing_and_not_forgotten(study):
    trials = analysis.open(study).trials()
    number = trials[(trials["stage"] == "repeat") & (trials["arm_id"] == "kd-tiny")].iloc[-1]["number"]
    write_trial(study, arms()[1], number=int(number), stage="repeat", status="diverged", epochs=2)
    board = analysis.open(study).leaderboard()
    assert board.partial
    assert board.missing == ("kd on toy, big to tiny: 2 of 3 repeats completed, 1 diverged or failed",)
    assert _row(board, "kd", "tiny")["num_seeds"] == 2


def test_an_unfinished_study_shows_missing_cells_and_says_what_is_missing(tmp_path):
    write_study(tmp_path)
    for model in ("big", "wide"):
        write_teacher(tmp_path, model)
    write_arm(tmp_path, arms()[0], number=0)
    board = analysis.open(tmp_path).leaderboard()
    assert len(board.pairs.rows) == 6
    assert _row(board, "ce", "tiny")["test_top1_mean"] == pytest.approx(0.81)
    missing = _row(board, "kd", "tiny")
    assert missing["num_seeds"] == 0
    assert all(missing[name] is None for name in ("test_top1_mean", "test_top1_low", "gain", "gap_closed", "trials"))
    assert board.missing[0] == "kd on toy, big to tiny: 0 of 4 trials searched, 0 of 3 repeats completed"
    assert len(board.missing) == 5


def test_ranks_count_only_pairs_that_every_method_has(tmp_path):
    write_study(tmp_path)
    for model in ("big", "wide"):
        write_teacher(tmp_path, model)
    for number, arm in enumerate(arms()[:5]):  # tf_nkd on small is missing
        write_arm(tmp_path, arm, number=100 * number)
    summary = {row["method"]: row for row in analysis.open(tmp_path).leaderboard().summary.rows}
    assert {method: row["rank_mean"] for method, row in summary.items()} == {"ce": 3.0, "kd": 1.0, "tf_nkd": 2.0}
    assert summary["tf_nkd"]["num_pairs"] == 1


def test_a_study_without_any_trial_gives_an_empty_partial_board(tmp_path):
    write_study(tmp_path)
    board = analysis.open(tmp_path).leaderboard()
    assert board.partial
    assert board.missing[0] == "no trial is final yet"


def test_a_plan_that_says_nothing_is_tolerated(tmp_path):
    tables.write(tmp_path, "studies", STUDY, [{"study_id": STUDY, "name": "bare"}])
    write_teacher(tmp_path, "big")
    for number, arm in enumerate(arms()[:2]):
        write_arm(tmp_path, arm, number=100 * number)
    board = analysis.open(tmp_path).leaderboard()
    assert not board.partial
    assert _row(board, "kd", "tiny")["gain"] == pytest.approx(0.04)


def test_a_study_without_teacher_arms_has_the_pairs_of_its_plan(tmp_path):
    plain = [arm for arm in arms() if arm["teacher"] is None]
    write_study(tmp_path, arms=plain)
    for model in ("big", "wide"):
        write_teacher(tmp_path, model)
    for number, arm in enumerate(plain):
        write_arm(tmp_path, arm, number=100 * number)
    board = analysis.open(tmp_path).leaderboard()
    assert not board.partial
    assert _row(board, "tf_nkd", "tiny")["gap_closed"] == pytest.approx(0.01 / 0.09)


def test_a_study_without_any_teacher_is_shown_per_student(tmp_path):
    plain = [arm for arm in arms() if arm["teacher"] is None][:2]
    write_study(tmp_path, arms=plain, pairs=[])
    for number, arm in enumerate(plain):
        write_arm(tmp_path, arm, number=100 * number)
    row = _row(analysis.open(tmp_path).leaderboard(), "tf_nkd", "tiny")
    assert row["teacher"] is None
    assert row["gain"] == pytest.approx(0.01)
    assert row["gap_closed"] is None


def test_two_studies_stand_side_by_side(study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    board = analysis.open([study, other]).leaderboard()
    assert board.title == "tiny-study, other"
    assert len(board.pairs.rows) == 12
    assert {row["num_pairs"] for row in board.summary.rows} == {4}
    assert _row(board, "kd", "tiny")["num_seeds"] == 3


def test_two_studies_of_one_name_are_told_apart(study, tmp_path):
    write_study(tmp_path / "other", study_id="s2")
    board = analysis.open([study, tmp_path / "other"]).leaderboard()
    assert board.title == "tiny-study (s1), tiny-study (s2)"
    assert [row["study"] for row in board.pairs.rows] == ["tiny-study (s1)"] * 6 + ["tiny-study (s2)"] * 6


def test_unequal_budgets_are_a_warning(study):
    write_trial(study, arms()[1], number=950, stage="tune", status="completed", epochs=4)
    warnings = analysis.open(study).leaderboard().warnings
    assert warnings[0] == "tiny-study: methods were not searched equally: 4 to 5 trials"


def test_a_teacher_that_saw_the_validation_images_is_a_warning(study):
    write_teacher(study, "big", saw_validation=True)
    warnings = analysis.open(study).leaderboard().warnings
    assert "teacher big on toy was trained on the validation images" in warnings


def test_the_footer_says_how_it_was_made(board):
    assert dict(board.footer) == {
        "selection": "settings on val; test read once, by the repeats",
        "epoch": "the last one",
        "budget": "4 trials per arm, proposed by tpe, stopped by asha, 4 epochs each",
        "spent": "42 trials, 120 epochs, 0.07 h of workers, teachers included",
        "seeds": "3 per arm, trained on train+validation",
        "interval": "95 % Student-t over the repeat seeds; ± is half of it, sd is over seeds",
        "code": "abc1234",
        "hardware": "Some CPU, torch 2.13",
        "ranks": "on the 2 of 2 pairs that every method has; ties share theirs",
        "friedman": "chi2 2.00, p 0.368: 3 methods, 2 pairs; p is rough for few pairs",
        "verdicts": "intervals over pairs: bootstrap of the seeds of each pair, too narrow for few: at 3, 95 % hold "
                    "the truth 87 times in 100; p: Wilcoxon signed-rank over pairs, Holm over 2; probabilities: "
                    "Bayesian signed-rank, practically equal within 0.2 pp",
    }


def test_the_numbers_typed_into_the_study_are_the_ones_the_board_was_made_of(finished_study):
    answer = analysis.open(finished_study).sql("SELECT list(top1 ORDER BY trial_id) AS tops FROM evals")
    assert sorted(answer["tops"][0]) == sorted(top1 for tops in TEST_TOP1.values() for top1 in tops)
