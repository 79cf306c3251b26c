"""The two sides of benchmarks/sweep.py: a sweep by `kdsweep run`, and by benchmarks/usual.py."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import analysis
from benchmarks.process_time import Spent, run_command
from sweeps.launch import WEIGHTS

ROOT = Path(__file__).parents[1]

_EPOCHS = """
    SELECT stage, arm_id AS arm, number, trial_id, epoch, epoch_seconds, epoch(e.ended_at) AS ended_at
    FROM epochs e JOIN trials t USING (study_id, trial_id)
"""


@dataclass(frozen=True)
class Case:
    """A sweep that both sides run."""

    name: str
    study: str              # a file, or the name of a shipped study
    data_root: Path | None
    weights: Path | None    # a shelf of teachers that have their weights; None: each side trains its own


@dataclass(frozen=True)
class Outcome:
    """One run of a side. Of an epoch: stage, arm, number and id of its trial, epoch_seconds, ended_at."""

    spent: Spent
    epochs: tuple[Mapping[str, Any], ...]

    @property
    def wall_seconds(self) -> float:
        """From the command's start to the end of its last trial's last epoch."""
        return max(epoch["ended_at"] for epoch in self.epochs) - self.spent.began_at

    @property
    def cpu_seconds(self) -> float:
        """Of all its processes."""
        return self.spent.cpu_seconds

    def measure_epoch(self, first: int = 0) -> float | None:
        """Median seconds of an epoch of the search's trials from number `first` on; None where there is none."""
        seconds = [
            epoch["epoch_seconds"] for epoch in self.epochs if epoch["stage"] == "tune" and epoch["number"] >= first
        ]
        return statistics.median(seconds) if seconds else None

    def measure_fill(self, first: int) -> float | None:
        """Seconds of all epochs beyond what they would take if each took as long as those from trial `first` on."""
        filled = self.measure_epoch(first)
        if filled is None:
            return None
        return sum(epoch["epoch_seconds"] for epoch in self.epochs) - len(self.epochs) * filled


def run_ours(case: Case, folder: Path) -> tuple[Outcome, Path]:
    """The study in a results directory of its own, where nothing is but the teachers' weights; and its directory."""
    results = folder / "results"
    if case.weights is not None:
        shutil.copytree(case.weights, results / WEIGHTS, copy_function=os.link)
    command = [sys.executable, "-m", "sweeps", "run", case.study, "--results", str(results), "--device", "cpu"]
    if case.data_root is not None:
        command += ["--data-root", str(case.data_root)]
    spent = run_command(command, env=list_environment(), cwd=folder, log=folder / "log.txt")
    (study,) = results.glob("*/study.json")
    return Outcome(spent, read_epochs(results)), study.parent


def run_usual(plan: Mapping[str, Any], folder: Path) -> Outcome:
    """The plan (benchmarks/matched_study.py) by hand-written code."""
    plan_file, rows_file = folder / "plan.json", folder / "rows.json"
    plan_file.write_text(json.dumps(plan))
    command = [sys.executable, "-m", "benchmarks.usual", str(plan_file), str(rows_file)]
    spent = run_command(command, env=list_environment(), cwd=folder, log=folder / "log.txt")
    return Outcome(spent, tuple(json.loads(rows_file.read_text())))


def read_epochs(results: Path) -> tuple[Mapping[str, Any], ...]:
    """Of the one study there: what an Outcome has."""
    (study,) = results.glob("*/study.json")
    return tuple(analysis.open(study.parent).rows({"epochs": _EPOCHS})["epochs"])


def list_environment() -> dict[str, str]:
    """One thread, and a quiet Ray: for both the same."""
    return os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
    }
