"""What is shown while a study runs: the lines of a log, and the table of a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweeps.arm_table import build_arm_table, choose_arms
from sweeps.executors.replay import replay
from sweeps.planner import Planner
from sweeps.progress import Progress
from sweeps.status import summarise
from tests.sweeps.curves import draw_curve, draw_fate, make_study

TEACHER = "teacher resnet8(width=4) (w"


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _replay_into(progress: Progress, events: list[dict], clock: Clock, *, seconds: float = 0.0) -> None:
    for event in events:
        clock.now += seconds
        progress.planner.apply(event)
        progress.listen("event", event)


def _log(study, *, seconds: float = 0.0, **run) -> list[str]:
    clock, out = Clock(), io.StringIO()
    with Progress(Planner(study), console=Console(file=out), clock=clock) as progress:
        progress.start(2)
        _replay_into(progress, replay(study, draw_curve(), **run).journal.events, clock, seconds=seconds)
    return out.getvalue().splitlines()


def test_a_log_tells_teachers_and_arms_and_nothing_else():
    lines = _log(make_study())
    assert lines[0] == "replayed: 2 arms of 9 trials and 1 repeat, 2 slots"
    assert lines[1].startswith(TEACHER)
    assert ") is ready: val top-1 " in lines[1]
    assert lines[2].startswith("digits/none/resnet8(width=2)/ce: searched, best val top-1 ")
    assert " % with lr 0." in lines[2]
    assert lines[3].startswith("digits/resnet8(width=4)/resnet8(width=2)/kd: searched, best val top-1 ")
    assert len(lines) == 4


def test_a_log_has_a_summary_every_thirty_seconds():
    study = make_study()
    events = len(replay(study, draw_curve()).journal.events)
    lines = [line for line in _log(study, seconds=1) if line.startswith("replayed: ") and "epochs/s" in line]
    assert len(lines) == events // 30
    assert "of at most 62 epochs, arms: " in lines[0]
    assert lines[0].endswith(" of 2 slots at work, ? epochs/s, ? left")


@pytest.mark.parametrize("text", [
    "Traceback ...\nRuntimeError: the loss has no gradient\n",
    "Traceback ...\nRuntimeError: the loss has no gradient\n\nhint: give it one\n",
])
def test_a_failure_is_told_with_the_last_line_of_its_error(text):
    study = make_study(retries=1)
    planner = Planner(study)
    progress = Progress(planner, console=Console(file=(out := io.StringIO())), clock=Clock())
    events = replay(study, draw_curve(), fate=draw_fate(failed=1.0), max_reports=12).journal.events
    failures = [event for event in events if event["type"] == "ended" and event["how"] == "failed"]
    failures[0]["error_text"] = text
    failures[0]["digest"] = None
    _replay_into(progress, events, Clock())
    told = [line for line in out.getvalue().splitlines() if " failed after epoch " in line]
    assert told[0].endswith(": RuntimeError: the loss has no gradient; tried again")
    trial = f"trial {failures[0]['trial_id']} of digits/none/resnet8(width=2)/ce"
    assert told[0].startswith(f"{trial} failed after epoch 0: ")
    assert told[1].endswith(": replayed; given up") or told[1].endswith(": replayed; tried again")
    assert len(told) == len(failures)


def test_a_dead_worker_is_told():
    lines = _log(make_study(), fate=draw_fate(lost=0.2))
    assert any(line.endswith("its worker died after epoch 0; tried again") for line in lines)


def test_a_blocked_teacher_and_the_end_of_a_study_are_told():
    study = make_study(retries=0, max_failed=0.0)
    assert _log(study, fate=draw_fate(failed=1.0))[-1].startswith("replayed: given up: 1 of 20 planned trials failed")
    blocked = _log(make_study(gate=1.0, retries=0), fate=lambda job, _: "failed" if job.stage == "teacher" else None)
    assert any(line.startswith(TEACHER) and line.endswith("failed: its arms are skipped") for line in blocked)


def test_the_speed_is_that_of_all_slots_and_gives_the_time_left():
    study, clock = make_study(), Clock()
    driver = replay(study, draw_curve(), max_reports=10)
    progress = Progress(driver.planner, console=Console(file=(out := io.StringIO())), clock=clock)
    job = driver.planner.build_job(next(iter(driver.planner.state.trials)))
    for _ in range(21):
        clock.now += 2
        progress.listen("report", {"job": job, "epoch": 1})
    assert progress.epochs_per_second == pytest.approx(0.5)
    left = summarise(driver.planner)["epochs_left"]
    assert f"0.5 epochs/s, {left * 2 / 60:.0f} min left" in out.getvalue()


def _terminal(height: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=200, height=height,
                   color_system=None)


def test_a_terminal_shows_a_table_of_the_arms():
    console, study = _terminal(30), make_study()
    with Progress(Planner(study), console=console, clock=Clock()) as progress:
        progress.start(1)
        _replay_into(progress, replay(study, draw_curve()).journal.events, Clock())
    shown = console.file.getvalue()
    assert "replayed: 0 of at most 62 epochs, arms: 1 searching, 1 waiting" in shown
    assert "resnet8(width=4) -> resnet8(width=2)  kd" in shown
    assert "replayed: 62 of at most 62 epochs, arms: 2 done" in shown


def test_a_terminal_is_refreshed_at_most_four_times_a_second(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    progress = Progress(Planner(make_study()), console=_terminal(30), clock=clock)
    shown = []
    monkeypatch.setattr(progress, "_show", lambda: shown.append(clock.now))
    for _ in range(100):
        clock.now += 0.0625
        progress.listen("event", {"type": "rung"})
    assert shown == [0.25 * n for n in range(1, 26)]


def test_a_low_screen_keeps_the_arms_at_work_and_counts_the_others():
    arms = [{"arm_id": str(n), "status": status} for n, status in enumerate(
        ["done", "searching", "waiting", "done", "repeating"])]
    shown, hidden = choose_arms(arms, 3)
    assert [arm["status"] for arm in shown] == ["searching", "repeating"]
    assert [arm["status"] for arm in hidden] == ["done", "waiting", "done"]
    assert choose_arms(arms, 5) == (arms, [])
    assert choose_arms(arms, None) == (arms, [])


def test_the_table_says_how_many_arms_it_leaves_out():
    summary = summarise(replay(make_study(), draw_curve()).planner)
    console = Console(file=io.StringIO(), width=200)
    console.print(build_arm_table(summary, max_rows=1))
    assert "and 2 more" in console.file.getvalue()
    assert "2 done" in console.file.getvalue()


def test_a_row_counts_the_trials_of_an_arm_by_what_they_came_to():
    summary = summarise(replay(make_study(), draw_curve()).planner)
    console = Console(file=io.StringIO(), width=200)
    console.print(build_arm_table(summary))
    row = console.file.getvalue().splitlines()[2].removeprefix("resnet8(width=4) -> resnet8(width=2)")
    best = f"{100 * summary['arms'][1]['best_val_top1']:.2f}"
    assert row.split() == ["kd", "done", "9/9", "1/1", best, "%", "1:9", "3:3"]


def test_a_row_counts_diverged_trials_as_ended_and_failed_ones_apart():
    summary = summarise(replay(make_study(), draw_curve()).planner)
    trials = {"completed": 1, "diverged": 2, "stopped": 3, "failed": 1, "running": 1, "paused": 1}
    summary["arms"] = [summary["arms"][0] | {"trials": trials, "repeats": {"failed": 1}, "best_val_top1": None}]
    console = Console(file=io.StringIO(), width=200)
    console.print(build_arm_table(summary))
    row = console.file.getvalue().splitlines()[1].removeprefix("resnet8(width=2)")
    assert row.split() == ["ce", "done", "1", "1", "6/9", "2", "0/1", "-", "1:9", "3:3"]
