"""Studies that nobody trained, of any size, in the project's own tables: 20 students, each with 5 methods.

Numbers follow from a trial's own, so that a study is the same whenever it is generated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import tables
from analysis.compact import compact

STUDENTS = 20
LABELS = ("ce", "kd", "nkd", "dkd", "tf_nkd")
STATUSES = ("completed", "stopped", "diverged", "failed")
REPEAT_EVERY = 20           # one trial of an arm in so many is a repeat; chosen by hand
NUM_SOURCES = 20            # files per table that a large study is compacted from; chosen by hand


def write_small(study: Path, *, trials: int, epochs: int) -> None:
    """One file per trial and table, in the project's own format."""
    _write_one_offs(study)
    for number, trial in enumerate(make_trials(0, trials, epochs=epochs)):
        key = trial["trial_id"]
        curve = make_epochs(number, number + 1, epochs=epochs).to_pylist(maps_as_pydicts="strict")
        tables.stage("epochs", curve, study / "tables" / "epochs" / f"{key}.parquet")
        for measured in make_evals([trial]):
            tables.stage("evals", [measured], study / "tables" / "evals" / f"{key}.parquet")
        tables.stage("trials", [trial], study / "tables" / "trials" / f"{key}.parquet")


def write_large(study: Path, *, trials: int, epochs: int) -> None:
    """As `write_small` and compacted, without the small files between."""
    _write_one_offs(study)
    size = -(-trials // NUM_SOURCES)
    for source, start in enumerate(range(0, trials, size)):
        stop = min(start + size, trials)
        rows = make_trials(start, stop, epochs=epochs)
        chunk = {
            "trials": tables.to_arrow("trials", rows),
            "evals": tables.to_arrow("evals", make_evals(rows)),
            "epochs": make_epochs(start, stop, epochs=epochs),
        }
        for table, arrow in chunk.items():
            _write_compacted(study / "tables" / table / f"{tables.COMPACTED}{source:06d}.parquet", arrow)
    compact(study)


def make_trials(start: int, stop: int, *, epochs: int) -> list[dict[str, Any]]:
    """Rows of table trials. Seconds are quarters, so that their sum is the same in any order."""
    return [_make_trial(number, epochs=epochs) for number in range(start, stop)]


def make_evals(trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of table evals: the test split of every completed repeat."""
    return [
        {"study_id": "s1", "trial_id": trial["trial_id"], "split": "test", "epoch": trial["epochs_done"],
         "epoch_rule": "last", "top1": trial["test_top1"], "top5": 0.9, "nll": 1.0, "ece": 0.1, "num_images": 10_000}
        for trial in trials if trial["test_top1"] is not None
    ]


def make_epochs(start: int, stop: int, *, epochs: int) -> pa.Table:
    """Table epochs of the trials from `start` to `stop`."""
    count = (stop - start) * epochs
    drawn = np.random.default_rng(start)
    columns: dict[str, Any] = {
        "study_id": np.repeat("s1", count),
        "trial_id": np.repeat([_name_trial(number) for number in range(start, stop)], epochs),
        "epoch": np.tile(np.arange(1, epochs + 1), stop - start),
        "job": np.ones(count, dtype=np.int64),
        "terms": [[("label", 0.5), ("soft", 0.25)]] * count,
        "num_images": np.full(count, 50_000),
    }
    measured = ("lr", "loss_total", "loss_label", "loss_method", "train_top1", "val_top1", "val_top5", "val_nll",
                "val_ece", "epoch_seconds")
    columns |= {name: drawn.integers(0, 10_000, count) / 10_000 for name in measured}
    schema = tables.schema("epochs")
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _make_trial(number: int, *, epochs: int) -> dict[str, Any]:
    arm, place = number % (STUDENTS * len(LABELS)), number // (STUDENTS * len(LABELS))
    label, student = LABELS[arm % len(LABELS)], f"student{arm // len(LABELS)}"
    repeat = place % REPEAT_EVERY == 0
    status = STATUSES[0] if repeat else STATUSES[number % 7 % len(STATUSES)]
    taught = label not in ("ce", "tf_nkd")
    return {
        "study_id": "s1", "trial_id": _name_trial(number), "number": number, "stage": "repeat" if repeat else "tune",
        "arm_id": f"cifar100/{student}/{label}", "setting_id": f"x{arm if repeat else number}", "data": "cifar100",
        "teacher": "resnet32x4" if taught else None, "teacher_id": "w1" if taught else None, "student": student,
        "method": label, "method_label": label, "seed": place, "train_on": "train", "immune": False, "status": status,
        "rung": epochs, "epochs_planned": epochs, "epochs_done": epochs, "jobs": 1, "retries": 0,
        "val_top1": (number * 7919 % 10_000) / 10_000 if status == "completed" and not repeat else None,
        "test_top1": (6_000 + number * 31 % 1_000) / 10_000 if repeat else None, "lr": 0.1, "weight_decay": 5e-4,
        "temperature": 4.0, "settings_json": '{"temperature": 4}', "wall_seconds": epochs * (1 + number % 4 / 4),
        "cpu_seconds": 1.0, "environment_id": "v1", "config_hash": "c" * 16,
    }


def _name_trial(number: int) -> str:
    return f"t{number * 0x9E3779B97F4A7C15 % 2**64:016x}"   # spread as a hash is: an odd factor meets every number once


def _write_compacted(path: Path, arrow: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = json.dumps(sorted(set(arrow["trial_id"].to_pylist())))
    pq.write_table(arrow.replace_schema_metadata(arrow.schema.metadata | {b"kdsweep.keys": keys}), path)


def _write_one_offs(study: Path) -> None:
    rows = {
        "studies": ("s1", {"study_id": "s1", "name": "generated", "schema_version": 1, "config_json": "{}",
                           "epoch_rule": "last", "selection_split": "val"}),
        "teachers": ("w1", {"teacher_id": "w1", "model": "resnet32x4", "data": "cifar100", "test_top1": 0.8}),
        "environments": ("v1", {"environment_id": "v1", "cpu": "generated", "torch": "2.13"}),
    }
    for table, (key, row) in rows.items():
        tables.stage(table, [row], study / "tables" / table / f"{key}.parquet")
