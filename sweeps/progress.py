"""What a person sees while a study runs: a live table on a terminal, plain lines where the output is piped.

Everything goes to stderr. The display reads the planner and decides nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sweeps.arm_table import build_arm_table, count_statuses
from sweeps.figures import count, format_seconds, format_setting, format_share
from sweeps.planner import Planner
from sweeps.status import summarise
from sweeps.study import Study

_REFRESH_SECONDS = 0.25    # four times a second at most
_LINE_SECONDS = 30.0       # between two summaries in a log; chosen by hand
_RECENT_EPOCHS = 200       # the speed is that of so many last epochs; chosen by hand
_LINES_AROUND = 6          # the head's two lines, which may wrap, the table's own, and the cursor's


class Progress:
    """A `sweeps.driver.Listener` (its method `listen`) for one driver. A context: the live table lasts as long."""

    def __init__(self, planner: Planner, *, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.planner, self.console, self.clock = planner, console, clock
        self.slots: int | None = None
        self._live = Live(console=console, auto_refresh=False) if console.is_interactive else None
        self._told: dict[str, int] = {}
        self._epoch_times: deque[float] = deque(maxlen=_RECENT_EPOCHS)
        self._shown_at = clock()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._show()
            self._live.stop()

    def start(self, slots: int) -> None:
        """The executor can run so many jobs at once."""
        self.slots = slots
        self._say(describe_start(self.planner, slots))

    def listen(self, kind: str, what: dict[str, Any]) -> None:
        """Takes in an event or a report of the driver."""
        now = self.clock()
        if kind == "report":
            self._told[what["job"].trial_id] = what["epoch"]
            self._epoch_times.append(now)
        elif (line := describe_event(self.planner, what)) is not None:
            self._say(line)
        if now - self._shown_at >= (_LINE_SECONDS if self._live is None else _REFRESH_SECONDS):
            self._shown_at = now
            self._show()

    @property
    def epochs_per_second(self) -> float | None:
        """Of all slots together; None before there are two epochs to measure between."""
        if len(self._epoch_times) < 2 or self._epoch_times[-1] == self._epoch_times[0]:
            return None
        return (len(self._epoch_times) - 1) / (self._epoch_times[-1] - self._epoch_times[0])

    def _show(self) -> None:
        summary = summarise(self.planner, self._told)
        speed = describe_speed(summary, slots=self.slots, epochs_per_second=self.epochs_per_second)
        if self._live is None:
            self._say(f"{describe_study(summary)}; {speed}")
            return
        head = Text(f"{describe_study(summary)}\n{speed}", style="bold")
        rows = max(1, self.console.size.height - _LINES_AROUND)
        self._live.update(Group(head, build_arm_table(summary, max_rows=rows)), refresh=True)

    def _say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


def describe_start(planner: Planner, slots: int) -> str:
    """`digits: 13 arms of 9 trials and 3 repeats, 2 slots`."""
    study = planner.study
    repeats = count(study.repeat.seeds, "repeat")
    arms = f"{count(len(study.arms), 'arm')} of {_name_search(study)} and {repeats}"
    return f"{study.name}: {arms}, {count(slots, 'slot')}"


def _name_search(study: Study) -> str:
    """`9 trials`; `9 settings at 1, 3 and 9 epochs` where each budget is a trial of its own."""
    settings = study.search.trials_per_arm
    if study.stop.budgets == "truncate" or not study.rungs:
        return count(settings, "trial")
    return f"{count(settings, 'setting')} at {', '.join(map(str, study.rungs))} and {study.epochs} epochs"


def describe_study(summary: dict[str, Any]) -> str:
    """`digits: 120 of at most 2,000 epochs, arms: 2 searching, 11 waiting`."""
    done, left = summary["epochs_done"], summary["epochs_left"]
    arms = ", ".join(f"{number} {status}" for status, number in count_statuses(summary["arms"]).items())
    return f"{summary['study']}: {done:,} of at most {done + left:,} epochs, arms: {arms}"


def describe_speed(summary: dict[str, Any], *, slots: int | None, epochs_per_second: float | None) -> str:
    """`2 of 2 slots at work, 12.1 epochs/s, 3 min left`; `?` for what is not known yet."""
    speed, left = "?", "?"
    if epochs_per_second is not None:
        speed, left = f"{epochs_per_second:.1f}", format_seconds(summary["epochs_left"] / epochs_per_second)
    running = summary["trials"].get("running", 0)
    return f"{running} of {'?' if slots is None else slots} slots at work, {speed} epochs/s, {left} left"


def describe_teachers(summary: dict[str, Any]) -> list[str]:
    """`teacher resnet8 (w0123456789abcdef): training, epoch 12 of 40`, a line each."""
    return [_describe_training(teacher) for teacher in summary["teachers"]]


def _describe_training(teacher: dict[str, Any]) -> str:
    line = f"teacher {teacher['model']} ({teacher['teacher_id']}): {teacher['status']}"
    if teacher["status"] == "training":
        return f"{line}, epoch {teacher['epochs_done']} of {teacher['epochs_done'] + teacher['epochs_left']}"
    return line if teacher["val_top1"] is None else f"{line}, val top-1 {format_share(teacher['val_top1'])}"


def describe_card(card: dict[str, Any]) -> str:
    """`teacher resnet32x4 (w0123456789abcdef) is stored: imported:t.pth, val top-1 79.42 %`."""
    value = format_share(card["val_top1"])
    return f"teacher {card['model']} ({card['teacher_id']}) is stored: {card['source']}, val top-1 {value}"


def describe_event(planner: Planner, event: dict[str, Any]) -> str | None:
    """The line for an event that matters to a person; None for all others."""
    describe = {
        "teacher": _describe_teacher,
        "closed": _describe_closed,
        "ended": _describe_failure,
        "abandoned": _describe_end,
    }.get(event["type"])
    return None if describe is None else describe(planner, event)


def _describe_teacher(planner: Planner, event: dict[str, Any]) -> str:
    teacher_id = event["teacher_id"]
    model = planner.teachers[teacher_id].config.student
    if event["status"] == "blocked":
        return f"teacher {model} ({teacher_id}) failed: its arms are skipped"
    trials = planner.state.of_arm("teacher", teacher_id)
    stored = "from an earlier study" if planner.teachers[teacher_id].origin is None else "imported"
    value = f"val top-1 {format_share(trials[0].value)}" if trials else stored
    return f"teacher {model} ({teacher_id}) is ready: {value}"


def _describe_closed(planner: Planner, event: dict[str, Any]) -> str:
    if event["winner"] is None:
        return f"{event['arm_id']}: searched, no trial came to its end"
    winner = planner.state.trials[event["winner"]]
    settings = ", ".join(f"{name} {format_setting(value)}" for name, value in winner.settings.items())
    return f"{event['arm_id']}: searched, best val top-1 {format_share(winner.value)} with {settings or 'its defaults'}"


def _describe_failure(planner: Planner, event: dict[str, Any]) -> str | None:
    if event["how"] not in ("failed", "lost"):
        return None
    trial = planner.state.trials[event["trial_id"]]
    where = f"trial {trial.trial_id} of {_name_arm(planner, trial.arm_id)}"
    then = "given up" if trial.status == "failed" else "tried again"
    if event["how"] == "lost":
        return f"{where}: its worker died after epoch {event['epoch']}; {then}"
    text, _, _ = (event.get("error_text") or event["error_type"]).partition("\n\nhint: ")  # the row has it all
    reason = text.strip().splitlines()[-1]
    return f"{where} failed after epoch {event['epoch']}: {reason}; {then}"


def _describe_end(planner: Planner, event: dict[str, Any]) -> str:
    return f"{planner.study.name}: given up: {event['reason']}"


def _name_arm(planner: Planner, arm_id: str) -> str:
    teacher = planner.teachers.get(arm_id)
    return arm_id if teacher is None else f"teacher {teacher.config.student}"
