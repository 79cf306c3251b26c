"""Compressed budgets in the tables: a smaller budget's value is no arm's final one, whatever is asked."""

from __future__ import annotations

import json

import pytest

import analysis
from analysis import curves, fidelity, plots, report, searches, sensitivity
from analysis.settings import SETTINGS
from tests.analysis.make_search import Curve, write_search
from tests.analysis.make_study import arms, write_study

STOP = {"rule": "asha", "budgets": "compress", "eta": 3, "grace": 1, "immune": 0.0}
LR = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]     # of each setting


def _end(number, budget, value, *, status="completed", immune=False, rung=None):
    """A trial of `budget` epochs that ends at `value`."""
    settings = {"lr": LR[number], "settings_json": json.dumps({"lr": LR[number]}), "epochs_planned": budget}
    changes = {"number": number, "rung": rung, "setting_id": f"s{number}"} | settings
    return Curve([value] * budget, status, immune, changes)


def _cut(number, budget, value, **how):
    """One that ends a smaller budget: its end is its rung."""
    return _end(number, budget, value, rung=budget, **how)


# Setting 0 comes to the whole of 9 epochs and gets worse all the way; 1 stays at 1, 2 diverges at 3, 3 fails at 1.
TRIALS = [
    _cut(0, 1, 0.95), _cut(1, 1, 0.50), _cut(2, 1, 0.60), _end(3, 1, None, status="failed"),
    _cut(0, 3, 0.90), _end(2, 3, None, status="diverged"), _end(0, 9, 0.80),
]


@pytest.fixture
def study(tmp_path):
    return _write(tmp_path, TRIALS)


def _write(folder, trials, **stop):
    space = {"lr": {"log": [0.01, 1.0]}, "weight": {"choice": [1]}}
    planned = [arm | {"space": space} for arm in arms()[:1]]
    write_study(folder, stop=STOP | stop, arms=planned, search={"trials_per_arm": 4, "sampler": "tpe"},
                fix={"epochs": 9})
    write_search(folder, planned[0], trials)
    return analysis.open(folder)


def test_a_setting_is_what_became_of_its_newest_trial(study):
    rows = study.sql(f"SELECT number, status, epochs_planned AS epochs FROM ({SETTINGS}) ORDER BY number")
    found = [(row.number, row.status, row.epochs) for row in rows.itertuples()]
    assert found == [(0, "completed", 9), (1, "stopped", 1), (2, "diverged", 3), (3, "failed", 1)]


def test_of_truncated_trials_every_one_is_its_setting(tmp_path):
    write_study(tmp_path)
    own = [Curve([0.5] * 9), Curve([0.4], "stopped", changes={"rung": 1}), Curve([0.3], "failed")]
    write_search(tmp_path, arms()[0], own, planned=9)
    results = analysis.open(tmp_path)
    tuned = results.sql("SELECT * FROM trials WHERE stage = 'tune' ORDER BY number")
    assert results.sql(f"SELECT * FROM ({SETTINGS}) ORDER BY number").equals(tuned)


def test_the_final_value_of_a_search_is_that_of_the_whole_budget(study):
    (search,) = searches.read_searches(study)
    assert [(tried.status, tried.val_top1, tried.settings) for tried in search.tried] == [
        ("completed", 0.80, {"lr": 0.1}), ("stopped", None, {"lr": 0.2}), ("diverged", None, {"lr": 0.3}),
        ("failed", None, {"lr": 0.4}),
    ]
    cells = sensitivity.measure(study).rows
    assert sum(row["num_trials"] for row in cells) == 1
    assert sum(row["num_unfinished"] for row in cells) == 3
    assert {row["val_top1_best"] for row in cells} == {None, 0.80}


def test_the_best_value_of_the_status_is_that_of_the_whole_budget(study):
    (arm,) = [row for row in study.status().itertuples() if row.arm_id == "ce-tiny"]
    assert arm.best_val_top1 == 0.80
    assert (arm.completed, arm.diverged, arm.failed) == (5, 1, 1)  # these are trials


def test_the_budget_curve_counts_every_epoch_and_a_value_at_the_whole_budget_alone(study):
    rows = curves.budget(study, by="epochs").rows
    assert [(row["trial"], row["epochs"], row["val_top1"]) for row in rows] == [
        (0, 1, None), (1, 2, None), (2, 3, None), (3, 4, None), (0, 7, None), (2, 10, None), (0, 19, 0.80),
    ]


def test_learning_curves_are_of_the_longest_schedule_alone(study):
    rows = curves.learning(study).rows
    assert [(row["epoch"], row["num_trials"], row["best"]) for row in rows] == [(n, 1, 0.80) for n in range(1, 10)]


def test_the_board_counts_settings_where_it_looks_for_those_that_are_missing(study, tmp_path):
    assert "trials searched" not in " ".join(study.leaderboard().missing)
    folder = tmp_path / "other"
    fewer = _write(folder, [trial for trial in TRIALS if trial.changes["number"] != 3])
    assert "ce on toy, tiny: 3 of 4 trials searched" in " ".join(fewer.leaderboard().missing)


def test_the_board_says_that_each_budget_had_its_own_schedule(study):
    footer = dict(study.leaderboard().footer)
    assert footer["budget"] == (
        "4 settings per arm, proposed by tpe, stopped by asha, each budget with a schedule of its own, "
        "1 or 3 or 9 epochs each"
    )


def test_the_report_draws_each_setting_once(study, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "draw_settings", lambda tuned, colours: drawn.append(tuned))
    report.build_page(study)
    assert [(row.number, row.status) for row in drawn[0].itertuples()] == [
        (0, "completed"), (1, "stopped"), (2, "diverged"), (3, "failed"),
    ]


# Fidelity: a rung's value is another trial's

FINALS = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]


def _immune(by_budget, finals):
    """Settings that ran all budgets: at 1 and 3 epochs with these values, at 9 with the final ones."""
    ends = [_cut(n, budget, v, immune=True) for budget, values in by_budget.items() for n, v in enumerate(values)]
    return ends + [_end(n, 9, value, immune=True) for n, value in enumerate(finals)]


def test_a_smaller_budget_is_the_rung_of_its_setting(tmp_path):
    own = _immune({1: FINALS[::-1], 3: FINALS}, FINALS)
    first, second = fidelity.measure(_write(tmp_path, own, immune=0.5)).rows
    assert (first["epoch"], first["num_trials"], first["tau"], first["best_stopped"]) == (1, 6, -1.0, 1.0)
    assert first["regret"] == pytest.approx(0.9 - 0.5)  # the best two of six pass: 0.4 and 0.5
    assert (second["epoch"], second["num_trials"], second["tau"], second["regret"]) == (3, 6, 1.0, 0.0)


def test_an_epoch_of_the_whole_schedule_is_not_taken_for_a_budget(tmp_path):
    """At its first epoch the whole budget's trial is at its end here, and the smaller budgets are in reverse."""
    rows = fidelity.measure(_write(tmp_path, _immune({1: FINALS[::-1]}, FINALS), immune=0.5)).rows
    assert [(row["epoch"], row["num_trials"], row["tau"]) for row in rows] == [(1, 6, -1.0), (3, 0, None)]


def test_settings_that_did_not_come_to_the_whole_budget_say_nothing_and_diverged_ones_are_worst(tmp_path):
    own = [*_immune({1: [0.5, 0.6]}, [0.7, 0.8]), _cut(2, 1, 0.9, immune=True),
           _cut(3, 1, 0.4, immune=True), _end(3, 3, None, status="diverged", immune=True)]
    row = fidelity.measure(_write(tmp_path, own, immune=0.5)).rows[0]
    assert (row["num_trials"], row["tau"]) == (3, 1.0)  # 0.4 and diverged, 0.5 and 0.7, 0.6 and 0.8


def test_only_budgets_can_be_asked_for(tmp_path):
    results = _write(tmp_path, _immune({1: FINALS, 3: FINALS}, FINALS), immune=0.5)
    assert [row["epoch"] for row in fidelity.measure(results, epochs=[3]).rows] == [3]
    with pytest.raises(ValueError, match=r"epoch 2 is no rung of tiny-study, .* epoch 9\n\nhint: --epochs takes 1, 3$"):
        fidelity.measure(results, epochs=[2])
