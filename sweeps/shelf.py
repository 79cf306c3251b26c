"""The files that a study's driver keeps beside the journal: its tables, and the teachers it shares with other studies.

All of it follows from the state: what a killed driver left unpublished, `reconcile` publishes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from analysis import tables
from kdtrain import teachers
from sweeps import results
from sweeps.journal import Event
from sweeps.planner import Planner
from sweeps.state import Trial
from sweeps.trial import HISTORIES, find_newest, load_newest, stage_rows, staged_path


class Shelf:
    """The tables and teachers of one study. Only its driver writes here."""

    def __init__(self, directory: Path, *, weights_dir: Path, planner: Planner) -> None:
        self.directory, self.weights_dir, self.planner = directory, weights_dir, planner
        self.study = planner.study
        self._compacted: dict[str, frozenset[str]] = {}  # by table; nobody compacts while a driver holds the lock

    def has_teacher(self, teacher_id: str) -> bool:
        """Whether the teacher is stored."""
        return teachers.has_teacher(self.weights_dir, teacher_id)

    def find_card(self, teacher_id: str) -> dict[str, Any] | None:
        """The card of a stored teacher, or None. Raises ValueError when the teacher was altered."""
        if not self.has_teacher(teacher_id):
            return None
        return teachers.read_card(self.weights_dir, teacher_id)

    def publish_after(self, event: Event) -> None:
        kind, state = event["type"], self.planner.state
        if kind == "opened":
            self._publish_study()
        elif kind == "environment":
            self._publish_environment(event["environment_id"])
        elif kind == "teacher":
            self._publish_teacher(event["teacher_id"])
        elif kind in ("rung", "ended"):
            self._publish_trial(state.trials[event["trial_id"]])
        elif kind == "closed":
            for trial in state.of_arm("tune", event["arm_id"]):
                self._publish_trial(trial)
        elif kind == "abandoned":
            for trial in state.trials.values():
                self._publish_trial(trial)

    def _publish_study(self) -> None:
        """Once: a finished study does not become another commit's because somebody looks at it again."""
        if not self._has_row("studies", self.study.study_id):
            self._write("studies", self.study.study_id, results.build_study_row(self.study, self.planner.state))

    def _publish_environment(self, environment_id: str) -> None:
        if not self._has_row("environments", environment_id):
            self._write("environments", environment_id, self.planner.state.environments[environment_id])

    def _publish_teacher(self, teacher_id: str) -> None:
        """A blocked teacher is published too, where it was trained: its row says why."""
        if not self._has_row("teachers", teacher_id) and (card := self.find_card(teacher_id)) is not None:
            self._write("teachers", teacher_id, results.build_teacher_row(card))

    def _publish_trial(self, trial: Trial) -> None:
        """Brings a trial's files up to its state, where they are not. The trials row comes last: it commits."""
        if trial.status != "running":
            self._publish_histories(trial)
        if trial.status == "completed" and not self._has_row("evals", trial.trial_id):
            self._publish_evals(trial)
        if not trial.is_final or self._has_row("trials", trial.trial_id):
            return
        if trial.status == "failed" or self.planner.state.abandoned is not None:
            self._recover_rows(trial)
        kept = self._find_kept_checkpoint(trial)
        self._write("trials", trial.trial_id, results.build_trial_row(self.planner, trial, checkpoint=kept))
        if kept is None:
            shutil.rmtree(self.directory / "checkpoints" / trial.trial_id, ignore_errors=True)

    def _publish_evals(self, trial: Trial) -> None:
        if rows := results.build_eval_rows(self.planner, trial):
            self._write("evals", trial.trial_id, *rows)

    def _recover_rows(self, trial: Trial) -> None:
        """Publishes the rows of a trial whose last job did not come to its end: they are in its checkpoint alone."""
        newest, stored = load_newest(self.directory, trial.trial_id, before_job=trial.job + 1)
        if newest is not None:
            ids = {"study_id": self.study.study_id, "trial_id": trial.trial_id, "job": trial.job}
            told = max(trial.reached, trial.epoch)  # not an epoch that nobody was told of
            stage_rows(stored, self.directory, up_to=told, **ids)
            self._publish_histories(trial)

    def _publish_histories(self, trial: Trial) -> None:
        """What the trial's newest job has staged; published already, or none, is as well."""
        for table in HISTORIES:
            staged = staged_path(self.directory, table, trial_id=trial.trial_id, job=trial.job)
            if staged.exists() and self._is_compacted(table, trial.trial_id):
                staged.unlink()  # left by a worker that outlived its driver
            elif staged.exists():
                tables.publish(staged, self.directory, table, trial.trial_id)

    def _find_kept_checkpoint(self, trial: Trial) -> str | None:
        """Where the checkpoint of a student that completed the whole budget lies; nobody goes on from any other."""
        if trial.stage == "teacher" or trial.status != "completed" or trial.budget is not None:
            return None
        newest = find_newest(self.directory, trial.trial_id, before_job=trial.job + 1)
        return None if newest is None else str(newest.relative_to(self.directory))

    def reconcile(self) -> None:
        """Publishes what a killed driver had journaled but not yet published."""
        for teacher_id in self.planner.state.teachers:
            self._publish_teacher(teacher_id)
        for environment_id in self.planner.state.environments:
            self._publish_environment(environment_id)
        for trial in self.planner.state.trials.values():
            self._publish_trial(trial)

    def _has_row(self, table: str, key: str) -> bool:
        file = self.directory / "tables" / table / f"{key}.parquet"
        return file.exists() or self._is_compacted(table, key)

    def _is_compacted(self, table: str, key: str) -> bool:
        if table not in self._compacted:
            self._compacted[table] = tables.compacted_keys(self.directory, table)
        return key in self._compacted[table]

    def _write(self, table: str, key: str, *rows: dict[str, Any]) -> None:
        tables.write(self.directory, table, key, rows)
