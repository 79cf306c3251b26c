"""Studies with learning curves: searched trials epoch by epoch, typed out or drawn from a seed.

The arms are those of make_study: ce, kd and tf_nkd on big -> tiny and on wide -> small. Trials run one after the
other within an arm, all arms at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from analysis import tables
from tests.analysis.make_study import BEGAN, STUDY, TEACHER_TOP1, arms, write_study, write_teacher

EPOCH_SECONDS = 2.0


@dataclass(frozen=True)
class Curve:
    """One searched trial: validation top-1 by epoch, and what became of it."""

    values: Sequence[float | None]
    status: str = "completed"
    immune: bool = False
    changes: dict[str, Any] | None = None   # columns of its row that are not what its epochs make them


def make_search(
    results: Path, *, trials: int = 12, epochs: int = 9, sampler: str = "random", rule: str = "none",
    immune: float = 0.0, seed: int = 0, noise: float = 0.02, num_first: int = 1, study_id: str = STUDY,
) -> Path:
    """Writes a study whose curves rise to a drawn end; with rule asha the best third passes each rung (1, 3, ...)."""
    planned = [arm | {"first": [{}] * num_first} for arm in arms()]
    write_study(
        results, study_id=study_id, name=f"search-{study_id}", arms=planned, fix={"epochs": epochs},
        search={"trials_per_arm": trials, "sampler": sampler},
        stop={"rule": rule, "eta": 3, "grace": 1, "immune": immune},
    )
    for teacher in TEACHER_TOP1:
        write_teacher(results, teacher)
    for place, arm in enumerate(planned):
        rng = np.random.default_rng([seed, place])
        curves = [_draw_curve(rng, epochs, noise) for _ in range(trials)]
        curves = [replace(curve, immune=_is_immune(n, immune)) for n, curve in enumerate(curves)]
        write_search(results, arm, _stop(curves) if rule == "asha" else curves, planned=epochs, study_id=study_id)
    return results


def write_search(
    results: Path, arm: dict[str, Any], curves: Sequence[Curve], *, planned: int | None = None, study_id: str = STUDY,
) -> None:
    """Writes one arm's searched trials, each beginning when the one before it ends; one file a table."""
    trials, epochs, clock = [], [], 0.0
    for number, curve in enumerate(curves):
        trial_id = f"t{study_id}-{arm['arm_id']}-{number:05d}"
        rows = [_epoch(study_id, trial_id, epoch, value, clock) for epoch, value in enumerate(curve.values, start=1)]
        seconds = EPOCH_SECONDS * len(rows)
        spent = {"wall_seconds": seconds, "cpu_seconds": 0.5 * seconds, "epochs_done": len(rows)}
        spent |= curve.changes or {}
        clock += spent["wall_seconds"] or seconds
        epochs += rows
        trials.append(_trial(study_id, trial_id, arm, number, curve, planned or len(rows), clock) | spent)
    tables.write(results, "epochs", f"tune-{study_id}-{arm['arm_id']}", epochs)
    tables.write(results, "trials", f"tune-{study_id}-{arm['arm_id']}", trials)


def _draw_curve(rng: np.random.Generator, epochs: int, noise: float) -> Curve:
    end, speed = rng.uniform(0.5, 0.9), rng.uniform(0.15, 0.6)
    rise = [end * (1 - math.exp(-speed * epoch)) for epoch in range(1, epochs + 1)]
    return Curve([float(np.clip(value + noise * rng.standard_normal(), 0, 1)) for value in rise])


def _is_immune(number: int, share: float) -> bool:
    return math.floor((number + 1) * share + 1e-9) > math.floor(number * share + 1e-9)


def _stop(curves: list[Curve]) -> list[Curve]:
    """Of the trials at a rung, the best third goes on; an immune one always does and takes nobody's place."""
    left = {number for number, curve in enumerate(curves) if not curve.immune}
    rung, ended = 1, list(curves)
    while rung < len(curves[0].values):
        ranked = sorted(left, key=lambda number: -curves[number].values[rung - 1])
        for number in ranked[max(1, len(ranked) // 3):]:
            ended[number] = Curve(curves[number].values[:rung], "stopped")
            left.remove(number)
        rung *= 3
    return ended


def _epoch(study_id: str, trial_id: str, epoch: int, value: float | None, clock: float) -> dict[str, Any]:
    return {"study_id": study_id, "trial_id": trial_id, "epoch": epoch, "job": 1, "val_top1": value,
            "epoch_seconds": EPOCH_SECONDS, "ended_at": _at(clock + EPOCH_SECONDS * epoch)}


def _trial(
    study_id: str, trial_id: str, arm: dict[str, Any], number: int, curve: Curve, planned: int, clock: float,
) -> dict[str, Any]:
    # the study keeps the value of a stopped trial's rung in val_top1 too
    last = curve.values[-1] if curve.values and curve.status in ("completed", "stopped") else None
    return {
        "study_id": study_id, "trial_id": trial_id, "number": number, "stage": "tune", "immune": curve.immune,
        **{name: arm[name] for name in ("arm_id", "data", "teacher", "teacher_id", "student", "method")},
        "method_label": arm["label"], "status": curve.status, "val_top1": last, "epochs_planned": planned,
        "peak_bytes": 1000 + number, "ended_at": _at(clock),
    }


def _at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)
