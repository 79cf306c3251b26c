"""Compressed budgets: each is a trial of its own, and the whole one alone wins."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtrain.optim import compute_lr
from sweeps import cost, planner, status
from sweeps.budget import compress
from sweeps.driver import fold
from sweeps.executors.replay import MemoryLog, end_at, replay
from sweeps.progress import describe_start
from sweeps.resolved import resolve
from sweeps.results import build_trial_row
from sweeps.setting import group_settings
from tests.sweeps.curves import draw_curve, draw_pick, make_config, make_study

make_study()  # imports what it needs before hypothesis watches for random numbers
often = settings(max_examples=50, deadline=None)
_LEVEL = {0: 0.9, 1: 0.2, 2: 0.1}


def make(**changes):
    """One arm of three settings at 1, 3 and 9 epochs."""
    return make_study(**{"methods": "ce", "trials": 3, "budgets": "compress"} | changes)


def by_level(job):
    return [_LEVEL.get(job.number, 0.5)] * job.config.epochs


def tuned(driver):
    return driver.planner.state.of_arm("tune", driver.study.arms[0].arm_id)


def list_trials(driver):
    return [(trial.number, driver.planner.build_config(trial).epochs, trial.status) for trial in tuned(driver)]


# The training


@pytest.mark.parametrize(("epochs", "warmup"), [(240, 20), (120, 10), (60, 5), (30, 2), (6, 1), (2, 1), (1, 0)])
def test_a_warm_up_keeps_its_share_of_the_epochs_and_never_takes_them_all(epochs, warmup):
    found = compress({"epochs": 240, "warmup_epochs": 20, "schedule": "cosine", "lr": 0.1}, epochs)
    assert found == {"epochs": epochs, "warmup_epochs": warmup, "schedule": "cosine", "lr": 0.1}


def test_a_warm_up_of_nearly_all_epochs_leaves_one():
    assert compress({"epochs": 240, "warmup_epochs": 239, "schedule": "step"}, 30)["warmup_epochs"] == 29


@pytest.mark.parametrize(
    ("entry", "whole", "cut"),
    [
        ("{label: a, method: dkd}", 20, 7),
        ("{label: a, method: dkd, warmup_epochs: 1}", 1, 1),
        ("{label: a, method: dkd, warmup_epochs: 0}", 0, 0),
        ("{label: a, method: standardize(dkd)}", 20, 7),
    ],
)
def test_a_methods_own_epochs_shrink_with_the_budget_and_its_other_settings_do_not(entry, whole, cut):
    found = make(methods=entry)
    long, short = (
        found.trial_config(found.arms[0], {"beta": 4.0}, seed=0, stage="tune", budget=budget).settings
        for budget in (None, 3)  # of 9 epochs
    )
    assert (long["warmup_epochs"], short["warmup_epochs"]) == (whole, cut)
    assert {**long, "warmup_epochs": cut} == short
    assert short["beta"] == 4.0


def test_no_warm_up_stays_none():
    assert compress({"epochs": 240, "warmup_epochs": 0, "schedule": "step"}, 30)["warmup_epochs"] == 0


def test_a_rate_that_falls_after_each_epoch_falls_as_far_in_fewer():
    # of 9 epochs 1 warms up, of 5 the same: 0.81 after each of 4 is 0.9 after each of 8
    found = compress({"epochs": 9, "warmup_epochs": 1, "schedule": "exponential", "decay": 0.9}, 5)
    assert (found["warmup_epochs"], found["decay"]) == (1, pytest.approx(0.81))
    assert compress({"epochs": 9, "warmup_epochs": 1, "schedule": "step", "decay": 0.1}, 5)["decay"] == 0.1


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "poly", "one_cycle", "step"])
def test_at_the_same_share_of_its_epochs_a_trial_of_any_budget_has_the_same_rate(schedule):
    warmup = 0 if schedule == "one_cycle" else 24  # it begins with a rise of its own
    training = {"epochs": 240, "warmup_epochs": warmup, "schedule": schedule, "milestones": (0.625, 0.75, 0.875)}
    for epochs in (120, 80, 40):  # in which every milestone is a whole epoch
        whole, cut = make_config(**training), make_config(**compress(training, epochs))
        for sixteenth in range(16):
            share = sixteenth / 16
            assert compute_lr(cut, share * epochs) == pytest.approx(compute_lr(whole, share * 240))


def test_a_trial_of_a_budget_is_another_trial_of_the_same_setting():
    study = make(epochs=9)
    whole, cut = (study.trial_config(study.arms[0], {"lr": 0.1}, seed=5, stage="tune", budget=b) for b in (None, 3))
    assert (whole.epochs, cut.epochs, whole.seed, cut.seed, cut.lr) == (9, 3, 5, 5, 0.1)
    assert whole.trial_id != cut.trial_id


# Decisions


def test_a_promotion_is_a_new_trial_of_the_next_budget_with_the_same_setting_and_seed():
    driver = replay(make(), by_level)
    assert list_trials(driver) == [
        (0, 1, "completed"), (1, 1, "completed"), (2, 1, "completed"), (0, 3, "completed"), (0, 9, "completed"),
    ]
    chain = [trial for trial in tuned(driver) if trial.number == 0]
    assert len({trial.trial_id for trial in chain}) == 3
    assert len({(trial.seed, str(trial.settings), trial.job) for trial in chain}) == 1
    assert {trial.stop_reason for trial in tuned(driver)} == {None}


def test_of_compressed_trials_no_epoch_is_a_rung():
    driver = replay(make(trials=9, epochs=9), draw_curve(0))
    assert not any(event["type"] == "rung" for event in driver.journal.events)
    for trial in tuned(driver):
        job = driver.planner.build_job(trial.trial_id)
        assert job.stops == (job.config.epochs,)


def test_a_small_budget_never_wins_however_good_it_was():
    """The whole budget's 0.3 stands for the arm, although 0.9 was measured after 1 epoch."""
    driver = replay(make(), end_at(lambda config: 0.9 if config.epochs == 1 else 0.3))
    winner = driver.planner.state.trials[driver.planner.state.winners[driver.study.arms[0].arm_id]]
    assert (winner.value, driver.planner.build_config(winner).epochs) == (0.3, 9)
    (repeat,) = driver.planner.state.of_arm("repeat", driver.study.arms[0].arm_id)
    assert (repeat.settings, repeat.budget) == (winner.settings, None)
    assert driver.planner.build_config(repeat).epochs == 9


def test_no_setting_wins_where_none_comes_to_the_whole_budget():
    broken = lambda job: [math.nan if job.config.epochs > 1 else 0.5] * job.config.epochs  # noqa: E731
    driver = replay(make(), broken)
    assert driver.planner.state.winners == {driver.study.arms[0].arm_id: None}
    # the best left goes on after each divergence, since none has come to the end yet
    assert Counter(trial.status for trial in tuned(driver)) == {"completed": 3, "diverged": 3}


def test_an_immune_setting_runs_every_budget_and_takes_no_others_place():
    driver = replay(make(trials=20, immune=0.25), draw_curve(1), slots=3, pick=draw_pick(1))
    found = group_settings(tuned(driver))
    assert [setting.number for setting in found if setting.immune] == [3, 7, 11, 15, 19]
    for setting in found:
        if setting.immune:
            assert [trial.epoch for trial in setting.trials] == [1, 3, 9]
            assert sorted(setting.values) == [1, 3]
    assert sum(1 in setting.passed and not setting.immune for setting in found) == 15 // 3


@often
@given(
    st.integers(1, 20), st.integers(2, 4), st.integers(1, 3), st.integers(1, 20), st.sampled_from([0.0, 0.25]),
    st.integers(1, 4), st.integers(0, 99),
)
def test_the_cost_of_every_arm_is_known_before(trials, eta, grace, epochs, immune, slots, seed):
    study = make(methods="ce, kd", trials=trials, eta=eta, grace=grace, epochs=epochs, immune=immune)
    driver = replay(study, draw_curve(seed), slots=slots, pick=draw_pick(seed))
    for arm in study.arms:
        found = driver.planner.state.of_arm("tune", arm.arm_id)
        assert (sum(trial.epoch for trial in found),) * 2 == cost.bound_epochs(study)
        assert len(found) == cost.count_trials(study)


def test_each_promotion_pays_for_the_whole_next_budget():
    # by hand: 9 settings of 1 epoch, 3 of 3, 1 of 9; and where every fourth is immune, 2 of 8 take 1 + 3 + 9
    assert cost.bound_epochs(make(trials=9)) == (9 * 1 + 3 * 3 + 1 * 9,) * 2
    assert cost.count_trials(make(trials=9)) == 9 + 3 + 1
    assert cost.bound_epochs(make(trials=8, immune=0.25)) == (2 * 13 + 6 * 1 + 2 * 3 + 1 * 9,) * 2
    assert cost.count_trials(make(trials=8, immune=0.25)) == 2 * 3 + 6 + 2 + 1
    found = cost.estimate_cost(make(trials=9), lambda config: 2.0)
    assert (found.arms[0].trials, found.arms[0].tune_epochs_high, found.arms[0].repeat_epochs) == (13, 27, 9)


@often
@given(st.integers(0, 9), st.integers(0, 99), st.lists(st.integers(0, 12), max_size=5))
def test_killed_anywhere_a_study_comes_to_the_same_settings_and_values(seed, drawn, kills):
    study, curve = make(trials=7, seed=seed % 4, immune=0.25), draw_curve(drawn, nan_share=0.3)
    whole, log = replay(study, curve), MemoryLog()
    for reports in kills:
        replay(study, curve, log=log, max_reports=reports)
    resumed = replay(study, curve, log=log)
    told = lambda driver: [(t.trial_id, t.status, t.value, t.budget) for t in tuned(driver)]  # noqa: E731
    assert told(resumed) == told(whole)
    assert resumed.planner.state.winners == whole.planner.state.winners


def test_a_changed_budget_is_caught_by_the_digest():
    events = [dict(event) for event in replay(make(), by_level).journal.events]
    asked = next(event for event in events if event.get("budget") == 3)
    asked["budget"] = 1
    with pytest.raises(ValueError, match=rf"event {asked['n']} \(asked\) does not follow"):
        fold(events, make(), where="journal")


def test_journals_of_before_there_were_budgets_fold_as_they_did():
    """The digest that the version before them gave, when every trial had views of its own."""
    driver = replay(make_study(immune=0.25, views="own"), draw_curve(0, nan_share=0.3))
    assert (len(driver.journal.events), driver.planner.state.digest) == (65, "d58d86da18dc5bad")
    assert not any("budget" in event for event in driver.journal.events)


# What the search is told


def test_the_search_learns_of_a_setting_what_each_budget_said(monkeypatch):
    told = _capture(monkeypatch)
    value = {1: 0.4, 3: 0.6, 9: 0.8}
    replay(make(trials=10), lambda job: [value.get(job.config.epochs, 0.5) - job.number / 100] * job.config.epochs)
    found = [(asked.state, asked.value, dict(asked.values)) for asked in told[-1]]  # of 9 at 1 and 3 at 3 epochs
    assert found[0] == ("completed", 0.8, {})
    assert found[1:4] == [
        ("pruned", None, {1: 0.39, 3: 0.59}), ("pruned", None, {1: 0.38, 3: 0.58}), ("pruned", None, {1: 0.37}),
    ]


def test_the_search_learns_that_a_setting_diverged_at_a_budget_above_those_that_it_passed(monkeypatch):
    told = _capture(monkeypatch)
    broken = lambda job: [0.5, math.nan, 0.5] if job.config.epochs == 3 else [0.5] * job.config.epochs  # noqa: E731
    replay(make(trials=4), broken)
    first = told[-1][0]
    assert (first.state, list(first.values)) == ("pruned", [1, 3])  # not epoch 2, where the loss was lost
    assert math.isnan(first.values[3])


def test_the_search_learns_of_an_immune_setting_what_early_stopping_would_have_left(monkeypatch):
    told = _capture(monkeypatch)
    replay(make(trials=4, immune=0.5), lambda job: [{0: 0.9, 1: 0.1}.get(job.number, 0.5)] * job.config.epochs)
    immune = told[2][1]
    assert (immune.state, immune.value, dict(immune.values)) == ("pruned", None, {1: 0.1})


def test_the_search_learns_of_a_setting_that_is_on_its_next_budget_that_it_runs(monkeypatch):
    told = _capture(monkeypatch)
    short_first = lambda jobs: min(range(len(jobs)), key=lambda place: jobs[place].config.epochs)  # noqa: E731
    replay(make(trials=5), by_level, slots=2, pick=short_first)
    assert [asked.state for asked in told[-1]] == ["running", "pruned", "pruned", "pruned"]


def _capture(monkeypatch):
    """Every history that the search is told."""
    told, propose = [], planner.propose

    def listen(arm, history, **how):
        told.append(history)
        return propose(arm, history, **how)

    monkeypatch.setattr(planner, "propose", listen)
    return told


# What is shown and written


def test_a_row_of_a_small_budget_says_that_it_completed_its_own():
    driver = replay(make(), by_level)
    rows = [build_trial_row(driver.planner, trial, checkpoint=None) for trial in tuned(driver)]
    shown = [(row["number"], row["status"], row["epochs_planned"], row["epochs_done"], row["rung"], row["val_epoch"])
             for row in rows]
    assert shown == [(0, "completed", 1, 1, 1, 1), (1, "completed", 1, 1, 1, 1), (2, "completed", 1, 1, 1, 1),
                     (0, "completed", 3, 3, 3, 3), (0, "completed", 9, 9, None, 9)]
    assert [row["val_top1"] for row in rows] == [0.9, 0.2, 0.1, 0.9, 0.9]
    assert len({row["setting_id"] for row in rows}) == 3
    assert {row["stop_reason"] for row in rows} == {None}


def test_the_status_counts_settings_and_shows_how_many_ended_each_budget():
    study = make()
    begun = status.summarise(replay(study, by_level, max_reports=2 + 4).planner)["arms"][0]
    assert (begun["trials"], begun["trials_planned"]) == ({"running": 1, "paused": 2}, 3)
    ended = status.summarise(replay(study, by_level).planner)["arms"][0]
    assert (ended["trials"], ended["trials_planned"]) == ({"completed": 1, "stopped": 2}, 3)
    assert ended["rungs"] == [{"epoch": 1, "trials": 3}, {"epoch": 3, "trials": 1}]
    assert (ended["epochs_done"], ended["epochs_left"]) == (3 * 1 + 3 + 9 + 9, 0)


def test_what_is_done_and_what_is_left_are_always_the_whole_search_and_its_repeat():
    for reports in range(26):
        (arm,) = status.summarise(replay(make(), by_level, max_reports=reports).planner)["arms"]
        assert arm["epochs_done"] + arm["epochs_left"] == 3 * 1 + 3 + 9 + 9


def test_a_resolved_study_shows_the_first_budget_where_it_shows_an_arms_first_trial():
    (compressed,), (truncated,) = (resolve(make(budgets=way))["arms"] for way in ("compress", "truncate"))
    assert compressed["trial"]["epochs"] == 1
    assert "epochs" not in truncated["trial"]


def test_the_display_names_the_budgets():
    driver = replay(make(), by_level, max_reports=0)
    said = describe_start(driver.planner, 2)
    assert said == "replayed: 1 arm of 3 settings at 1, 3 and 9 epochs and 1 repeat, 2 slots"
    without_rung = replay(make(grace=9), by_level, max_reports=0).planner
    assert describe_start(without_rung, 2) == "replayed: 1 arm of 3 trials and 1 repeat, 2 slots"
