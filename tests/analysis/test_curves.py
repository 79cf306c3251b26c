"""The search by cost, by epoch and by draws: every trial pays, only completed ones count, only draws are expected."""

from __future__ import annotations

from datetime import timedelta

import pytest

import analysis
from analysis import curves, tables
from tests.analysis.make_search import Curve, make_search, write_search
from tests.analysis.make_study import BEGAN, arms, write_study

RANDOM = {"search": {"sampler": "random", "trials_per_arm": 6}, "stop": {"rule": "none", "eta": 3, "grace": 1}}
CE, KD, TF_NKD = arms()[:3]


def _open(tmp_path, own: dict[str, list[Curve]], **config):
    """A study in which the first arms have these curves by label; an epoch takes 2 s, trials follow one another."""
    write_study(tmp_path, **RANDOM | config)
    for arm in arms()[:3]:
        if arm["label"] in own:
            curves_of_arm = own[arm["label"]]
            write_search(tmp_path, arm, curves_of_arm, planned=max(len(curve.values) for curve in curves_of_arm))
    return analysis.open(tmp_path)


def _pick(answer, *names, method="ce"):
    return [tuple(row[name] for name in names) for row in answer.rows if row["method"] == method]


# Best so far by cost

ALL_FATES = [
    Curve([0.9, 0.95], "stopped"), Curve([0.5, 0.6, 0.7]), Curve([0.99], "diverged"), Curve([], "failed"),
    Curve([0.5, 0.6, 0.65]), Curve([0.5, 0.6, 0.8]),
]


def test_every_trial_pays_and_a_value_counts_when_its_trial_completes(tmp_path):
    answer = curves.budget(_open(tmp_path, {"ce": ALL_FATES}))
    assert _pick(answer, "step", "trial", "status", "seconds", "val_top1") == [
        (1, 0, "stopped", 4.0, None), (2, 1, "completed", 10.0, 0.7), (3, 2, "diverged", 12.0, 0.7),
        (4, 3, "failed", 12.0, 0.7), (5, 4, "completed", 18.0, 0.7), (6, 5, "completed", 24.0, 0.8),
    ]


def test_the_cost_can_be_epochs(tmp_path):
    answer = curves.budget(_open(tmp_path, {"ce": ALL_FATES}), by="epochs")
    assert _pick(answer, "epochs") == [(2,), (5,), (6,), (6,), (9,), (12,)]
    assert all(isinstance(row["epochs"], int) for row in answer.rows)


def test_what_a_trial_took_beside_its_rows_is_paid_when_it_ends(tmp_path):
    lost = Curve([], "failed", changes={"wall_seconds": 7.0, "epochs_done": 3})
    results = _open(tmp_path, {"ce": [lost, Curve([0.5, 0.6])]})
    assert _pick(curves.budget(results), "seconds") == [(7.0,), (11.0,)]
    assert _pick(curves.budget(results, by="epochs"), "epochs") == [(3,), (5,)]


def test_a_trial_that_still_trained_has_paid_for_the_epochs_it_had(tmp_path):
    write_study(tmp_path, **RANDOM)
    ids = {"study_id": "s1", "trial_id": "long"}
    at = [BEGAN + timedelta(seconds=seconds) for seconds in range(10)]
    about = {"study_id": "s1", "stage": "tune", "arm_id": "ce-tiny", "data": "toy", "student": "tiny",
             "method_label": "ce", "status": "completed"}
    tables.write(tmp_path, "epochs", "long", [
        ids | {"epoch": epoch, "val_top1": 0.5, "epoch_seconds": 3.0, "ended_at": at[3 * epoch]} for epoch in (1, 2)])
    tables.write(tmp_path, "trials", "long", [
        about | {"trial_id": "long", "number": 0, "val_top1": 0.5, "wall_seconds": 6.0, "ended_at": at[7]}])
    tables.write(tmp_path, "trials", "short", [
        about | {"trial_id": "short", "number": 1, "val_top1": 0.6, "wall_seconds": 1.0, "ended_at": at[4]}])
    answer = curves.budget(analysis.open(tmp_path))
    assert _pick(answer, "trial", "seconds", "val_top1") == [(1, 4.0, 0.6), (0, 7.0, 0.6)]


def test_an_epoch_dated_after_its_trial_is_paid_with_it(tmp_path):
    results = _open(tmp_path, {"ce": [Curve([0.5, 0.6])]})
    early = {"study_id": "s1", "trial_id": "ts1-ce-tiny-00000", "number": 0, "stage": "tune", "arm_id": "ce-tiny",
             "data": "toy", "student": "tiny", "method_label": "ce", "status": "completed", "val_top1": 0.6,
             "wall_seconds": 4.0, "ended_at": BEGAN + timedelta(seconds=3)}  # by a clock that is a second slow
    tables.write(tmp_path, "trials", "tune-s1-ce-tiny", [early])
    assert _pick(curves.budget(results), "seconds") == [(4.0,)]


def test_arms_pay_for_themselves_alone(tmp_path):
    answer = curves.budget(_open(tmp_path, {"ce": [Curve([0.5])], "kd": [Curve([0.6, 0.7])]}))
    assert [(row["method"], row["seconds"]) for row in answer.rows] == [("ce", 2.0), ("kd", 4.0)]


def test_the_smallest_common_budget_is_that_of_the_pairs_cheapest_arm(tmp_path):
    own = {
        "ce": [Curve([0.5, 0.7]), Curve([0.6, 0.8])],                       # 8 s in all
        "kd": [Curve([0.1, 0.1, 0.6]), Curve([0.1, 0.1, 0.9])],             # its best comes after 12 s
        "tf_nkd": [Curve([0.1] * 5)],                                       # has nothing after 8 s
    }
    answer = curves.at_common_budget(_open(tmp_path, own))
    found = {row["method"]: (row["budget"], row["num_trials"], row["val_top1"], row["total"]) for row in answer.rows}
    assert found == {"ce": (8.0, 2, 0.8, 8.0), "kd": (8.0, 1, 0.6, 12.0), "tf_nkd": (8.0, 0, None, 10.0)}
    assert {row["teacher"] for row in answer.rows} == {"big"}  # arms without a teacher stand in the pair


def test_an_arm_without_a_teacher_is_compared_in_every_pair_of_its_student(tmp_path):
    write_study(tmp_path, **RANDOM)
    other = KD | {"teacher": "wide", "teacher_id": "id-wide", "arm_id": "kd-other"}
    for arm, value in ((CE, 0.5), (KD, 0.6), (other, 0.7)):
        write_search(tmp_path, arm, [Curve([value])])
    answer = curves.at_common_budget(analysis.open(tmp_path))
    assert [(row["teacher"], row["method"], row["val_top1"]) for row in answer.rows] == [
        ("big", "ce", 0.5), ("big", "kd", 0.6), ("wide", "ce", 0.5), ("wide", "kd", 0.7)]


def test_a_budget_says_what_its_pairs_arms_had_at_the_common_one(tmp_path):
    answer = curves.budget(_open(tmp_path, {"ce": [Curve([0.5])], "kd": [Curve([0.5, 0.6])]}))
    assert answer.notes == (
        "costs of trials that ran side by side are added, so they are not the time that passed",
        "toy: big → tiny: at 2 s, the smallest budget of its arms: ce 50.00 %, kd none",
    )


def test_an_unknown_cost_is_answered_with_the_known_ones(study):
    with pytest.raises(ValueError, match=r"no cost `minutes`\. Known: seconds, epochs, device_seconds"):
        curves.budget(analysis.open(study), by="minutes")


def test_a_study_on_the_cpu_has_no_device_seconds(study):
    with pytest.raises(ValueError, match="no searched trial has device_seconds"):
        curves.budget(analysis.open(study), by="device_seconds")


def test_trials_without_a_cost_are_counted(tmp_path):
    gone = Curve([], "failed", changes={"wall_seconds": None})
    answer = curves.budget(_open(tmp_path, {"ce": [Curve([0.5]), gone]}))
    assert "tiny-study: 1 trials have no seconds and count as free" in answer.notes


def test_epochs_of_trials_that_are_not_final_are_told(tmp_path):
    results = _open(tmp_path, {"ce": [Curve([0.5])]})
    tables.write(tmp_path, "epochs", "running", [
        {"study_id": "s1", "trial_id": "running", "epoch": epoch, "epoch_seconds": 5.0} for epoch in (1, 2)])
    for answer in (curves.budget(results), curves.learning(results), curves.expected(results)):
        assert any("1 trials are not final yet; their 2 epochs (10 s)" in note for note in answer.notes)


# By epoch

def test_learning_shows_the_best_trial_and_quartiles_of_those_that_reached_the_epoch(tmp_path):
    own = [Curve([0.1, 0.9]), Curve([0.2, 0.7]), Curve([0.3, 0.8]), Curve([0.4], "stopped"), Curve([0.5], "failed")]
    answer = curves.learning(_open(tmp_path, {"ce": own}))
    found = _pick(answer, "epoch", "num_trials", "best", "lower", "median", "upper")
    assert found == [pytest.approx((1, 5, 0.1, 0.2, 0.3, 0.4)), pytest.approx((2, 3, 0.9, 0.75, 0.8, 0.85))]
    assert answer.notes[0].startswith("later medians and quartiles are of fewer")


def test_the_best_trial_is_the_first_of_equals_and_has_completed(tmp_path):
    own = [Curve([0.99], "stopped"), Curve([0.1, 0.7]), Curve([0.2, 0.7])]
    assert _pick(curves.learning(_open(tmp_path, {"ce": own})), "best") == [(0.1,), (0.7,)]


def test_without_a_completed_trial_there_is_no_best_one(tmp_path):
    answer = curves.learning(_open(tmp_path, {"ce": [Curve([0.4, None], "diverged")]}))
    assert _pick(answer, "epoch", "num_trials", "best", "median") == [(1, 1, None, 0.4)]


def test_repeats_are_not_part_of_the_search(tmp_path):
    own = [Curve([0.1, 0.2]), Curve([0.3, 0.4]), Curve([0.9, 0.9], changes={"stage": "repeat"})]
    results = _open(tmp_path, {"ce": own})
    assert _pick(curves.budget(results), "trial", "val_top1") == [(0, 0.2), (1, 0.4)]
    assert _pick(curves.learning(results), "epoch", "num_trials", "best") == [(1, 2, 0.3), (2, 2, 0.4)]
    assert _pick(curves.expected(results), "n", "num_draws") == [(1, 2)]


# Expected best of n draws

def test_the_expected_best_of_n_is_the_mean_over_all_subsets(tmp_path):
    answer = curves.expected(_open(tmp_path, {"ce": [Curve([value]) for value in (0.1, 0.2, 0.3, 0.4)]}))
    # of the 6 subsets of two: 0.2 once, 0.3 twice, 0.4 three times
    assert _pick(answer, "n", "seconds", "num_draws") == [(1, 2.0, 4), (2, 4.0, 4)]
    assert [value for value, in _pick(answer, "val_top1")] == pytest.approx([0.25, (0.2 + 2 * 0.3 + 3 * 0.4) / 6])


def test_the_biased_form_goes_up_to_all_draws(tmp_path):
    answer = curves.expected(_open(tmp_path, {"ce": [Curve([0.2]), Curve([0.4])]}), biased=True)
    assert [value for value, in _pick(answer, "val_top1")] == pytest.approx([0.3, 0.35])


def test_given_settings_are_not_draws(tmp_path):
    planned = [CE | {"first": [{"lr": 0.1}, {"lr": 0.2}]}]
    own = [Curve([0.9]), Curve([0.9]), Curve([0.2]), Curve([0.4])]
    answer = curves.expected(_open(tmp_path, {"ce": own}, arms=planned))
    assert _pick(answer, "n", "num_draws") == [(1, 2)]
    assert _pick(answer, "val_top1") == [pytest.approx((0.3,))]
    assert "2 trials of given settings, each arm's first, are not draws and left out" in answer.notes


def test_a_diverged_draw_counts_as_the_worst_and_a_failed_one_only_costs(tmp_path):
    own = [Curve([0.4]), Curve([0.7]), Curve([0.9, None], "diverged"), Curve([0.9, 0.9, 0.9], "failed")]
    answer = curves.expected(_open(tmp_path, {"ce": own}))
    assert _pick(answer, "n", "num_draws") == [(1, 3)]
    assert _pick(answer, "val_top1", "seconds") == [pytest.approx(((0.4 + 0.7 + 0.4) / 3, (2 + 2 + 4 + 6) / 3))]
    assert answer.notes == (
        "1 diverged trials count as the worst completed value of their arm",
        "1 failed or stopped trials have no final value and are no draws; what they cost counts",
    )


def test_an_arm_with_too_few_draws_is_named(tmp_path):
    answer = curves.expected(_open(tmp_path, {"ce": [Curve([0.4])]}))
    assert answer.rows == ()
    assert answer.notes == ("tiny-study: ce-tiny has too few draws for an expectation: 1",)


@pytest.mark.parametrize(("config", "reason"), [
    ({"sampler": "tpe"}, "proposals of tpe depend on earlier ones"),
    ({"sampler": "grid"}, "a grid's points are not random draws"),
    ({"rule": "asha"}, "trials stopped by asha have no final value"),
])
def test_what_is_no_draw_is_refused_with_the_reason(tmp_path, config, reason):
    results = analysis.open(make_search(tmp_path, trials=3, epochs=3, **config))
    with pytest.raises(ValueError, match=f"search-s1: {reason}.*\n\nhint: kdsweep curves --kind budget"):
        curves.expected(results)


def test_one_study_that_is_no_random_search_refuses_the_rest(tmp_path):
    make_search(tmp_path / "a", trials=4, epochs=2)
    make_search(tmp_path / "b", trials=4, epochs=2, sampler="tpe", study_id="s2")
    with pytest.raises(ValueError, match="search-s2: proposals of tpe"):
        curves.expected(analysis.open([tmp_path / "a", tmp_path / "b"]))
