"""Where a study stands, on recorded curves: counts, what is left, and what another process sees."""

from __future__ import annotations

import fcntl
import json
import math
from pathlib import Path

import pytest

from sweeps.executors.replay import replay
from sweeps.planner import Planner
from sweeps.status import is_driven, read_status, summarise
from tests.sweeps.curves import draw_curve, draw_fate, make_study

CE, KD = "digits/none/resnet8(width=2)/ce", "digits/resnet8(width=4)/resnet8(width=2)/kd"


def _arms(summary: dict) -> dict[str, dict]:
    return {arm["arm_id"]: arm for arm in summary["arms"]}


def test_before_anything_began_all_epochs_are_left():
    """9 trials: 9 x 1, then 3 x 2 to epoch 3, then 1 x 6 to epoch 9; a repeat of 9; the teacher's 2."""
    summary = summarise(replay(make_study(), draw_curve(), max_reports=0).planner)
    assert summary["epochs_done"] == 0
    assert summary["epochs_left"] == 2 * (9 + 6 + 6 + 9) + 2
    assert [arm["status"] for arm in summary["arms"]] == ["searching", "waiting"]
    assert summary["teachers"][0]["status"] == "waiting"
    assert not summary["finished"]


def test_a_finished_study_has_nothing_left():
    summary = summarise(replay(make_study(), draw_curve()).planner)
    assert summary["finished"]
    assert summary["epochs_done"] == 2 * (9 + 6 + 6 + 9) + 2
    assert summary["epochs_left"] == 0
    arm = _arms(summary)[KD]
    assert arm["status"] == "done"
    assert arm["trials"] == {"stopped": 8, "completed": 1}
    assert arm["repeats"] == {"completed": 1}
    assert arm["rungs"] == [{"epoch": 1, "trials": 9}, {"epoch": 3, "trials": 3}]


@pytest.mark.parametrize("reports", range(0, 60, 7))
def test_what_is_done_and_what_is_left_add_up_to_the_bound(reports: int):
    """Without failures, once the last rung of each job is counted: what is done in between comes with `told`."""
    driver = replay(make_study(), draw_curve(), max_reports=reports)
    summary = summarise(driver.planner, driver._reached)
    assert summary["epochs_done"] + summary["epochs_left"] == 2 * 30 + 2


def test_epochs_between_two_rungs_are_known_only_when_told():
    driver = replay(make_study(rule="none"), draw_curve(), max_reports=5)
    assert summarise(driver.planner)["epochs_done"] == 2
    (running,) = [trial_id for trial_id, trial in driver.planner.state.trials.items() if trial.status == "running"]
    assert summarise(driver.planner, {running: 3})["epochs_done"] == 5


def test_the_best_value_is_of_any_rung_and_never_nan():
    curves = {0: [0.5, float("nan")], 1: [0.4, 0.7]}
    study = make_study(rule="asha_stop", trials=2, epochs=2, eta=2)

    def curve(job):
        return [0.1, 0.1] if job.stage == "teacher" else curves[job.number]

    summary = summarise(replay(study, curve).planner)
    assert _arms(summary)[CE]["best_val_top1"] == 0.5
    assert _arms(summary)[CE]["trials"] == {"diverged": 1, "stopped": 1}


def test_an_arm_whose_teacher_failed_is_blocked_and_needs_no_more():
    driver = replay(make_study(), draw_curve(), fate=lambda job, _: "failed" if job.stage == "teacher" else None)
    summary = summarise(driver.planner)
    assert summary["finished"]
    assert summary["teachers"][0]["status"] == "blocked"
    assert _arms(summary)[KD]["status"] == "blocked"
    assert summary["epochs_left"] == 0


def test_a_study_that_was_given_up_says_why():
    study = make_study(retries=0, max_failed=0.0)
    summary = summarise(replay(study, draw_curve(), fate=draw_fate(failed=1.0)).planner)
    assert summary["finished"]
    assert summary["abandoned"] == "1 of 20 planned trials failed, more than failure.max_failed_fraction allows"


def test_a_study_whose_teacher_still_trains_is_not_finished():
    """Its one arm needs no teacher and is done: 9 trials of 21 epochs together, and a repeat of 9."""
    driver = replay(make_study(methods="ce"), draw_curve(), slots=2, pick=lambda running: -1, max_reports=30)
    summary = summarise(driver.planner)
    assert summary["arms"][0]["status"] == "done"
    assert summary["teachers"][0]["status"] == "training"
    assert not summary["finished"]


def _diverging(number: int, *, stage: str, epoch: int):
    """Curves of which one breaks off."""
    curve = draw_curve()

    def diverge(job):
        values = list(curve(job))
        if job.stage == stage and job.number == number:
            values[epoch - 1 :] = [math.nan] * len(values[epoch - 1 :])
        return values

    return diverge


def test_a_trial_that_diverged_between_two_rungs_counts_with_the_epochs_it_took():
    study = make_study(methods="ce", trials=1, rule="none")
    arm = summarise(replay(study, _diverging(0, stage="tune", epoch=5)).planner)["arms"][0]
    assert arm["trials"] == {"diverged": 1}
    assert arm["epochs_done"] == 5


def test_an_arm_that_was_searched_has_only_its_repeats_left():
    study = make_study(methods="ce", trials=2, rule="none", seeds=2)
    search = 5 + 9  # one diverged
    driver = replay(study, _diverging(0, stage="tune", epoch=5), max_reports=2 + search + 4)
    arm = summarise(driver.planner, driver._reached)["arms"][0]
    assert arm["status"] == "repeating"
    assert arm["epochs_left"] == 2 * 9 - 4


def test_a_repeat_that_diverged_is_not_trained_again():
    study = make_study(methods="ce", trials=1, rule="none", seeds=2)
    driver = replay(study, _diverging(0, stage="repeat", epoch=3), max_reports=2 + 9 + 3 + 4)
    arm = summarise(driver.planner, driver._reached)["arms"][0]
    assert arm["repeats"] == {"diverged": 1, "running": 1}
    assert arm["epochs_left"] == 9 - 4


def test_a_rung_without_a_value_is_not_the_best():
    planner = Planner(make_study())
    for event in replay(make_study(), draw_curve(), max_reports=12).journal.events:
        planner.apply(event | ({"value": None} if event["type"] == "rung" else {}))
    assert summarise(planner)["arms"][0]["best_val_top1"] is None


def test_every_summary_is_json():
    for reports in range(0, 60, 10):
        driver = replay(make_study(), draw_curve(nan_share=0.3), max_reports=reports)
        json.dumps(summarise(driver.planner), allow_nan=False)


def _write_journal(directory: Path, reports: int) -> list[dict]:
    events = replay(make_study(), draw_curve(), max_reports=reports).journal.events
    (directory / "journal").mkdir()
    (directory / "journal" / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return events


def test_the_status_is_read_from_the_journal_alone(tmp_path: Path):
    events = _write_journal(tmp_path, 20)
    found = read_status(make_study(), tmp_path, now=events[-1]["at"] + 90)
    assert found["seconds_since_event"] == 90
    assert found["last_event_at"] == events[-1]["at"]
    assert found["driver_alive"] is False
    assert found["arms"] == summarise(replay(make_study(), draw_curve(), max_reports=20).planner)["arms"]
    assert [path.name for path in tmp_path.rglob("*")] == ["journal", "events.jsonl"]


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path):
    events = _write_journal(tmp_path, 20)
    with open(tmp_path / "journal" / "events.jsonl", "a") as file:
        file.write('{"type":"ru')
    assert read_status(make_study(), tmp_path, now=0)["last_event_at"] == events[-1]["at"]


def test_a_driver_is_alive_while_it_holds_the_lock(tmp_path: Path):
    (tmp_path / "journal").mkdir()
    assert not is_driven(tmp_path)
    with open(tmp_path / "journal" / "lock", "w") as lock:
        assert not is_driven(tmp_path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_driven(tmp_path)
    assert not is_driven(tmp_path)
