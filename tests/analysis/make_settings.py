"""Studies whose searches are typed out, or drawn from a seed: settings and validation top-1 of each trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import tables
from tests.analysis.make_study import BEGAN, STUDY, write_study

Trial = tuple[Mapping[str, Any], float | None]  # settings; validation top-1, None where it was stopped
COLUMNS = ("lr", "weight_decay")                # settings of training stand in columns of their own


def make_settings(
    results: Path, searches: Mapping[str, tuple[Mapping[str, Any], Sequence[Trial]]], *, sampler: str = "random",
    study_id: str = STUDY, name: str = "settings", more: Sequence[tuple[Trial, Mapping[str, Any]]] = (),
) -> Path:
    """Writes a study of arms from the teacher big. searches: label, or label/student -> (space, trials in ask order).

    The student is tiny where none is named. more: trials of the first arm with columns that are not as usual.
    """
    arms = [_arm(*key.split("/"), space=space) for key, (space, _) in searches.items()]
    plan = {"arms": arms, "search": {"sampler": sampler, "trials_per_arm": None}}
    write_study(results, study_id=study_id, name=name, **plan)
    for place, (arm, (_, trials)) in enumerate(zip(arms, searches.values(), strict=True)):
        rows = [_row(study_id, arm, number, *trial) for number, trial in enumerate(trials)]
        if rows:
            tables.write(results, "trials", f"tune-{study_id}-{place}", rows)
    odd = [_row(study_id, arms[0], 10_000 + number, *trial) | changes for number, (trial, changes) in enumerate(more)]
    if odd:
        tables.write(results, "trials", f"odd-{study_id}", odd)
    return results


def draw_trials(
    space: Mapping[str, Mapping[str, Any]], score: Callable[[dict[str, Any]], float], *, num: int, seed: int = 0
) -> list[Trial]:
    """`num` settings drawn evenly on each range's own scale, with their scores."""
    rng = np.random.default_rng(seed)
    drawn = [{name: _draw(rng, given) for name, given in space.items()} for _ in range(num)]
    return [(settings, float(score(settings))) for settings in drawn]


def _draw(rng: np.random.Generator, given: Mapping[str, Any]) -> Any:
    if "choice" in given:
        return given["choice"][rng.integers(len(given["choice"]))]
    if "int" in given:
        return int(rng.integers(given["int"][0], given["int"][1] + 1))
    low, high = given.get("log") or given["range"]
    share = float(rng.random())
    return low * (high / low) ** share if "log" in given else low + (high - low) * share


def _arm(label: str, student: str = "tiny", *, space: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "arm_id": f"toy/big/{student}/{label}", "data": "toy", "teacher": "big", "teacher_id": "id-big",
        "student": student, "label": label, "method": label, "space": dict(space), "fixed": {}, "first": [],
    }


def _row(study_id: str, arm: Mapping[str, Any], number: int, settings: Mapping[str, Any], value: float | None) -> dict:
    own = {name: given for name, given in settings.items() if name not in COLUMNS}
    return {
        "study_id": study_id, "trial_id": f"t{study_id}-{arm['label']}-{arm['student']}-{number}", "number": number,
        "stage": "tune", "arm_id": arm["arm_id"], "data": "toy", "teacher": "big", "teacher_id": "id-big",
        "student": arm["student"], "method": arm["method"], "method_label": arm["label"], "seed": 0,
        "status": "stopped" if value is None else "completed", "epochs_planned": 4,
        "epochs_done": 1 if value is None else 4, "val_top1": value, "settings_json": json.dumps(own),
        **{name: settings[name] for name in COLUMNS if name in settings}, "started_at": BEGAN, "ended_at": BEGAN,
    }
