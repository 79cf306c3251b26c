"""Drives a study's planner with recorded curves: no training, no files, a simulated clock.

Every proposal and stopping rule is tried here before it ships, and every promise of the planner is tested here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from kdtrain.config import TrialConfig
from sweeps.driver import Driver, fold
from sweeps.journal import Event
from sweeps.planner import Job, Planner
from sweeps.study import Study

Curve = Callable[[Job], Sequence[float]]
"""A job's trial -> its validation values from epoch 1 on. NaN: the loss diverged in that epoch."""

End = Callable[[TrialConfig], float]
"""A trial -> its final validation value. Its epochs are its budget."""

Fate = Callable[[Job, int], str | None]
"""A job and the epoch that it comes to -> None, `failed` (it raises) or `lost` (its worker dies)."""

Pick = Callable[[Sequence[Job]], int]
"""The running jobs -> the position of the one that reports next."""


class MemoryLog:
    """A journal in a list."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.events = list(events)

    def append(self, event: Event) -> None:
        """The driver adds the event to `events` itself."""

    def close(self) -> None:
        """Nobody else can have it."""


class NoShelf:
    """No tables, no stored teachers."""

    def has_teacher(self, teacher_id: str) -> bool:
        """No curve needs its weights."""
        return True

    def find_card(self, teacher_id: str) -> dict[str, Any] | None:
        return None

    def publish_after(self, event: Event) -> None:
        """Nothing is kept."""

    def reconcile(self) -> None:
        """Nothing was kept."""


def end_at(end: End) -> Curve:
    """A curve for every trial of which the end alone is known, and which holds that value from its first epoch on.

    For compressed budgets, which are judged by nothing else: a truncated trial would know its end at its first rung.
    """
    return lambda job: [end(job.config)] * job.config.epochs


def replay(
    study: Study,
    curve: Curve,
    *,
    slots: int = 1,
    pick: Pick = lambda running: 0,
    fate: Fate = lambda job, epoch: None,
    log: MemoryLog | None = None,
    max_reports: int | None = None,
) -> Driver:
    """The driver after the study, or after `max_reports` reports: as if killed there. `log`: go on from its events.

    By default the job that has run longest reports next; `pick` may draw any order.
    """
    log = log if log is not None else MemoryLog()
    planner = Planner(study, fold(log.events, study, where="memory"))
    driver = Driver(planner, journal=log, shelf=NoShelf())
    driver.begin()
    running: list[tuple[Job, int]] = []  # with the epoch that each has reported
    reports = 0
    while max_reports is None or reports < max_reports:
        while len(running) < slots and (job := driver.next_job()) is not None:
            running.append((job, job.after_epoch))
        if not running:
            return driver
        job, epoch = running.pop(pick([job for job, _ in running]))
        reports += 1
        if _report(driver, job, epoch + 1, curve=curve, fate=fate(job, epoch + 1)):
            running.append((job, epoch + 1))
    return driver


def _report(driver: Driver, job: Job, epoch: int, *, curve: Curve, fate: str | None) -> bool:
    """Tells the driver of one epoch; whether the job goes on."""
    if fate == "lost":
        driver.lose(job)
        return False
    value = curve(job)[epoch - 1]
    finite = value if math.isfinite(value) else None
    report = {"epoch": epoch, "value": finite, "end": None, "environment": {"environment_id": "replay"}}
    if fate == "failed":
        report |= {"epoch": epoch - 1, "value": None, "end": "failed", "error_type": "replayed"}
    elif finite is None:
        report["end"] = "diverged"
    elif epoch == job.config.epochs:
        report |= {"end": "completed", "value_epoch": epoch}
    return driver.tell(job, report)
