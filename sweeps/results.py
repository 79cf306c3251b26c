"""The table rows that the driver writes, built from the state alone: lost ones can be built again from the journal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kdtrain
from analysis import tables
from kdtrain.config import TrialConfig, digest
from sweeps.arms import COMMON_DEFAULTS
from sweeps.planner import Planner
from sweeps.state import State, Trial
from sweeps.study import Study

Row = dict[str, Any]
_OWN_COLUMNS = ("temperature", "weight", "gamma", "smoothing", "power")  # settings that have a column of their own


def build_study_row(study: Study, state: State) -> Row:
    """The study's row of the table `studies`."""
    code_version, code_dirty = read_code_version()
    return {
        "study_id": study.study_id,
        "name": study.name,
        "created_at": _to_time(state.created_at),
        "schema_version": tables.SCHEMA_VERSION,
        "config_json": json.dumps(study.to_json(), sort_keys=True),
        "config_hash": study.config_hash,
        "objective": "val_top1",
        "selection_split": "val",
        "epoch_rule": study.repeat.epoch,
        "seed": study.seed,
        "code_version": code_version,
        "code_dirty": code_dirty,
    }


def build_trial_row(planner: Planner, trial: Trial, *, checkpoint: str | None) -> Row:
    """A final trial's row of the table `trials`. `checkpoint`: where it lies under the study, if it is kept."""
    config = planner.build_config(trial)
    arm = planner.arms.get(trial.arm_id)
    value, epoch = _find_value(trial)
    tests = [found["top1"] for found in trial.report.get("evals", []) if found["split"] == "test"]
    settings, facts = config.settings, trial.report.get("facts", {})
    return {
        "study_id": planner.study.study_id,
        **{name: getattr(trial, name) for name in ("trial_id", "number", "stage", "seed", "immune")},
        **{name: getattr(trial, name) for name in ("status", "stop_reason", "error_type")},
        "arm_id": arm.arm_id if arm else None,
        "setting_id": arm.setting_id(trial.settings) if arm else None,
        **{name: getattr(config, name) for name in ("data", "teacher", "teacher_id", "student", "method", "train_on")},
        "method_label": arm.label if arm else "teacher",
        "rung": max(trial.values, default=None),
        "epochs_planned": config.epochs,
        "epochs_done": max(trial.reached, trial.epoch),
        "val_top1": value,
        "val_epoch": epoch,
        "test_top1": tests[0] if tests else None,
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        **{name: float(settings[name]) for name in _OWN_COLUMNS if name in settings},
        "settings_json": json.dumps(_list_settings(config, searched=trial.settings), sort_keys=True),
        "jobs": trial.job,
        "retries": min(trial.retries, planner.study.failure.retries),
        **{name: value for name, value in facts.items() if name != "warning"},
        **trial.report.get("spent", {}),
        "started_at": _to_time(trial.started_at),
        "ended_at": _to_time(trial.ended_at),
        "environment_id": trial.report.get("environment_id"),
        "config_hash": digest(config.identity()),
        "checkpoint": checkpoint,
        "error_text": trial.report.get("error_text") or facts.get("warning"),
    }


def build_eval_rows(planner: Planner, trial: Trial) -> list[Row]:
    """The final measurements of a completed trial, for the table `evals`."""
    ids = {"study_id": planner.study.study_id, "trial_id": trial.trial_id}
    return [{**ids, **found} for found in trial.report.get("evals", [])]


def build_teacher_row(card: dict[str, Any]) -> Row:
    """A teacher's row of the table `teachers`, from its card."""
    names = (
        "teacher_id", "data", "model", "source", "weights_hash", "params", "macs", "val_top1", "test_top1",
        "saw_validation",
    )
    return {**{name: card[name] for name in names}, "recipe_json": json.dumps(card["recipe"], sort_keys=True)}


@lru_cache
def read_code_version() -> tuple[str, bool | None]:
    """The commit of the code that runs and whether it was changed; the package's version where it is no checkout."""
    where = Path(kdtrain.__file__).parent
    found = _ask_git(where, "rev-parse", "--show-toplevel")
    if found is None or Path(found) != where.parent:
        return version("kdsweep"), None
    commit = _ask_git(where, "rev-parse", "HEAD")
    if commit is None:
        return version("kdsweep"), None
    return commit, bool(_ask_git(where, "status", "--porcelain", "--untracked-files=no"))


def _ask_git(where: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _list_settings(config: TrialConfig, *, searched: Iterable[str]) -> dict[str, Any]:
    """Every setting of the method, and of the training what the arm searched."""
    return {name: getattr(config, name) for name in searched if name in COMMON_DEFAULTS} | dict(config.settings)


def _find_value(trial: Trial) -> tuple[float | None, int | None]:
    """The validation value that a trial is judged by: its final one, or the one at the rung where it stopped."""
    if trial.status == "completed":
        return trial.value, trial.value_epoch
    if trial.status == "stopped" and trial.values:
        epoch = max(trial.values)
        return trial.values[epoch], epoch
    return None, None


def _to_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


