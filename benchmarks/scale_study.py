"""A study whose trials cost nothing, on disk as any other: what is left is what the runner costs.

Decisions are journaled, rows staged, tables published and trials paused, promoted and repeated as in a real study of
nine epochs under ASHA. A trial's values are drawn; nothing is trained and no checkpoint is written.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtrain.environment import describe_environment
from kdtrain.model import build_model
from kdtrain.teachers import store_teacher
from sweeps import study
from sweeps.driver import Driver, write_study_files
from sweeps.planner import Job
from sweeps.study import Study
from sweeps.trial import Report, stage_rows

_STUDY = """\
study: scale
data: {{name: digits}}
teachers: {{recipe: small, epochs: 1, warmup_epochs: 0}}
pairs: [{pairs}]
methods: [kd]
tune: {{lr: {{log: [0.01, 0.5]}}}}
fix: {{recipe: small, epochs: 9, warmup_epochs: 0}}
search: {{sampler: random, trials_per_arm: {trials}, seed: 0}}
stop: {{rule: asha, eta: 3, grace: 1, immune: 0}}
repeat: {{seeds: 1, train_on: train, epoch: last}}
"""


@dataclass(frozen=True)
class Cost:
    """Of a part of a run, and the trials or images that it is shared by."""

    cpu_seconds: float
    wall_seconds: float
    count: int


def measure_study(folder: Path, *, trials: int, pairs: int, slots: int) -> Cost:
    """The runner's own cost from the first job to the last row, its trials with repeats counted. `folder` is empty.

    Reading the study's file and opening its journal come once a run and are not in it.
    """
    found = build_study(folder, trials=trials, pairs=pairs)
    write_study_files(found, folder)
    driver = Driver.open(found, folder, weights_dir=Path(found.weights_dir))
    cpu, wall = time.process_time(), time.perf_counter()
    run_for_nothing(driver, folder, slots=slots)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    driver.close()
    return Cost(cpu, wall, len(driver.planner.state.trials))


def build_study(folder: Path, *, trials: int, pairs: int) -> Study:
    """One arm a pair, so many settings an arm and a repeat; the teacher is stored already."""
    students = ", ".join(
        f"{{teacher: resnet8(width=2), student: resnet8(width={width})}}" for width in range(3, pairs + 3)
    )
    found = study.parse(_STUDY.format(pairs=students, trials=trials), "scale.yaml")
    found = found.at(weights_dir=folder / "_weights", device="cpu")
    for teacher in found.teachers:
        weights = build_model(teacher.config.student, 10, 1).state_dict()
        facts = {"params": 1, "macs": 1, "val_top1": 1.0, "test_top1": None}
        store_teacher(folder / "_weights", teacher.config, weights=weights, facts=facts)
    return found


def run_for_nothing(driver: Driver, folder: Path, *, slots: int) -> None:
    """Runs the study to its end; jobs in `slots` places report in turn, an epoch each."""
    running: deque[tuple[Job, Iterator[Report]]] = deque()
    environment = describe_environment()
    while True:
        while len(running) < slots and (job := driver.next_job()) is not None:
            running.append((job, _report_epochs(job, folder, environment)))
        if not running:
            return
        job, reports = running.popleft()
        if driver.tell(job, next(reports)):
            running.append((job, reports))


def _report_epochs(job: Job, folder: Path, environment: dict[str, Any]) -> Iterator[Report]:
    """What a worker would report of the job's epochs; its rows lie staged where it may end."""
    drawn = random.Random(job.trial_id)
    rows = [_draw_row(job, epoch, drawn.random()) for epoch in range(1, job.config.epochs + 1)]
    ids = {"study_id": job.study_id, "trial_id": job.trial_id, "job": job.job}
    for row in rows[job.after_epoch :]:
        if row["epoch"] in job.stops:
            stage_rows({"rows": rows}, folder, up_to=row["epoch"], **ids)
        yield _to_report(row, is_last=row["epoch"] == job.config.epochs) | {"environment": environment}


def _draw_row(job: Job, epoch: int, value: float) -> dict[str, Any]:
    return {
        "epoch": epoch, "job": job.job, "lr": job.config.lr, "loss_total": 1.0, "loss_label": 0.5, "loss_method": 0.5,
        "terms": {"label": 0.5, "kd": 0.5}, "train_top1": value, "val_top1": value, "val_nll": 1.0, "num_images": 1000,
        "epoch_seconds": 0.0, "ended_at": time.time(),
    }


def _to_report(row: dict[str, Any], *, is_last: bool) -> Report:
    told = {
        "epoch": row["epoch"], "value": row["val_top1"], "end": None,
        "spent": {"wall_seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0},
        "facts": {"student_params": 1, "student_macs": 1, "teacher_pass": "live", "precision": "float32"},
    }
    if not is_last:
        return told
    epoch, value = row["epoch"], row["val_top1"]
    measured = {"split": "val", "epoch": epoch, "epoch_rule": "last", "top1": value, "num_images": 1000}
    return told | {"end": "completed", "value_epoch": epoch, "evals": [measured]}
