"""A small finished study with typed-out numbers, written through the project's own writer.

One data set, two teachers, two students, three methods:

    pair            teacher  ce (3 seeds)        kd (3 seeds)        tf_nkd (3 seeds, no teacher)
    big -> tiny     0.90     .80 .81 .82 = .81   .84 .85 .86 = .85   .82 .82 .82 = .82
    wide -> small   0.95     .88 .88 .88 = .88   .87 .88 .89 = .88   .90 .91 .92 = .91
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from analysis import tables

STUDY = "s1"
BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PAIRS = [("big", "tiny"), ("wide", "small")]
TEACHER_TOP1 = {"big": 0.90, "wide": 0.95}
TEST_TOP1 = {
    ("ce", "tiny"): [0.80, 0.81, 0.82],
    ("ce", "small"): [0.88, 0.88, 0.88],
    ("kd", "tiny"): [0.84, 0.85, 0.86],
    ("kd", "small"): [0.87, 0.88, 0.89],
    ("tf_nkd", "tiny"): [0.82, 0.82, 0.82],
    ("tf_nkd", "small"): [0.90, 0.91, 0.92],
}
NUM_EPOCHS = 4
TUNED = ["completed", "stopped", "diverged", "failed"]  # what became of the trials of each arm's search
TUNED_EPOCHS = [4, 2, 1, 1]


def make_study(results: Path, *, name: str = "tiny-study", study_id: str = STUDY) -> Path:
    """Writes the study; returns `results`."""
    write_study(results, name=name, study_id=study_id)
    for teacher in TEACHER_TOP1:
        write_teacher(results, teacher)
    tables.write(results, "environments", "e1", [
        {"environment_id": "e1", "host": "h", "torch": "2.13", "cpu": "Some CPU", "num_threads": 1}])
    for number, arm in enumerate(arms()):
        write_arm(results, arm, number=100 * number, study_id=study_id)
    return results


def arms() -> list[dict[str, Any]]:
    """The arms in the study's plan: methods without a teacher once per student."""
    made = []
    for teacher, student in PAIRS:
        made += [_arm("ce", student, None), _arm("kd", student, teacher), _arm("tf_nkd", student, None)]
    return made


def write_study(results: Path, *, name: str = "tiny-study", study_id: str = STUDY, **config: Any) -> None:
    plan = {
        "pairs": [{"data": "toy", "teacher": t, "teacher_id": f"id-{t}", "student": s} for t, s in PAIRS],
        "arms": arms(),
        "repeat": {"seeds": 3, "train_on": "train+validation"},
        "search": {"trials_per_arm": 4, "sampler": "tpe"},
        "stop": {"rule": "asha"},
    }
    tables.write(results, "studies", study_id, [{
        "study_id": study_id, "name": name, "created_at": BEGAN, "schema_version": 1,
        "config_json": json.dumps(plan | config), "objective": "val_top1", "selection_split": "val",
        "epoch_rule": "last", "seed": 0, "code_version": "abc1234", "code_dirty": False,
    }])


def write_teacher(results: Path, model: str, **changes: Any) -> None:
    row = {"teacher_id": f"id-{model}", "data": "toy", "model": model, "source": "trained",
           "test_top1": TEACHER_TOP1[model], "saw_validation": False}
    tables.write(results, "teachers", f"id-{model}", [row | changes])


def write_arm(results: Path, arm: dict[str, Any], *, number: int, study_id: str = STUDY) -> None:
    """The arm's search (four trials, one of each status) and its three repeats."""
    for place, status in enumerate(TUNED):
        write_trial(results, arm, number=number + place, stage="tune", status=status, epochs=TUNED_EPOCHS[place],
                    study_id=study_id, lr=0.1 / (place + 1))
    for seed, top1 in enumerate(TEST_TOP1[arm["label"], arm["student"]]):
        write_trial(results, arm, number=number + 10 + seed, stage="repeat", status="completed", epochs=NUM_EPOCHS,
                    study_id=study_id, seed=seed, test_top1=top1, lr=0.1)


def write_trial(results: Path, arm: dict[str, Any], *, number: int, stage: str, status: str, epochs: int,
                study_id: str = STUDY, seed: int = 0, test_top1: float | None = None, **settings: float) -> str:
    """Epochs, then the test measurement, then the trial's own row, as a study writes them. Returns the trial_id."""
    trial_id = f"t{study_id}-{number:04d}"
    tuned = stage == "tune"
    tables.write(results, "epochs", trial_id, [
        {"study_id": study_id, "trial_id": trial_id, "epoch": epoch, "job": 1, "loss_total": 1.0 / epoch,
         "terms": {"label": 0.5 / epoch}, "val_top1": 0.5 + 0.1 * epoch if tuned else None, "epoch_seconds": 2.0,
         "ended_at": BEGAN + timedelta(seconds=2 * epoch)}
        for epoch in range(1, epochs + 1)
    ])
    if test_top1 is not None:
        tables.write(results, "evals", trial_id, [
            {"study_id": study_id, "trial_id": trial_id, "split": "test", "epoch": epochs, "epoch_rule": "last",
             "top1": test_top1, "nll": 0.6, "ece": 0.05, "agreement": 0.9 if arm["teacher"] else None,
             "num_images": 1000}])
    tables.write(results, "trials", trial_id, [{
        "study_id": study_id, "trial_id": trial_id, "number": number, "stage": stage, "arm_id": arm["arm_id"],
        "setting_id": f"{arm['arm_id']}-{settings.get('lr')}", "data": arm["data"], "teacher": arm["teacher"],
        "teacher_id": arm["teacher_id"], "student": arm["student"], "method": arm["method"],
        "method_label": arm["label"], "seed": seed, "status": status, "epochs_planned": NUM_EPOCHS,
        "epochs_done": epochs, "val_top1": 0.5 + 0.1 * epochs if tuned and status == "completed" else None,
        "test_top1": test_top1, "wall_seconds": 2.0 * epochs, "environment_id": "e1",
        "started_at": BEGAN, "ended_at": BEGAN + timedelta(seconds=2 * epochs),
    } | settings])
    return trial_id


def _arm(label: str, student: str, teacher: str | None) -> dict[str, Any]:
    return {
        "arm_id": f"{label}-{student}", "data": "toy", "teacher": teacher,
        "teacher_id": f"id-{teacher}" if teacher else None, "student": student, "label": label, "method": label,
    }
