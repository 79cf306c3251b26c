"""The decision core of a study: which job is next, whether a trial goes on, when an arm is done.

No Ray, no clock, no files. Every decision is an event. The planner proposes it, the driver writes it to the journal,
and only then is it acted on; the state is the fold of these events, so a planner over a folded state decides what the
one before a crash would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kdtrain.config import TrialConfig
from kdtrain.randomness import derive_seed
from sweeps import asha
from sweeps.journal import Event
from sweeps.search import Asked, propose
from sweeps.setting import Setting, group_settings
from sweeps.state import State, Trial
from sweeps.study import Arm, Study


@dataclass(frozen=True)
class Job:
    """One stretch of a trial on one worker: from its newest checkpoint until the planner says stop."""

    study_id: str
    trial_id: str
    job: int                       # from 1
    stage: str
    arm_id: str
    number: int
    config: TrialConfig
    after_epoch: int               # rows after this epoch are told (again) first
    stops: tuple[int, ...]         # epochs at which the job may be ended: rungs ahead, and the last


class Planner:
    """Decides for one study. `state` changes only through `apply`."""

    def __init__(self, study: Study, state: State | None = None) -> None:
        self.study = study
        self.state = state if state is not None else State(retries=study.failure.retries)
        self.arms = {arm.arm_id: arm for arm in study.arms}
        self.teachers = {teacher.teacher_id: teacher for teacher in study.teachers}
        self.rungs = study.rungs
        self.compresses = study.stop.budgets == "compress"
        self.pauses = () if self.compresses else study.rungs    # the epochs of a trial that are rungs

    def apply(self, event: Event) -> None:
        """Makes a decision part of the state."""
        self.state.apply(event)

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing is left to ask."""
        return not any(trial.status == "running" for trial in self.state.open.values()) and self.next() is None

    def next(self) -> Event | None:
        """The next decision: a job to ask for, an arm to close. None: wait for running jobs, or the study is done."""
        if self.state.abandoned is not None:
            return None
        if (reason := self._too_many_failed()) is not None:
            return {"type": "abandoned", "reason": reason, "reached": {}}
        return self._ask_again() or self._ask_teacher() or self._tune() or self._repeat()

    def on_epoch(self, trial_id: str, *, job: int, epoch: int, value: float) -> Event | None:
        """The decision at a rung, or None where the trial simply goes on. `value`: validation top-1, NaN is worst."""
        trial = self.state.trials[trial_id]
        if trial.stage != "tune" or epoch not in self.pauses or epoch <= trial.epoch:
            return None
        finite = value if math.isfinite(value) else None
        return {
            "type": "rung", "trial_id": trial_id, "job": job, "epoch": epoch, "value": finite,
            "then": self._judge(trial, epoch, value),
        }

    def is_current(self, trial_id: str, job: int) -> bool:
        """Whether this job is the one that may speak for the trial: an orphan of a dead driver is not."""
        trial = self.state.trials.get(trial_id)
        return trial is not None and trial.status == "running" and trial.job == job

    def build_job(self, trial_id: str) -> Job:
        """The job that the journal has just asked for."""
        trial = self.state.trials[trial_id]
        config = self.build_config(trial)
        pauses = self.pauses if trial.stage == "tune" and not trial.immune else ()
        return Job(
            study_id=self.study.study_id, trial_id=trial_id, job=trial.job, stage=trial.stage,
            arm_id=trial.arm_id, number=trial.number, config=config, after_epoch=trial.epoch,
            stops=(*(epoch for epoch in pauses if epoch > trial.epoch), config.epochs),
        )

    def build_config(self, trial: Trial) -> TrialConfig:
        """What the trial is."""
        if trial.stage == "teacher":
            return self.teachers[trial.arm_id].config
        how = {"seed": trial.seed, "stage": trial.stage, "budget": trial.budget}
        return self.study.trial_config(self.arms[trial.arm_id], trial.settings, **how)

    def find_arm_status(self, arm: Arm) -> str:
        """What an arm is doing: waiting (for its teacher), searching, repeating, done, blocked."""
        if arm.arm_id in self.state.winners:
            if self.state.winners[arm.arm_id] is None:
                return "blocked" if self._is_blocked(arm) else "done"
            repeats = self.state.of_arm("repeat", arm.arm_id)
            done = len(repeats) == self.study.repeat.seeds and all(trial.is_final for trial in repeats)
            return "done" if done else "repeating"
        return "searching" if self._is_ready(arm) else "waiting"

    # What to ask for

    def _ask_again(self) -> Event | None:
        for trial in self.state.open.values():
            if trial.status == "waiting":
                return _ask_on(trial)
        return None

    def _ask_teacher(self) -> Event | None:
        for teacher in self.study.teachers:
            known = teacher.teacher_id in self.state.teachers or self.state.of_arm("teacher", teacher.teacher_id)
            if not known:
                config = teacher.config
                return _ask_new(config, stage="teacher", arm_id=teacher.teacher_id, number=0, settings={})
        return None

    def _tune(self) -> Event | None:
        """A decision for the arm that is behind the others: a promotion, a new trial, or its end."""
        open_arms = [arm for arm in self.study.arms if arm.arm_id not in self.state.winners]
        for arm in sorted(open_arms, key=lambda arm: (self._count_steps(arm), arm.index)):
            if self._is_blocked(arm):
                return {"type": "closed", "arm_id": arm.arm_id, "winner": None}
            event = self._tune_arm(arm) if self._is_ready(arm) else None
            if event is not None:
                return event
        return None

    def _tune_arm(self, arm: Arm) -> Event | None:
        trials = self.state.of_arm("tune", arm.arm_id)
        settings = group_settings(trials)
        if (number := self._find_promotable(settings)) is not None:
            return self._promote(arm, settings[number])
        if len(settings) < self.study.search.trials_per_arm:
            return self._ask_new_setting(arm, settings)
        if any(setting.status == "running" for setting in settings):
            return None
        has_finisher = any(setting.status == "completed" and not setting.immune for setting in settings)
        if not has_finisher and (number := self._find_last_hope(settings)) is not None:
            return self._promote(arm, settings[number])
        return {"type": "closed", "arm_id": arm.arm_id, "winner": find_winner(trials)}

    def _ask_new_setting(self, arm: Arm, settings: list[Setting]) -> Event:
        history = [self._to_asked(setting, settings) for setting in settings]
        proposed = propose(arm, history, sampler=self.study.search.sampler, seed=self.study.seed)
        return self._ask_tune(arm, proposed, number=len(settings), after=0)

    def _promote(self, arm: Arm, setting: Setting) -> Event:
        """The same trial goes on, or where it has come to the end of its budget one of the next budget begins."""
        trial = setting.newest
        if trial.status == "paused":
            return _ask_on(trial)
        return self._ask_tune(arm, trial.settings, number=trial.number, after=trial.budget)

    def _ask_tune(self, arm: Arm, settings: dict[str, Any], *, number: int, after: int) -> Event:
        """A setting's trial of the first budget above `after`. Its seed is the same at every budget."""
        budget = self.study.find_next_budget(after)
        seed = derive_seed(self.study.seed, arm.arm_id, number)
        config = self.study.trial_config(arm, settings, seed=seed, stage="tune", budget=budget)
        immune = self.study.stop.rule != "none" and asha.is_immune(number, self.study.stop.immune)
        asked = _ask_new(config, stage="tune", arm_id=arm.arm_id, number=number, settings=settings, immune=immune)
        return asked if budget is None else {**asked, "budget": budget}

    def _repeat(self) -> Event | None:
        for arm in self.study.arms:
            winner = self.state.winners.get(arm.arm_id)
            number = len(self.state.of_arm("repeat", arm.arm_id))
            if winner is not None and number < self.study.repeat.seeds:
                settings = self.state.trials[winner].settings
                seed = derive_seed(self.study.seed, arm.arm_id, "repeat", number)
                config = self.study.trial_config(arm, settings, seed=seed, stage="repeat")
                return _ask_new(config, stage="repeat", arm_id=arm.arm_id, number=number, settings=settings)
        return None

    # Rungs

    def _judge(self, trial: Trial, epoch: int, value: float) -> str:
        if trial.immune:
            return "go"
        settings = group_settings(self.state.of_arm("tune", trial.arm_id))
        values = {**_values_at(settings, epoch), trial.number: value}
        if self.study.stop.rule == "asha_stop":
            return "go" if asha.passes(trial.number, values, self.study.stop.eta) else "stop"
        best = asha.find_promotable(values, _passed_at(settings, epoch), self.study.stop.eta)
        return "go" if best == trial.number else "pause"

    def _find_promotable(self, settings: list[Setting]) -> int | None:
        if self.study.stop.rule != "asha":
            return None
        for setting in settings:
            if setting.immune and setting.status == "paused":  # between two of its budgets, all of which it runs
                return setting.number
        for rung in reversed(self.rungs):
            number = asha.find_promotable(_values_at(settings, rung), _passed_at(settings, rung), self.study.stop.eta)
            if number is not None and settings[number].status == "paused":
                return number
        return None

    def _find_last_hope(self, settings: list[Setting]) -> int | None:
        """Few settings may leave less than one to promote: then the best of the highest rung goes on all the same."""
        for rung in reversed(self.rungs):
            here = {n: v for n, v in _values_at(settings, rung).items() if settings[n].status == "paused"}
            number = asha.find_best_left(here, _passed_at(settings, rung))
            if number is not None:
                return number
        return None

    def _to_asked(self, setting: Setting, settings: list[Setting]) -> Asked:
        """The setting as the search may see it."""
        trial = setting.newest
        if setting.status == "completed":
            left = self._cut_immune(setting, settings) if setting.immune else None
            if left is None:
                return Asked(trial.settings, "completed", value=trial.value)
            return Asked(trial.settings, "pruned", values=left)
        if setting.status in ("paused", "stopped"):
            return Asked(trial.settings, "pruned", values=setting.values)
        if setting.status == "diverged":
            return Asked(trial.settings, "pruned", values={**setting.values, self._find_end(trial): math.nan})
        return Asked(trial.settings, "failed" if setting.status == "failed" else "running")

    def _find_end(self, trial: Trial) -> int:
        """Where a diverged trial ended, on the scale of the rungs: an epoch, or of compressed budgets its own."""
        return self.build_config(trial).epochs if self.compresses else max(trial.reached, 1)

    def _cut_immune(self, setting: Setting, settings: list[Setting]) -> dict[int, float] | None:
        """The values that early stopping would have left of an immune one, None where it would have let it finish."""
        left = {}
        for rung, value in setting.values.items():
            left[rung] = value
            if not asha.would_pass(value, _values_at(settings, rung), self.study.stop.eta):
                return left
        return None

    # Facts

    def _count_steps(self, arm: Arm) -> int:
        """Settings and promotions so far. Not jobs: a kill adds jobs and must not change whose turn it is."""
        return sum(1 + len(trial.passed) for trial in self.state.of_arm("tune", arm.arm_id))

    def _is_ready(self, arm: Arm) -> bool:
        return arm.teacher_id is None or self.state.teachers.get(arm.teacher_id) == "ready"

    def _is_blocked(self, arm: Arm) -> bool:
        return arm.teacher_id is not None and self.state.teachers.get(arm.teacher_id) == "blocked"

    def _too_many_failed(self) -> str | None:
        failed = self.state.num_failed
        planned = len(self.study.arms) * (self.study.search.trials_per_arm + self.study.repeat.seeds)
        if failed > self.study.failure.max_failed_fraction * planned:
            return f"{failed} of {planned} planned trials failed, more than failure.max_failed_fraction allows"
        return None


def _ask_new(
    config: TrialConfig, *, stage: str, arm_id: str, number: int, settings: dict[str, Any], immune: bool = False
) -> Event:
    return {
        "type": "asked", "trial_id": config.trial_id, "job": 1, "stage": stage, "arm_id": arm_id, "number": number,
        "settings": settings, "seed": config.seed, "immune": immune,
    }


def _ask_on(trial: Trial) -> Event:
    return {"type": "asked", "trial_id": trial.trial_id, "job": trial.job + 1}


def _values_at(settings: list[Setting], rung: int) -> dict[int, float]:
    return {
        setting.number: values[rung] for setting in settings
        if not setting.immune and rung in (values := setting.values)
    }


def _passed_at(settings: list[Setting], rung: int) -> set[int]:
    return {setting.number for setting in settings if not setting.immune and rung in setting.passed}


def find_winner(trials: list[Trial]) -> str | None:
    """The trial that completed the whole budget with the best validation value; a tie goes to the lower number."""
    whole = [trial for trial in trials if trial.status == "completed" and trial.budget is None]
    completed = [trial for trial in whole if math.isfinite(trial.value)]
    return min(completed, key=lambda trial: (-trial.value, trial.number)).trial_id if completed else None
