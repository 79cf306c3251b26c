"""Where a study stands, as plain values folded from its journal: the same for `kdsweep status` and the live display.

Nothing is locked or written, so a study can be looked at while another process drives it.
"""

from __future__ import annotations

import fcntl
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeps.arms import Arm
from sweeps.cost import bound_epochs
from sweeps.driver import fold
from sweeps.journal import read_events
from sweeps.planner import Planner
from sweeps.setting import group_settings
from sweeps.state import Trial
from sweeps.study import Study, Teacher

_ENDED = ("done", "blocked")        # arms
_DECIDED = ("ready", "blocked")     # teachers


def read_status(study: Study, directory: Path, *, now: float) -> dict[str, Any]:
    """`summarise` of the study in `directory`, with whether a driver is alive and when the last event came.

    now: seconds since the epoch. Raises ValueError where the journal is damaged.
    """
    path = directory / "journal" / "events.jsonl"
    events = list(read_events(path))
    planner = Planner(study, fold(events, study, where=str(path)))
    last = events[-1]["at"] if events else None
    return {
        **summarise(planner),
        "driver_alive": is_driven(directory),
        "last_event_at": last,
        "seconds_since_event": None if last is None else max(0.0, now - last),
    }


def is_driven(directory: Path) -> bool:
    """Whether a driver holds the study's lock. Looks through a shared lock that is given back at once."""
    try:
        lock = open(directory / "journal" / "lock", "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def summarise(planner: Planner, told: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What the study has come to and what is left, as JSON values.

    told: trial_id -> epoch that its running job has reached, which the journal learns at the next rung only.
    `epochs_left` is an upper bound. Shares are fractions; `best_val_top1` is of any rung or end in the search.
    """
    told = told or {}
    state = planner.state
    teachers = [_describe_teacher(planner, teacher, told) for teacher in planner.study.teachers]
    arms = [_describe_arm(planner, arm, told) for arm in planner.study.arms]
    return {
        "study": planner.study.name,
        "study_id": planner.study.study_id,
        "finished": state.abandoned is not None or _has_ended(planner, arms),
        "abandoned": state.abandoned,
        "trials": _count(state.trials.values()),
        "epochs_done": sum(_count_epochs(trial, told) for trial in state.trials.values()),
        "epochs_left": sum(found["epochs_left"] for found in (*teachers, *arms)),
        "teachers": teachers,
        "arms": arms,
    }


def _has_ended(planner: Planner, arms: list[dict[str, Any]]) -> bool:
    decided = all(teacher.teacher_id in planner.state.teachers for teacher in planner.study.teachers)
    return decided and all(arm["status"] in _ENDED for arm in arms)


def _describe_teacher(planner: Planner, teacher: Teacher, told: Mapping[str, int]) -> dict[str, Any]:
    trials = planner.state.of_arm("teacher", teacher.teacher_id)
    trial = trials[0] if trials else None
    status = planner.state.teachers.get(teacher.teacher_id, "waiting" if trial is None else "training")
    done = 0 if trial is None else _count_epochs(trial, told)
    return {
        "teacher_id": teacher.teacher_id,
        "model": teacher.config.student,
        "status": status,
        "val_top1": None if trial is None else trial.value,
        "epochs_done": done,
        "epochs_left": 0 if status in _DECIDED or teacher.origin else max(0, teacher.config.epochs - done),
    }


def _describe_arm(planner: Planner, arm: Arm, told: Mapping[str, int]) -> dict[str, Any]:
    study = planner.study
    tune, repeat = (planner.state.of_arm(stage, arm.arm_id) for stage in ("tune", "repeat"))
    status = planner.find_arm_status(arm)
    return {
        "arm_id": arm.arm_id,
        "data": arm.data,
        "teacher": arm.teacher,
        "student": arm.student,
        "method": arm.label,
        "status": status,
        "trials_planned": study.search.trials_per_arm,
        "trials": _count_settings(planner, arm, tune),
        "repeats_planned": study.repeat.seeds,
        "repeats": _count(repeat),
        "best_val_top1": _find_best(tune),
        "rungs": [{"epoch": rung, "trials": sum(rung in trial.values for trial in tune)} for rung in planner.rungs],
        "epochs_done": sum(_count_epochs(trial, told) for trial in (*tune, *repeat)),
        "epochs_left": _bound_left(study, status, tune, repeat, told),
    }


def _bound_left(
    study: Study, status: str, tune: list[Trial], repeat: list[Trial], told: Mapping[str, int]
) -> int:
    """The most epochs that the arm can still take when none of its trials fails."""
    if status in _ENDED:
        return 0
    _, most = bound_epochs(study)
    searched = sum(_count_epochs(trial, told) for trial in tune)
    search_left = 0 if status == "repeating" else max(0, most - searched)
    repeated = sum(study.epochs if trial.is_final else _count_epochs(trial, told) for trial in repeat)
    return search_left + max(0, study.repeat.seeds * study.epochs - repeated)


def _count_epochs(trial: Trial, told: Mapping[str, int]) -> int:
    return max(trial.epoch, trial.reached, told.get(trial.trial_id, 0))


def _count(trials: Iterable[Trial]) -> dict[str, int]:
    """State -> number of trials in it; states that none is in are left out."""
    return dict(Counter(trial.status for trial in trials))


def _count_settings(planner: Planner, arm: Arm, tune: list[Trial]) -> dict[str, int]:
    """State -> number of the arm's settings in it. One that waits for a larger budget stops with its arm."""
    is_over = arm.arm_id in planner.state.winners or planner.state.abandoned is not None
    counts = Counter(setting.status for setting in group_settings(tune))
    if is_over and (paused := counts.pop("paused", 0)):
        counts["stopped"] += paused
    return dict(counts)


def _find_best(trials: list[Trial]) -> float | None:
    values = [value for trial in trials for value in (*trial.values.values(), trial.value) if value is not None]
    return max((value for value in values if math.isfinite(value)), default=None)
