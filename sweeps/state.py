"""What a study has come to: one record a trial, folded from the journal event by event.

`State.apply` is the only thing that changes a state; it knows no clock, no files and no Ray. The digest covers what
decisions depend on. It is an exclusive-or of one hash per trial, arm and teacher, so an event costs one hash, not all.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from sweeps.journal import Event

FINAL = ("completed", "stopped", "diverged", "failed")
STALLED_JOBS = 3  # jobs in a row that died without an epoch: then the trial kills its worker, not the node. By hand


@dataclass
class Trial:
    """One trial as the journal tells it. `status` is running, waiting (its job was lost), paused, or one of FINAL."""

    trial_id: str
    stage: str                                    # teacher, tune, repeat
    arm_id: str                                   # of a teacher: its teacher_id
    number: int                                   # in its arm and stage, from 0
    settings: dict[str, Any]
    seed: int
    immune: bool = False
    budget: int | None = None                     # its epochs where they are fewer than the study's: compressed
    status: str = "running"
    job: int = 1                                  # newest
    retries: int = 0
    stalled: int = 0                              # jobs lost in a row without a new epoch
    reached: int = 0                              # highest epoch at which a job ended
    epoch: int = 0                                # newest rung or last epoch that is in the journal
    values: dict[int, float] = field(default_factory=dict)   # rung -> validation value, NaN is worst
    passed: list[int] = field(default_factory=list)          # rungs at which it was let go on
    value: float | None = None                    # final
    value_epoch: int | None = None                # the epoch that the epoch rule chose
    error_type: str | None = None
    stop_reason: str | None = None                # stopped: rung, arm_done (paused until its arm closed), given_up
    started_at: float | None = None
    ended_at: float | None = None
    report: dict[str, Any] = field(default_factory=dict)     # of its jobs' ends, the newest wins: spent, evals, ...

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def fingerprint(self) -> int:
        """64 bits of what decisions about this trial depend on."""
        return _hash(
            self.trial_id, self.stage, self.arm_id, self.number, self.settings, self.seed, self.immune, self.status,
            self.job, self.retries, self.stalled, self.reached, self.epoch, self.passed, self.value, self.value_epoch,
            [[epoch, repr(value)] for epoch, value in self.values.items()],
            *(() if self.budget is None else (self.budget,)),  # journals of before there were budgets stay as they are
        )


@dataclass
class State:
    """Every trial in ask order, the arms that are closed, the teachers that are decided."""

    retries: int                                            # from the study: how often a failed trial is tried again
    trials: dict[str, Trial] = field(default_factory=dict)
    winners: dict[str, str | None] = field(default_factory=dict)   # closed arm -> trial_id of its best trial, or None
    teachers: dict[str, str] = field(default_factory=dict)         # teacher_id -> ready or blocked
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    abandoned: str | None = None                            # why the study gave up
    openings: int = 0                                       # drivers so far
    created_at: float | None = None
    open: dict[str, Trial] = field(default_factory=dict)    # the trials that are not final, in ask order
    num_failed: int = 0                                     # students that failed for good
    _sum: int = 0
    by_arm: dict[tuple[str, str], list[Trial]] = field(default_factory=dict)   # (stage, arm_id) -> in ask order

    @property
    def digest(self) -> str:
        """16 hex digits; equal for equal states."""
        return f"{self._sum:016x}"

    def apply(self, event: Event) -> None:
        """Makes the event part of the state. Raises KeyError or AssertionError for one that cannot follow."""
        getattr(self, f"_apply_{event['type']}")(event)

    def of_arm(self, stage: str, arm_id: str) -> list[Trial]:
        """The trials of an arm in one stage in ask order: by number, but for further budgets of a setting."""
        return self.by_arm.get((stage, arm_id), [])

    def _apply_opened(self, event: Event) -> None:
        self.openings += 1
        self.created_at = self.created_at if self.created_at is not None else event["at"]
        for trial in self.open.values():
            if trial.status == "running":  # its driver died, and its worker with it
                with _Change(self, trial):
                    trial.status = "waiting"

    def _apply_environment(self, event: Event) -> None:
        self.environments[event["environment_id"]] = {k: v for k, v in event.items() if k not in _ENVELOPE}

    def _apply_teacher(self, event: Event) -> None:
        assert event["teacher_id"] not in self.teachers
        self.teachers[event["teacher_id"]] = event["status"]
        self._sum ^= _hash("teacher", event["teacher_id"], event["status"])

    def _apply_asked(self, event: Event) -> None:
        if event["job"] == 1:
            assert event["trial_id"] not in self.trials
            names = ("trial_id", "stage", "arm_id", "number", "settings", "seed", "immune")
            own = {name: event[name] for name in names}
            trial = Trial(**own, budget=event.get("budget"), started_at=event["at"])
            self.trials[trial.trial_id] = self.open[trial.trial_id] = trial
            self.by_arm.setdefault((trial.stage, trial.arm_id), []).append(trial)
            self._sum ^= trial.fingerprint()
            return
        trial = self.trials[event["trial_id"]]
        assert trial.status in ("waiting", "paused")
        assert event["job"] == trial.job + 1
        with _Change(self, trial):
            if trial.status == "paused":
                trial.passed.append(trial.epoch)
            trial.status = "running"
            trial.job = event["job"]

    def _apply_rung(self, event: Event) -> None:
        trial = self._running(event)
        with _Change(self, trial):
            trial.epoch = event["epoch"]
            trial.values[event["epoch"]] = _to_value(event["value"])
            if event["then"] == "go" and not trial.immune:
                trial.passed.append(event["epoch"])
            if event["then"] != "go":
                trial.status = {"pause": "paused", "stop": "stopped"}[event["then"]]
                trial.stop_reason = {"pause": None, "stop": "rung"}[event["then"]]
                self._end(trial, event)

    def _apply_ended(self, event: Event) -> None:
        trial = self._running(event)
        with _Change(self, trial):
            trial.stalled = trial.stalled + 1 if event["how"] == "lost" and event["epoch"] <= trial.reached else 0
            trial.reached = max(trial.reached, event["epoch"])
            trial.status = self._judge(trial, event)
            if event["how"] == "completed":
                trial.epoch = event["epoch"]
                trial.value, trial.value_epoch = event["value"], event["value_epoch"]
                if trial.budget is not None:
                    trial.values[trial.budget] = _to_value(event["value"])  # the end of a budget is a rung
            trial.error_type = event.get("error_type")
            self._end(trial, event)

    def _judge(self, trial: Trial, event: Event) -> str:
        if event["how"] == "lost":  # a dead worker or node is nobody's fault, until it happens again and again
            return "failed" if trial.stalled >= STALLED_JOBS else "waiting"
        if event["how"] == "failed" and event.get("error_type") != "gate":
            trial.retries += 1
            return "failed" if trial.retries > self.retries else "waiting"
        return event["how"]

    def _apply_closed(self, event: Event) -> None:
        assert event["arm_id"] not in self.winners
        self.winners[event["arm_id"]] = event["winner"]
        self._sum ^= _hash("closed", event["arm_id"], event["winner"])
        self._stop(self.of_arm("tune", event["arm_id"]), event, reason="arm_done")

    def _apply_abandoned(self, event: Event) -> None:
        self.abandoned = event["reason"]
        self._sum ^= _hash("abandoned")
        for trial_id, epoch in event["reached"].items():
            with _Change(self, self.trials[trial_id]):
                self.trials[trial_id].reached = max(self.trials[trial_id].reached, epoch)
        self._stop(list(self.open.values()), event, reason="given_up")

    def _stop(self, trials: list[Trial], event: Event, *, reason: str) -> None:
        for trial in trials:
            if not trial.is_final:
                with _Change(self, trial):
                    trial.status, trial.stop_reason = "stopped", reason
                    trial.ended_at = trial.ended_at if trial.ended_at is not None else event["at"]

    def _running(self, event: Event) -> Trial:
        trial = self.trials[event["trial_id"]]
        assert trial.status == "running"
        assert trial.job == event["job"]
        return trial

    def _end(self, trial: Trial, event: Event) -> None:
        trial.ended_at = event["at"]
        trial.report = {**trial.report, **{k: v for k, v in event.items() if k in _REPORT and v is not None}}


_ENVELOPE = ("type", "n", "at", "digest")
_REPORT = ("facts", "spent", "evals", "environment_id", "error_text")


class _Change:
    """Keeps what is counted over all trials right while one of them changes."""

    def __init__(self, state: State, trial: Trial) -> None:
        self.state, self.trial = state, trial

    def __enter__(self) -> None:
        self.state._sum ^= self.trial.fingerprint()

    def __exit__(self, *_: object) -> None:
        self.state._sum ^= self.trial.fingerprint()
        if self.trial.is_final:
            del self.state.open[self.trial.trial_id]
            self.state.num_failed += self.trial.status == "failed" and self.trial.stage != "teacher"


def _to_value(value: float | None) -> float:
    return math.nan if value is None else value


def _hash(*parts: Any) -> int:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
