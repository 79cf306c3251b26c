"""What the planner promises, on recorded curves: any order of arrivals, any failures, any number of kills."""

import json
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps import planner
from sweeps.driver import fold
from sweeps.executors.replay import MemoryLog, replay
from sweeps.state import FINAL, State
from tests.sweeps.curves import draw_curve, draw_fate, draw_pick, make_study

make_study()  # imports what it needs before hypothesis watches for random numbers
ways = st.sampled_from([("asha", "truncate"), ("asha", "compress"), ("asha_stop", "truncate"), ("none", "truncate")])
studies = st.builds(
    lambda way, **gaps: make_study(rule=way[0], budgets=way[1], **gaps),
    way=ways,
    trials=st.integers(1, 9),
    eta=st.integers(2, 4),
    grace=st.integers(1, 3),
    epochs=st.integers(1, 9),
    immune=st.sampled_from([0.0, 0.25]),
    seeds=st.integers(1, 2),
    seed=st.integers(0, 3),
)
runs = st.fixed_dictionaries({
    "curve": st.builds(draw_curve, st.integers(0, 99), nan_share=st.sampled_from([0, 0.3]), digits=st.integers(1, 2)),
    "slots": st.integers(1, 4),
    "pick": st.builds(draw_pick, st.integers(0, 99)),
    "fate": st.builds(draw_fate, st.integers(0, 99), failed=st.sampled_from([0, 0.1]), lost=st.sampled_from([0, 0.1])),
})
often = settings(max_examples=50, deadline=None)


@often
@given(studies, runs)
def test_every_trial_ends_in_exactly_one_final_state(study, run):
    driver = replay(study, **run)
    assert driver.is_done
    ends = Counter()
    state = State(retries=study.failure.retries)
    for event in driver.journal.events:
        before = {trial_id for trial_id, trial in state.trials.items() if trial.is_final}
        state.apply(event)
        ends.update(trial_id for trial_id, trial in state.trials.items() if trial.is_final and trial_id not in before)
        assert all(state.trials[trial_id].is_final for trial_id in before)
    assert set(ends) == set(state.trials)
    assert set(ends.values()) == {1}
    assert {trial.status for trial in state.trials.values()} <= set(FINAL)


@often
@given(studies, runs)
def test_trials_per_arm_are_exact_and_repeats_follow_every_winner(study, run):
    driver = replay(study, **run)
    state = driver.planner.state
    for arm in study.arms:
        if arm.teacher_id is not None and state.teachers[arm.teacher_id] == "blocked":
            assert state.of_arm("tune", arm.arm_id) == []
            continue
        asked = [trial.number for trial in state.of_arm("tune", arm.arm_id)]
        assert list(dict.fromkeys(asked)) == list(range(study.search.trials_per_arm))
        assert len(asked) == len(set(asked)) or study.stop.budgets == "compress"
        repeats = len(state.of_arm("repeat", arm.arm_id))
        assert repeats == (study.repeat.seeds if state.winners[arm.arm_id] is not None else 0)


@often
@given(studies, runs)
def test_a_rung_holds_the_value_of_its_own_epoch_and_nan_never_goes_on(study, run):
    driver = replay(study, **run)
    for trial in driver.planner.state.trials.values():
        curve = run["curve"](driver.planner.build_job(trial.trial_id))
        for rung, value in trial.values.items():
            assert rung in study.rungs
            assert value == curve[rung - 1]
        assert all(math.isfinite(trial.values[rung]) for rung in trial.passed)


@often
@given(studies, runs)
def test_the_winner_is_the_completed_trial_with_the_best_validation_value(study, run):
    state = replay(study, **run).planner.state
    for arm_id, winner in state.winners.items():
        tuned = state.of_arm("tune", arm_id)
        completed = [trial for trial in tuned if trial.status == "completed" and trial.epoch == study.epochs]
        assert (winner is None) == (not completed)
        if winner is not None:
            best = min(completed, key=lambda trial: (-trial.value, trial.number))
            assert winner == best.trial_id


@often
@given(studies, runs)
def test_the_fold_of_every_prefix_is_the_live_planner_at_that_moment(study, run):
    events = replay(study, **run).journal.events
    state = State(retries=study.failure.retries)
    for event in json.loads(json.dumps(events, allow_nan=False)):
        state.apply(event)
        assert state.digest == event["digest"]


@often
@given(studies, runs, st.data())
def test_a_changed_event_is_caught_by_the_digest(study, run, data):
    events = json.loads(json.dumps(replay(study, **run).journal.events))
    can_change = [n for n, event in enumerate(events) if event["type"] in ("asked", "rung", "ended")]
    event = events[data.draw(st.sampled_from(can_change))]
    if event["type"] == "asked":
        event["job"] += 1
    elif event["type"] == "rung":
        event["value"] = 0.123456
    else:
        event["epoch"] += 100  # by a few it may change nothing: a lost job is compared with the highest epoch so far
    with pytest.raises(ValueError, match="does not follow"):
        fold(events, study, where="journal")


@often
@given(studies, runs, st.integers(0, 60))
def test_a_lost_event_is_caught_by_the_digest(study, run, position):
    events = replay(study, **run).journal.events
    position %= len(events)
    kept = events[:position] + events[position + 1 :]
    if position == len(events) - 1 or events[position]["type"] in ("opened", "environment"):
        return  # the torn last event never was; these two decide nothing
    with pytest.raises(ValueError, match="does not follow"):
        fold(kept, study, where="journal")


@often
@given(studies, st.builds(draw_curve, st.integers(0, 99), nan_share=st.sampled_from([0, 0.3])), st.data())
def test_on_one_slot_a_killed_study_decides_what_an_undisturbed_one_does(study, curve, data):
    whole = replay(study, curve)
    log = MemoryLog()
    for reports in data.draw(st.lists(st.integers(0, 12), max_size=6)):
        replay(study, curve, log=log, max_reports=reports)
    resumed = replay(study, curve, log=log)
    assert _decisions(resumed) == _decisions(whole)


@often
@given(studies, runs, st.lists(st.integers(0, 12), max_size=5))
def test_kills_on_many_slots_keep_every_promise(study, run, kills):
    log = MemoryLog()
    for reports in kills:
        replay(study, **run, log=log, max_reports=reports)
    driver = replay(study, **run, log=log)
    assert driver.is_done
    for arm in study.arms:
        if arm.teacher_id is None:
            numbers = {trial.number for trial in driver.planner.state.of_arm("tune", arm.arm_id)}
            assert numbers == set(range(study.search.trials_per_arm))
    fold(log.events, study, where="journal")


@often
@given(
    st.integers(1, 40), st.integers(2, 4), st.integers(1, 3), st.integers(1, 30), st.integers(1, 4), st.integers(0, 99)
)
def test_without_failures_every_arm_spends_the_same_epochs_whatever_the_order(trials, eta, grace, epochs, slots, seed):
    study = make_study(trials=trials, eta=eta, grace=grace, epochs=epochs)
    driver = replay(study, draw_curve(seed), slots=slots, pick=draw_pick(seed))
    # by hand: of n at a rung, floor(n / eta) go on, and one where that is none
    expected, here, start = 0, trials, 0
    for rung in [*study.rungs, epochs]:
        expected += here * (rung - start)
        start, here = rung, max(1, here // eta)
    for arm in study.arms:
        spent = sum(trial.epoch for trial in driver.planner.state.of_arm("tune", arm.arm_id))
        assert spent == expected


def test_immune_trials_run_to_the_end_and_stay_out_of_the_rungs():
    driver = replay(make_study(trials=20, immune=0.25), draw_curve(1), slots=3, pick=draw_pick(1))
    for arm in driver.study.arms:
        trials = driver.planner.state.of_arm("tune", arm.arm_id)
        immune = [trial for trial in trials if trial.immune]
        assert [trial.number for trial in immune] == [3, 7, 11, 15, 19]
        assert {(trial.status, trial.epoch) for trial in immune} == {("completed", 9)}
        assert all(sorted(trial.values) == [1, 3] for trial in immune)
        went_on = [trial for trial in trials if 1 in trial.passed]
        assert len(went_on) == 15 // 3


def test_a_teacher_under_the_gate_blocks_its_arms_and_no_other():
    driver = replay(make_study(gate=0.9999), draw_curve(0))
    state = driver.planner.state
    teacher = driver.study.teachers[0].teacher_id
    assert state.teachers == {teacher: "blocked"}
    assert state.of_arm("teacher", teacher)[0].error_type == "gate"
    ce, kd = driver.study.arms
    assert state.winners[kd.arm_id] is None
    assert len(state.of_arm("tune", ce.arm_id)) == 9
    assert state.of_arm("tune", kd.arm_id) == []


def test_arms_without_a_teacher_search_while_the_teacher_trains():
    driver = replay(make_study(), draw_curve(0), slots=2, max_reports=1)
    asked = [event for event in driver.journal.events if event["type"] == "asked"]
    assert [(event["stage"], event["number"]) for event in asked[:2]] == [("teacher", 0), ("tune", 0)]


def test_a_failing_trial_is_tried_again_as_often_as_the_study_says_and_then_fails():
    broken = lambda job, epoch: "failed" if (job.stage, job.number, epoch) == ("tune", 2, 1) else None  # noqa: E731
    driver = replay(make_study(retries=2), draw_curve(0), fate=broken)
    trials = _tune_trials(driver, number=2)
    assert {(t.status, t.retries, t.job, t.error_type) for t in trials} == {("failed", 3, 3, "replayed")}


def test_a_trial_whose_worker_dies_without_an_epoch_three_times_fails_and_no_retry_is_counted():
    killer = lambda job, epoch: "lost" if (job.stage, job.number, epoch) == ("tune", 1, 1) else None  # noqa: E731
    driver = replay(make_study(), draw_curve(0), fate=killer)
    assert {(t.status, t.retries, t.job) for t in _tune_trials(driver, number=1)} == {("failed", 0, 3)}


def test_a_worker_that_dies_after_progress_is_replaced_for_ever():
    weary = lambda job, epoch: "lost" if job.stage == "tune" and epoch == job.job else None  # noqa: E731
    driver = replay(make_study(rule="none", trials=1, epochs=9), draw_curve(0), fate=weary)
    assert {(t.status, t.job) for t in _tune_trials(driver, number=0)} == {("completed", 10)}


def test_too_many_failures_end_the_study_and_every_trial_with_it():
    broken = lambda job, epoch: None if job.stage == "teacher" else "failed"  # noqa: E731
    driver = replay(make_study(max_failed=0.1), draw_curve(0), slots=3, fate=broken)
    state = driver.planner.state
    assert state.abandoned == "3 of 20 planned trials failed, more than failure.max_failed_fraction allows"
    assert driver.is_done
    assert all(trial.is_final for trial in state.trials.values())


@often
@given(studies, runs)
def test_a_stopped_trial_says_why_and_no_other_does(study, run):
    driver = replay(study, **run)
    lost_at_a_rung = {event["trial_id"] for event in driver.journal.events if event.get("then") == "stop"}
    given_up = driver.planner.state.abandoned is not None
    for trial in driver.planner.state.trials.values():
        if trial.status != "stopped":
            assert trial.stop_reason is None
        elif trial.trial_id in lost_at_a_rung:
            assert (trial.stop_reason, study.stop.rule) == ("rung", "asha_stop")
        elif trial.arm_id in driver.planner.state.winners:
            assert (trial.stop_reason, study.stop.rule) == ("arm_done", "asha")
        else:
            assert (trial.stop_reason, given_up) == ("given_up", True)


def test_a_trial_stops_at_a_rung_or_with_its_arm_or_with_its_study():
    """Of three at rung 1 one goes on; under `asha_stop` the two others end there, under `asha` they wait in vain."""
    level = {0: 0.9, 1: 0.2, 2: 0.1}
    curve = lambda job: [level.get(job.number, 0.5)] * 9  # noqa: E731
    found = {}
    for rule in ("asha_stop", "asha"):
        driver = replay(make_study(methods="ce", trials=3, rule=rule), curve)
        found[rule] = [t.stop_reason for t in driver.planner.state.of_arm("tune", driver.study.arms[0].arm_id)]
    assert found == {"asha_stop": [None, "rung", "rung"], "asha": [None, "arm_done", "arm_done"]}
    broken = lambda job, epoch: "failed" if (job.stage, job.number, epoch) == ("tune", 2, 1) else None  # noqa: E731
    driver = replay(make_study(methods="ce", trials=3, retries=0, max_failed=0.0), curve, fate=broken)
    trials = driver.planner.state.of_arm("tune", driver.study.arms[0].arm_id)
    assert [(t.status, t.stop_reason) for t in trials] == [
        ("stopped", "given_up"), ("stopped", "given_up"), ("failed", None),
    ]


def test_an_orphan_of_a_dead_driver_changes_nothing():
    log = MemoryLog()
    first = replay(make_study(rule="none"), draw_curve(0), log=log, max_reports=3)
    (orphan,) = [first.planner.build_job(t.trial_id) for t in first.planner.state.trials.values() if not t.is_final]
    second = replay(make_study(rule="none"), draw_curve(0), log=log, max_reports=1)
    before = len(log.events), second.planner.state.digest
    report = {"epoch": 9, "value": 0.99, "end": "completed", "value_epoch": 9}
    assert second.tell(orphan, report | {"environment": {"environment_id": "other"}}) is False
    assert (len(log.events), second.planner.state.digest) == before


def test_a_study_whose_last_jobs_still_run_is_not_done():
    driver = replay(make_study(methods="ce", rule="none", trials=1), draw_curve(0), slots=2, max_reports=4)
    assert [t.status for t in driver.planner.state.of_arm("tune", driver.study.arms[0].arm_id)] == ["running"]
    assert driver.planner.next() is None
    assert not driver.is_done


def test_the_arms_of_a_study_keep_step():
    driver = replay(make_study(methods="ce, {label: two, method: ce}", rule="none", trials=3), draw_curve(0))
    asked = [event["arm_id"].rpartition("/")[2] for event in driver.journal.events
             if event["type"] == "asked" and event["stage"] == "tune"]
    assert asked == ["ce", "two"] * 3


def test_a_finisher_is_wanted_beside_the_immune_ones():
    # trial 1 is immune and ends; of one trial at the rung a third is none, and still it goes on
    driver = replay(make_study(methods="ce", trials=2, immune=0.5), draw_curve(0))
    trials = driver.planner.state.of_arm("tune", driver.study.arms[0].arm_id)
    assert [(t.immune, t.status, t.epoch) for t in trials] == [(False, "completed", 9), (True, "completed", 9)]


def test_without_early_stopping_no_trial_is_immune():
    driver = replay(make_study(methods="ce", rule="none", trials=4, immune=0.5), draw_curve(0))
    assert not any(trial.immune for trial in driver.planner.state.trials.values())


def test_the_search_learns_of_a_diverged_trial_that_it_was_worst(monkeypatch):
    told = _capture(monkeypatch)
    broken = lambda job: [0.5, math.nan] + [0.5] * 7 if job.number == 0 else [0.5] * 9  # noqa: E731
    replay(make_study(methods="ce", rule="none", trials=2), broken)
    (first,) = told[1][1]
    assert (first.state, first.value, list(first.values)) == ("pruned", None, [2])
    assert math.isnan(first.values[2])


def test_the_search_learns_of_an_immune_trial_what_early_stopping_would_have_left(monkeypatch):
    told = _capture(monkeypatch)
    level = {0: 0.9, 1: 0.1, 2: 0.8}  # number 1 is immune: below the best third at its first rung
    replay(make_study(methods="ce", trials=4, immune=0.5, rule="asha"), lambda job: [level.get(job.number, 0.5)] * 9)
    immune = told[2][1][1]
    assert (immune.state, immune.value, immune.values) == ("pruned", None, {1: 0.1})


def _capture(monkeypatch):
    """Every history that the search is told, as (arm's label, what it was told)."""
    told = []
    propose = planner.propose

    def listen(arm, history, **how):
        told.append((arm.label, history))
        return propose(arm, history, **how)

    monkeypatch.setattr(planner, "propose", listen)
    return told


def _tune_trials(driver, *, number):
    """The trials of that number in every arm."""
    return [driver.planner.state.of_arm("tune", arm.arm_id)[number] for arm in driver.study.arms]


def _decisions(driver):
    """Everything that was decided, in order; what a kill may change (jobs, times) left out."""
    state = driver.planner.state
    trials = [
        (t.trial_id, t.status, t.stop_reason, t.settings, [(e, repr(v)) for e, v in t.values.items()], t.passed,
         t.value, t.immune, t.number, t.budget)
        for t in state.trials.values()
    ]
    return trials, state.winners, state.teachers
