"""One job of a trial on a worker: kdtrain's epochs, a checkpoint after each, and the rows where the job may end.

A worker only ever writes files that carry its job's number, so one that outlives its driver overwrites nothing that is
read. What it reports are plain dicts; the driver decides.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis import tables
from kdtrain import checkpoint, teachers
from kdtrain.environment import describe_environment
from kdtrain.run import prepare_device
from kdtrain.train import Epoch, train
from sweeps.planner import Job

HISTORIES = {"epochs": "rows", "test_curves": "test_curve"}  # table -> the key of a checkpoint that holds its rows

Report = dict[str, Any]
"""epoch; value (validation top-1; None is NaN, or was not measured); end: None, completed, diverged, failed; and
spent, facts, environment, at an end also: evals, value_epoch, error_type, error_text. Of a test curve, nothing: it
goes from the checkpoint to its table, and whoever decides never sees it."""


def run(job: Job, *, directory: Path) -> Iterator[Report]:
    """The job's epochs as reports, the stored ones that the planner may not know of first. Never raises for a trial's
    own failure: that is a report too. `directory`: the study's."""
    reached = 0
    try:
        for report in _run(job, directory):
            reached = report["epoch"]
            yield report
    except Exception as error:  # noqa: BLE001 - whatever a trial dies of is told to the planner, with its text
        yield {
            "epoch": reached, "value": None, "end": "failed", "error_type": classify(error),
            "error_text": traceback.format_exc(), "environment": describe_environment(),
        }


def classify(error: BaseException) -> str:
    """The kind of a failure, one word for the table `trials`."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "out_of_memory"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
        return "cuda"
    return type(error).__name__


def load_newest(directory: Path, trial_id: str, *, before_job: int) -> tuple[Path | None, dict[str, Any] | None]:
    """The newest checkpoint of the trial's earlier jobs, and what it holds; two Nones where there is none."""
    while (newest := find_newest(directory, trial_id, before_job=before_job)) is not None:
        try:
            return newest, checkpoint.load(newest, trial_id=trial_id)
        except FileNotFoundError:
            continue  # an orphan worker has just replaced it by a newer one
    return None, None


def find_newest(directory: Path, trial_id: str, *, before_job: int) -> Path | None:
    """Where that checkpoint lies, or None."""
    found = {int(path.stem): path for path in (directory / "checkpoints" / trial_id).glob("*.pt")}
    newest = max((job for job in found if job < before_job), default=None)
    return None if newest is None else found[newest]


def stage_rows(
    stored: Mapping[str, Any], directory: Path, *, up_to: int, study_id: str, trial_id: str, job: int
) -> None:
    """Puts a trial's whole row histories where the driver publishes them from.

    `stored`: what a checkpoint of the trial holds. `up_to`: the last epoch that counts.
    """
    for table, name in HISTORIES.items():
        if history := stored.get(name):  # a checkpoint of before there were curves has none
            counting = [row for row in history if row["epoch"] <= up_to]
            rows = [_to_table_row(row, study_id=study_id, trial_id=trial_id) for row in counting]
            tables.stage(table, rows, staged_path(directory, table, trial_id=trial_id, job=job))


def staged_path(directory: Path, table: str, *, trial_id: str, job: int) -> Path:
    """Where a job leaves its rows of a table."""
    return directory / "staging" / f"{table}.{trial_id}.{job}.parquet"


def _run(job: Job, directory: Path) -> Iterator[Report]:
    prepare_device(job.config)
    environment = describe_environment()
    folder = directory / "checkpoints" / job.trial_id
    folder.mkdir(parents=True, exist_ok=True)
    newest, stored = load_newest(directory, job.trial_id, before_job=job.job)
    if stored is not None:
        for report in _tell_stored(job, stored):
            if _may_end(job, report):
                _stage(job, stored, report, directory)
            yield report | {"environment": environment}
        if stored["epoch"] >= job.config.epochs or _has_diverged(stored["rows"]):
            return
    path = folder / f"{job.job}.pt"
    with closing(checkpoint.Writer()) as writer:
        for report in _train(job, stored, directory, writer=writer, path=path):
            if newest is not None:
                newest.unlink(missing_ok=True)
                newest = None
            yield report | {"environment": environment}


def _train(
    job: Job, stored: dict[str, Any] | None, directory: Path, *, writer: checkpoint.Writer, path: Path
) -> Iterator[Report]:
    """A report for each epoch that is trained, once its checkpoint is whole: that is written during the next epoch,
    but where the job may end, before the report."""
    untold: Report | None = None
    try:
        for epoch in train(job.config, stored):
            epoch.row["job"] = job.job
            report = _to_report(epoch)
            if job.stage == "teacher" and report["end"] == "completed":
                _store_teacher(job, epoch)  # before the checkpoint that says it is done
            state = epoch.run.state_dict()
            writer.begin(path, state)
            if untold is not None:
                yield untold
            untold = report
            if _may_end(job, report):
                writer.finish()
                _stage(job, state, report, directory)
                untold = None
                yield report
            if epoch.diverged:
                return
    except Exception:
        if untold is not None and writer.is_writing:
            writer.finish()
            yield untold
        raise


def _tell_stored(job: Job, stored: dict[str, Any]) -> Iterator[Report]:
    """The rows of a checkpoint that is ahead of the journal: a kill came between the two."""
    for row in stored["rows"][job.after_epoch :]:
        report = {"epoch": row["epoch"], "value": row["val_top1"], "end": None}
        report |= {name: stored[name] for name in ("spent", "facts")}
        if not math.isfinite(row["loss_total"]):
            report |= {"value": None, "end": "diverged"}
        elif row["epoch"] == job.config.epochs:
            report |= _complete(job.config.epoch_rule, stored["rows"], stored["best"], stored["evals"])
        yield report


def _to_report(epoch: Epoch) -> Report:
    run = epoch.run
    report = {"epoch": run.epoch, "value": epoch.row["val_top1"], "end": None}
    report |= {"spent": dict(run.spent), "facts": run.facts()}
    if epoch.diverged:
        return report | {"value": None, "end": "diverged"}
    if run.epoch == run.config.epochs:
        return report | _complete(run.config.epoch_rule, run.rows, run.best, run.evals)
    return report


def _complete(rule: str, rows: list[dict[str, Any]], best: dict[str, Any], evals: list[dict[str, Any]]) -> Report:
    chosen = best["epoch"] if rule == "best_val" else rows[-1]["epoch"]
    evals = [{name: _drop_infinite(value) for name, value in found.items()} for found in evals]
    return {"end": "completed", "value": rows[chosen - 1]["val_top1"], "value_epoch": chosen, "evals": evals}


def _drop_infinite(value: Any) -> Any:
    """Missing is None: the likelihood of a network that is certain and wrong can be infinite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _has_diverged(rows: list[dict[str, Any]]) -> bool:
    return bool(rows) and not math.isfinite(rows[-1]["loss_total"])


def _stage(job: Job, stored: Mapping[str, Any], report: Report, directory: Path) -> None:
    ids = {"study_id": job.study_id, "trial_id": job.trial_id, "job": job.job}
    stage_rows(stored, directory, up_to=report["epoch"], **ids)


def _may_end(job: Job, report: Report) -> bool:
    """Whether the planner may end the job at this report: only then are its rows looked for."""
    return report["end"] is not None or report["epoch"] in job.stops


def _store_teacher(job: Job, epoch: Epoch) -> None:
    run = epoch.run
    measured = {found["split"]: found["top1"] for found in run.evals}
    facts = {
        "params": run.student_params, "macs": run.student_macs,
        "val_top1": measured.get("val"), "test_top1": measured.get("test"),
    }
    teachers.store_teacher(Path(job.config.weights_dir), job.config, weights=run.student.state_dict(), facts=facts)


def _to_table_row(row: dict[str, Any], *, study_id: str, trial_id: str) -> dict[str, Any]:
    times = {name: datetime.fromtimestamp(row[name], UTC) for name in ("ended_at",) if name in row}
    return {**row, **times, "study_id": study_id, "trial_id": trial_id}
