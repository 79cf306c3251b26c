"""What it cost: every trial once, teachers by themselves, and sums that are the tables' own."""

from __future__ import annotations

import pytest

import analysis
from analysis import cost, tables
from tests.analysis.make_search import Curve, make_search, write_search
from tests.analysis.make_study import arms, make_study, write_study

CE = arms()[0]


def _rows(answer, **wanted):
    return [row for row in answer.rows if all(row[name] == value for name, value in wanted.items())]


def test_an_arms_search_costs_what_all_its_trials_cost(tmp_path):
    write_study(tmp_path)
    own = [Curve([0.5] * 9), Curve([0.4] * 3, "stopped"), Curve([0.3, None], "diverged"), Curve([0.2], "failed")]
    write_search(tmp_path, CE, own, planned=9)
    row = cost.measure(analysis.open(tmp_path)).rows[0]
    assert {name: row[name] for name in ("method", "stage", "num_trials", "completed", "stopped", "diverged")} == {
        "method": "ce", "stage": "tune", "num_trials": 4, "completed": 1, "stopped": 1, "diverged": 1}
    assert (row["failed"], row["num_epochs"], row["wall_seconds"], row["cpu_seconds"]) == (1, 15, 30.0, 15.0)
    assert (row["device_seconds"], row["peak_bytes"], row["share"]) == (None, 1003, 1.0)


def test_only_a_stopped_trial_saves_epochs(tmp_path):
    write_study(tmp_path)
    own = [Curve([0.5] * 9), Curve([0.4] * 3, "stopped"), Curve([0.3, None], "diverged"), Curve([0.2], "failed")]
    write_search(tmp_path, CE, own, planned=9)
    assert cost.measure(analysis.open(tmp_path)).rows[0]["epochs_saved"] == 9 - 3


def test_a_repeat_that_the_end_of_its_study_stopped_saved_nothing(tmp_path):
    write_study(tmp_path)
    write_search(tmp_path, CE, [Curve([0.5], "stopped", changes={"stage": "repeat"})], planned=9)
    row = cost.measure(analysis.open(tmp_path)).rows[0]
    assert (row["stage"], row["stopped"], row["epochs_saved"]) == ("repeat", 1, None)


def test_search_and_repeats_stand_apart(study):
    answer = cost.measure(analysis.open(study))
    tune, repeat = _rows(answer, method="kd", student="tiny")
    assert (tune["stage"], tune["num_trials"], tune["num_epochs"], tune["epochs_saved"]) == ("tune", 4, 8, 2)
    assert (repeat["stage"], repeat["num_trials"], repeat["wall_seconds"]) == ("repeat", 3, 24.0)
    assert repeat["epochs_saved"] is None


def test_a_teachers_training_is_a_row_of_its_own(study):
    tables.write(study, "trials", "teacher", [
        {"study_id": "s1", "trial_id": "teacher", "number": 0, "stage": "teacher", "data": "toy", "student": "big",
         "method_label": "teacher", "status": "completed", "epochs_done": 30, "wall_seconds": 60.0}])
    first = cost.measure(analysis.open(study)).rows[0]
    assert {name: first[name] for name in ("stage", "teacher", "student", "method", "num_epochs")} == {
        "stage": "teacher", "teacher": "big", "student": None, "method": None, "num_epochs": 30}


def test_shares_and_sums_add_up_to_the_study(tmp_path):
    make_search(tmp_path, trials=9, epochs=9, rule="asha")
    *parts, total = cost.measure(analysis.open(tmp_path)).rows
    assert (total["study"], total["stage"], total["num_trials"]) == ("search-s1", "total", 54)
    for name in ("num_trials", "completed", "stopped", "num_epochs", "epochs_saved", "wall_seconds", "share"):
        assert sum(row[name] for row in parts) == pytest.approx(total[name])
    assert total["peak_bytes"] == 1008


def test_epochs_that_are_of_no_final_trial_yet_are_a_row(study):
    tables.write(study, "epochs", "running", [
        {"study_id": "s1", "trial_id": "running", "epoch": epoch, "epoch_seconds": 5.0} for epoch in (1, 2)])
    answer = cost.measure(analysis.open(study))
    row, = _rows(answer, stage="unfinished")
    assert (row["num_trials"], row["num_epochs"], row["wall_seconds"], row["completed"]) == (1, 2, 10.0, None)
    assert answer.rows[-1]["wall_seconds"] == pytest.approx(
        sum(analysis.open(study).trials()["wall_seconds"]) + 10)


def test_several_studies_have_a_total_each_and_one_of_all(tmp_path):
    make_study(tmp_path / "a")
    make_study(tmp_path / "b", name="other", study_id="s2")
    totals = _rows(cost.measure(analysis.open([tmp_path / "a", tmp_path / "b"])), stage="total")
    assert [(row["study"], row["num_trials"], row["share"]) for row in totals] == [
        ("tiny-study", 42, 1.0), ("other", 42, 1.0), (None, 84, None)]


def test_trials_whose_seconds_are_lost_are_told(tmp_path):
    write_study(tmp_path)
    write_search(tmp_path, CE, [Curve([0.5]), Curve([], "failed", changes={"wall_seconds": None})])
    assert "tiny-study: 1 trials have no seconds, as a worker that dies takes them along" in cost.measure(
        analysis.open(tmp_path)).notes


def test_a_study_without_trials_cost_nothing_known(tmp_path):
    write_study(tmp_path)
    row, = cost.measure(analysis.open(tmp_path)).rows
    assert (row["stage"], row["num_trials"], row["wall_seconds"], row["share"]) == ("total", None, None, None)
