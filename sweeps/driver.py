"""What every executor does with the planner: journal first, then act, then publish what became final.

    driver = Driver.open(study, directory, weights_dir=...)
    while (job := driver.next_job()) is not None: ...       a worker runs it, and for each of its reports
        if not driver.tell(job, report): end the job
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis import tables
from kdtrain import teachers
from sweeps import results
from sweeps.journal import Event, Journal
from sweeps.planner import Job, Planner
from sweeps.state import State, Trial
from sweeps.study import Study
from sweeps.trial import Report, find_newest, load_newest, stage_rows, staged_path

Listener = Callable[[str, dict[str, Any]], None]
"""Told of every journaled event ("event", event) and every report ("report", report): the progress display."""


class Driver:
    """The one process that decides for a study."""

    def __init__(
        self,
        study: Study,
        directory: Path,
        *,
        weights_dir: Path,
        planner: Planner,
        journal: Journal,
        listener: Listener,
    ) -> None:
        self.study, self.directory, self.weights_dir = study, directory, weights_dir
        self.planner, self.journal, self.listener = planner, journal, listener
        self._reached: dict[str, int] = {}  # epochs that running jobs told of, for those that die

    @classmethod
    def open(
        cls, study: Study, directory: Path, *, weights_dir: Path, listener: Listener = lambda kind, what: None
    ) -> Driver:
        """Takes the study's lock, folds its journal and puts right what a killed driver left undone.

        Raises `Locked` when another driver is at work, ValueError when the journal is damaged or a stored teacher is
        altered or under the study's gate.
        """
        journal = Journal(directory / "journal")
        planner = Planner(study, fold(journal.events, study, where=str(journal.path)))
        driver = cls(study, directory, weights_dir=weights_dir, planner=planner, journal=journal, listener=listener)
        driver._record({"type": "opened", "study_id": study.study_id, "config_hash": study.config_hash})
        driver._find_teachers()
        driver._reconcile()
        return driver

    def close(self) -> None:
        """Lets another driver in."""
        self.journal.close()

    @property
    def is_done(self) -> bool:
        """Whether the study is at its end."""
        return self.planner.is_done

    def next_job(self) -> Job | None:
        """The next job, journaled; None when there is none now."""
        while (event := self.planner.next()) is not None:
            self._record(event)
            if event["type"] == "asked":
                return self.planner.build_job(event["trial_id"])
        return None

    def tell(self, job: Job, report: Report) -> bool:
        """Takes a report in. Returns whether the job goes on; False too for one that may not speak any more."""
        if not self.planner.is_current(job.trial_id, job.job):
            return False
        self.listener("report", {"job": job, **report})
        self._reached[job.trial_id] = report["epoch"]
        environment_id = self._note_environment(report["environment"])
        told = {name: report.get(name) for name in ("spent", "facts")} | {"environment_id": environment_id}
        if report["end"] is not None:
            self._end(job, report, told)
            return False
        value = math.nan if report["value"] is None else report["value"]
        event = self.planner.on_epoch(job.trial_id, job=job.job, epoch=report["epoch"], value=value)
        if event is None:
            return True
        self._record(event | (told if event["then"] != "go" else {}))
        return event["then"] == "go"

    def lose(self, job: Job) -> None:
        """The job's worker died: another one goes on from its checkpoint."""
        if self.planner.is_current(job.trial_id, job.job):
            epoch = self._reached.get(job.trial_id, 0)
            self._record({"type": "ended", "trial_id": job.trial_id, "job": job.job, "how": "lost", "epoch": epoch})

    def _end(self, job: Job, report: Report, told: dict[str, Any]) -> None:
        how, error_type, text = report["end"], report.get("error_type"), report.get("error_text")
        card = None
        if job.stage == "teacher" and how == "completed":
            card = teachers.read_card(self.weights_dir, job.arm_id)
            gate = self.planner.teachers[job.arm_id].gate
            if not teachers.passes_gate(card, gate):
                how, error_type = "failed", "gate"
                text = f"val_top1 {card['val_top1']} is under the study's gate {gate}"
        self._record({
            "type": "ended", "trial_id": job.trial_id, "job": job.job, "how": how, "epoch": report["epoch"],
            "value": report["value"], "value_epoch": report.get("value_epoch"), "evals": report.get("evals"),
            "error_type": error_type, "error_text": text, **told,
        })
        if job.stage == "teacher":
            self._decide_teacher(job.arm_id)

    def _record(self, event: Event) -> None:
        """Makes a decision durable, then lets it take effect."""
        event = {"n": len(self.journal.events) + 1, "at": time.time(), **event}
        self.planner.apply(event)
        event["digest"] = self.planner.state.digest
        self.journal.append(event)
        self.journal.events.append(event)
        self._publish_after(event)
        self.listener("event", event)

    def _note_environment(self, environment: dict[str, Any]) -> str:
        environment_id = environment["environment_id"]
        if environment_id not in self.planner.state.environments:
            self._record({"type": "environment", **environment})
        return environment_id

    # Teachers

    def _find_teachers(self) -> None:
        """Teachers that an earlier study stored are ready; those that this study's own journal left undecided too."""
        for teacher in self.study.teachers:
            teacher_id = teacher.teacher_id
            if teachers.has_teacher(self.weights_dir, teacher_id):
                blocked = self.planner.state.teachers.get(teacher_id) == "blocked"
                teachers.read_card(self.weights_dir, teacher_id, gate=None if blocked else teacher.gate)
            self._decide_teacher(teacher_id)

    def _decide_teacher(self, teacher_id: str) -> None:
        state = self.planner.state
        if teacher_id in state.teachers:
            return
        trials = state.of_arm("teacher", teacher_id)
        if trials and not trials[0].is_final:
            return
        if trials:
            status = "ready" if trials[0].status == "completed" else "blocked"
        elif teachers.has_teacher(self.weights_dir, teacher_id):
            status = "ready"
        else:
            return
        self._record({"type": "teacher", "teacher_id": teacher_id, "status": status})

    # Tables

    def _publish_after(self, event: Event) -> None:
        kind, state = event["type"], self.planner.state
        if kind == "opened":
            self._write("studies", self.study.study_id, results.build_study_row(self.study, state))
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

    def _publish_environment(self, environment_id: str) -> None:
        if not self._has_row("environments", environment_id):
            self._write("environments", environment_id, self.planner.state.environments[environment_id])

    def _publish_teacher(self, teacher_id: str) -> None:
        """A blocked teacher is published too, where it was trained: its row says why."""
        if teachers.has_teacher(self.weights_dir, teacher_id) and not self._has_row("teachers", teacher_id):
            card = teachers.read_card(self.weights_dir, teacher_id)
            self._write("teachers", teacher_id, results.build_teacher_row(card))

    def _publish_trial(self, trial: Trial) -> None:
        """Brings a trial's files up to its state, where they are not. The trials row comes last: it commits."""
        staged = staged_path(self.directory, trial.trial_id, trial.job)
        if trial.status != "running" and staged.exists():
            tables.publish(staged, self.directory, "epochs", trial.trial_id)
        if not trial.is_final or self._has_row("trials", trial.trial_id):
            return
        if trial.status == "failed" or self.planner.state.abandoned is not None:
            self._recover_rows(trial)
        if trial.status == "completed" and (rows := results.build_eval_rows(self.planner, trial)):
            self._write("evals", trial.trial_id, *rows)
        kept = self._find_kept_checkpoint(trial)
        self._write("trials", trial.trial_id, results.build_trial_row(self.planner, trial, checkpoint=kept))
        if kept is None:
            shutil.rmtree(self.directory / "checkpoints" / trial.trial_id, ignore_errors=True)

    def _recover_rows(self, trial: Trial) -> None:
        """Publishes the rows of a trial whose last job did not come to its end: they are in its checkpoint alone."""
        newest, stored = load_newest(self.directory, trial.trial_id, before_job=trial.job + 1)
        if newest is not None:
            path = staged_path(self.directory, trial.trial_id, trial.job)
            stage_rows(stored["rows"], study_id=self.study.study_id, trial_id=trial.trial_id, path=path)
            tables.publish(path, self.directory, "epochs", trial.trial_id)

    def _find_kept_checkpoint(self, trial: Trial) -> str | None:
        """Where a completed student's checkpoint lies under the study; nobody goes on from any other."""
        if trial.stage == "teacher" or trial.status != "completed":
            return None
        newest = find_newest(self.directory, trial.trial_id, before_job=trial.job + 1)
        return None if newest is None else str(newest.relative_to(self.directory))

    def _reconcile(self) -> None:
        """Publishes what a killed driver had journaled but not yet published."""
        for teacher_id in self.planner.state.teachers:
            self._publish_teacher(teacher_id)
        for environment_id in self.planner.state.environments:
            self._publish_environment(environment_id)
        for trial in self.planner.state.trials.values():
            self._publish_trial(trial)

    def _has_row(self, table: str, key: str) -> bool:
        return (self.directory / "tables" / table / f"{key}.parquet").exists()

    def _write(self, table: str, key: str, *rows: dict[str, Any]) -> None:
        tables.write(self.directory, table, key, rows)


def fold(events: list[Event], study: Study, *, where: str) -> State:
    """The state that the events lead to. Raises ValueError where one does not follow from those before it."""
    state = State(retries=study.failure.retries)
    for event in events:
        try:
            state.apply(event)
        except (AssertionError, KeyError, AttributeError) as error:
            raise ValueError(_describe_break(where, event)) from error
        if state.digest != event["digest"]:
            raise ValueError(_describe_break(where, event))
    return state


def _describe_break(where: str, event: Event) -> str:
    return (
        f"{where}: event {event.get('n')} ({event.get('type')}) does not follow from those before it\n\n"
        "hint: the journal was changed by hand or by another version of kdsweep; restore it from a backup"
    )


def write_study_files(study: Study, directory: Path) -> None:
    """study.yaml as it was given and study.json as it was understood, with hashes and versions."""
    code_version, code_dirty = results.read_code_version()
    directory.mkdir(parents=True, exist_ok=True)
    resolved = study.to_json() | {
        "study_id": study.study_id, "config_hash": study.config_hash, "schema_version": tables.SCHEMA_VERSION,
        "code_version": code_version, "code_dirty": code_dirty,
    }
    _replace(directory / "study.yaml", study.source_text)
    _replace(directory / "study.json", json.dumps(resolved, indent=1, sort_keys=True))


def _replace(path: Path, text: str) -> None:
    import os

    part = path.with_name(path.name + ".part")
    with open(part, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    tables.fsync_dir(path.parent)
