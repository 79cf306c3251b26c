"""What every executor does with the planner: journal first, then act, then publish what became final.

    driver = Driver.open(study, directory, weights_dir=...)
    while (job := driver.next_job()) is not None: ...       a worker runs it, and for each of its reports
        if not driver.tell(job, report): end the job
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from analysis import tables
from kdtrain.teachers import passes_gate
from sweeps import results
from sweeps.journal import Event, Journal
from sweeps.planner import Job, Planner
from sweeps.shelf import Shelf
from sweeps.state import State
from sweeps.study import Study
from sweeps.trial import Report

_ERROR_CHARACTERS = 4000

Listener = Callable[[str, dict[str, Any]], None]
"""Told of every journaled event ("event", event) and every report ("report", report): the progress display."""


def _ignore(kind: str, what: dict[str, Any]) -> None:
    """Listens to nothing."""


class Log(Protocol):
    """Where events are kept: a journal, or a list."""

    events: list[Event]

    def append(self, event: Event) -> None: ...
    def close(self) -> None: ...


class Files(Protocol):
    """What a driver asks of a shelf."""

    def has_teacher(self, teacher_id: str) -> bool: ...
    def find_card(self, teacher_id: str) -> dict[str, Any] | None: ...
    def publish_after(self, event: Event) -> None: ...
    def reconcile(self) -> None: ...


class Driver:
    """The one process that decides for a study."""

    def __init__(self, planner: Planner, *, journal: Log, shelf: Files, listener: Listener = _ignore) -> None:
        self.study, self.planner = planner.study, planner
        self.journal, self.shelf, self.listener = journal, shelf, listener
        self._reached: dict[str, int] = {}  # epochs that running jobs told of, for those that die

    @classmethod
    def open(
        cls, study: Study, directory: Path, *, weights_dir: Path, listener: Listener = _ignore
    ) -> Driver:
        """Takes the study's lock, folds its journal and puts right what a killed driver left undone.

        Raises `Locked` when another driver is at work, ValueError when the journal is damaged or a stored teacher is
        altered or under the study's gate.
        """
        journal = Journal(directory / "journal")
        try:
            planner = Planner(study, fold(journal.events, study, where=str(journal.path)))
            shelf = Shelf(directory, weights_dir=weights_dir, planner=planner)
            driver = cls(planner, journal=journal, shelf=shelf, listener=listener)
            driver.begin()
        except BaseException:
            journal.close()
            raise
        return driver

    def begin(self) -> None:
        """Looks for teachers, journals that a driver is there, and publishes what the last one left."""
        for teacher in self.study.teachers:
            self._check_stored(teacher.teacher_id)
        self._record({"type": "opened", "study_id": self.study.study_id, "config_hash": self.study.config_hash})
        self.shelf.reconcile()
        for teacher in self.study.teachers:
            self._find_teacher(teacher.teacher_id)

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
            if event["type"] == "abandoned":
                event["reached"] = {i: self._reached.get(i, 0) for i in self.planner.state.open}
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

    def lose(self, job: Job, *, text: str = "") -> None:
        """The job's worker died: another one goes on from its checkpoint. `text`: what is known of its end."""
        if self.planner.is_current(job.trial_id, job.job):
            self._record({
                "type": "ended", "trial_id": job.trial_id, "job": job.job, "how": "lost",
                "epoch": self._reached.get(job.trial_id, 0), "error_type": "lost", "error_text": _to_plain(text),
            })
            self._decide_teacher_after(job.trial_id)

    def _end(self, job: Job, report: Report, told: dict[str, Any]) -> None:
        how, error_type, text = report["end"], report.get("error_type"), report.get("error_text")
        if job.stage == "teacher" and how == "completed":
            gate = self.planner.teachers[job.arm_id].gate
            if not passes_gate(report["value"], gate):
                how, error_type = "failed", "gate"
                text = f"val_top1 {report['value']} is under the study's gate {gate}"
        self._record({
            "type": "ended", "trial_id": job.trial_id, "job": job.job, "how": how, "epoch": report["epoch"],
            "value": report["value"], "value_epoch": report.get("value_epoch"), "evals": report.get("evals"),
            "error_type": error_type, "error_text": _to_plain(text), **told,
        })
        self._decide_teacher_after(job.trial_id)

    def _record(self, event: Event) -> None:
        """Makes a decision durable before anything is done about it.

        It is applied first, in memory, because the event carries the digest of the state that it leads to; if the
        append fails, this process is at its end and the state with it.
        """
        event = {"n": len(self.journal.events) + 1, "at": time.time(), **event}
        self.planner.apply(event)
        event["digest"] = self.planner.state.digest
        self.journal.append(event)
        self.journal.events.append(event)
        self.shelf.publish_after(event)
        self.listener("event", event)

    def _note_environment(self, environment: dict[str, Any]) -> str:
        environment_id = environment["environment_id"]
        if environment_id not in self.planner.state.environments:
            self._record({"type": "environment", **environment})
        return environment_id

    def _check_stored(self, teacher_id: str) -> None:
        """Raises ValueError when a stored teacher is altered or gone, or an earlier study's is under the gate here."""
        state = self.planner.state
        is_used = state.teachers.get(teacher_id) == "ready" and not self.planner.is_done
        if is_used and not self.shelf.has_teacher(teacher_id):
            raise ValueError(
                f"teacher {teacher_id}: this study has trained with it, and its weights are gone\n\n"
                "hint: put the directory _weights back beside the study's"
            )
        card = self.shelf.find_card(teacher_id)
        if card is None and self.planner.teachers[teacher_id].origin is not None and not self.planner.is_done:
            raise ValueError(
                f"teacher {teacher_id}: its weights are imported, and they are gone\n\n"
                "hint: put the directory _weights back beside the study's, or import them again: kdsweep teacher import"
            )
        if card is None or state.of_arm("teacher", teacher_id):
            return
        gate = self.planner.teachers[teacher_id].gate
        if not passes_gate(card["val_top1"], gate):
            raise ValueError(
                f"teacher {card['model']} on {card['data']} ({teacher_id}): val_top1 {card['val_top1']} is under "
                f"the study's gate {gate}\n\nhint: a better recipe or file under `teachers`, or a lower gate there"
            )

    def _find_teacher(self, teacher_id: str) -> None:
        """What a killed driver did not journal any more of its own teacher; or one that an earlier study stored."""
        trials = self.planner.state.of_arm("teacher", teacher_id)
        if trials:
            self._decide_teacher_after(trials[0].trial_id)
        elif teacher_id not in self.planner.state.teachers and self.shelf.find_card(teacher_id) is not None:
            self._record({"type": "teacher", "teacher_id": teacher_id, "status": "ready"})

    def _decide_teacher_after(self, trial_id: str) -> None:
        """Once a teacher's trial is final, the arms that wait for it search, or are blocked."""
        trial = self.planner.state.trials[trial_id]
        if trial.stage == "teacher" and trial.is_final and trial.arm_id not in self.planner.state.teachers:
            status = "ready" if trial.status == "completed" else "blocked"
            self._record({"type": "teacher", "teacher_id": trial.arm_id, "status": status})


def _to_plain(text: str | None) -> str | None:
    """The end of an error's text, in what every file and table can hold: a file name in it may be no Unicode."""
    return text and text[-_ERROR_CHARACTERS:].encode(errors="backslashreplace").decode()


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
    part = path.with_name(path.name + ".part")
    with open(part, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    tables.fsync_dir(path.parent)
