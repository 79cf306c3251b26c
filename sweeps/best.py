"""What won each arm, and its checkpoint as a plain state dict.

The rule. The setting of an arm is that of its completed search trial with the highest validation top-1; of equal ones,
of the trial that was asked for first. The repeats train that setting on fresh seeds. What stands for the arm is, of its
completed repeats, the one with the highest validation top-1 where validation was held out of their training, and the
one with the lowest seed where it was not, or where they are equal; as long as no repeat is completed, the search trial
itself. Test is told beside it, as the mean over all completed repeats, and never chosen by.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtrain import checkpoint
from kdtrain.export import export_student
from kdtrain.names import describe_unknown
from sweeps.arms import Arm
from sweeps.driver import fold
from sweeps.journal import read_events
from sweeps.launch import load_begun
from sweeps.planner import Planner, find_winner
from sweeps.state import Trial
from sweeps.trial import find_newest

BY_VALIDATION, BY_SEED, BY_SEARCH = "best validation", "lowest seed", "best of the search"
RULES = {
    BY_VALIDATION: "of the completed repeats the one with the highest validation top-1",
    BY_SEED: "of the completed repeats the one with the lowest seed: they trained on validation too",
    BY_SEARCH: "no repeat is completed: the search trial itself, which never saw test",
}
COLUMNS = (  # name, unit, meaning, which is better
    ("stage", "", "repeat where repeats are completed, else tune", ""),
    ("settings", "", "the winning point of the search and what the study fixed for the method", ""),
    ("val_top1", "fraction", "validation top-1 of the search trial that won", "high"),
    ("test_top1", "fraction", "mean test top-1 of the completed repeats; never chosen by", "high"),
    ("num_repeats", "", "completed repeats", ""),
    ("chosen_by", "", "why this trial stands for the arm", ""),
    ("trial_id", "", "the trial that stands for the arm: what --export writes", ""),
    ("checkpoint", "", "its checkpoint under the study's directory; missing where it is not there", ""),
)
KEYS = ("data", "teacher", "student", "method")


@dataclass(frozen=True)
class Winner:
    """An arm and what won it; `searched` and `chosen` are None as long as no trial of the search is completed."""

    arm: Arm
    searched: Trial | None              # the search trial whose setting won
    repeats: tuple[Trial, ...]          # completed, by number
    chosen: Trial | None                # stands for the arm
    chosen_by: str | None               # a key of RULES

    @property
    def keys(self) -> dict[str, str | None]:
        """What the arm is, as a board names it."""
        arm = self.arm
        return dict(zip(KEYS, (arm.data, arm.teacher, arm.student, arm.label), strict=True))


def read_planner(directory: Path) -> Planner:
    """The study of a directory as its journal tells it. Raises ValueError where none was begun or it is damaged."""
    study, journal = load_begun(directory), directory / "journal" / "events.jsonl"
    return Planner(study, fold(list(read_events(journal)), study, where=str(journal)))


def find_winners(planner: Planner) -> list[Winner]:
    """One for each arm, in the order of the study."""
    return [_find(planner, arm) for arm in planner.study.arms]


def select(winners: Sequence[Winner], wanted: Mapping[str, str | None]) -> list[Winner]:
    """Those with every wanted data, teacher (`none` for no teacher), student and method; None wants nothing.

    Raises ValueError for a name that no arm has.
    """
    for key, name in wanted.items():
        known = {winner.keys[key] or "none" for winner in winners}
        if name is not None and name not in known:
            raise ValueError(describe_unknown(f"{key} of this study", name, known))
    return [
        winner for winner in winners
        if all(name is None or name == (winner.keys[key] or "none") for key, name in wanted.items())
    ]


def to_row(winner: Winner, directory: Path) -> dict[str, Any]:
    """KEYS and COLUMNS of one winner; missing is None."""
    chosen, searched = winner.chosen, winner.searched
    if chosen is None:
        return winner.keys | {name: None for name, *_ in COLUMNS} | {"num_repeats": 0}
    tests = [_find_test(trial) for trial in winner.repeats]
    found = _find_checkpoint(directory, chosen)
    return winner.keys | {
        "stage": chosen.stage,
        "settings": {**winner.arm.fixed, **searched.settings},
        "val_top1": searched.value,
        "test_top1": statistics.fmean(tests) if tests else None,
        "num_repeats": len(winner.repeats),
        "chosen_by": winner.chosen_by,
        "trial_id": chosen.trial_id,
        "checkpoint": None if found is None else str(found.relative_to(directory)),
    }


def export(winners: Sequence[Winner], path: Path, *, planner: Planner, directory: Path) -> dict[str, Any]:
    """Writes the one winner's deployed student to `path` and its card beside it; returns the card.

    Raises ValueError where there is not one arm, no completed trial or no checkpoint, or where a file would be
    overwritten.
    """
    if len(winners) != 1:
        arms = ", ".join(winner.arm.arm_id for winner in winners) or "none"
        hint = "narrow them by --data, --teacher, --student and --method"
        raise ValueError(f"--export writes the student of one arm; these match: {arms}\n\nhint: {hint}")
    (winner,) = winners
    trial = winner.chosen
    if trial is None:
        raise ValueError(f"{winner.arm.arm_id}: no trial is completed, there is nothing to export")
    found = _find_checkpoint(directory, trial)
    if found is None:
        raise ValueError(
            f"{directory / 'checkpoints' / trial.trial_id}: the checkpoint of the chosen trial is not there\n\n"
            "hint: a study is copied with its checkpoints; tables and journal alone hold no weights"
        )
    stored = checkpoint.load(found, trial_id=trial.trial_id)
    facts = _list_facts(winner, trial, planner, directory)
    return export_student(stored, path, config=planner.build_config(trial), facts=facts)


def _find(planner: Planner, arm: Arm) -> Winner:
    winner_id = find_winner(planner.state.of_arm("tune", arm.arm_id))
    if winner_id is None:
        return Winner(arm, searched=None, repeats=(), chosen=None, chosen_by=None)
    searched = planner.state.trials[winner_id]
    repeats = tuple(trial for trial in planner.state.of_arm("repeat", arm.arm_id) if trial.status == "completed")
    chosen, chosen_by = _choose(searched, repeats)
    return Winner(arm, searched=searched, repeats=repeats, chosen=chosen, chosen_by=chosen_by)


def _choose(searched: Trial, repeats: Sequence[Trial]) -> tuple[Trial, str]:
    """See the head of this file."""
    if not repeats:
        return searched, BY_SEARCH
    if any(trial.value is None for trial in repeats):
        return min(repeats, key=lambda trial: trial.seed), BY_SEED
    return min(repeats, key=lambda trial: (-trial.value, trial.seed)), BY_VALIDATION


def _find_test(trial: Trial) -> float:
    return next(found["top1"] for found in trial.report["evals"] if found["split"] == "test")


def _find_checkpoint(directory: Path, trial: Trial) -> Path | None:
    return find_newest(directory, trial.trial_id, before_job=trial.job + 1)


def _list_facts(winner: Winner, trial: Trial, planner: Planner, directory: Path) -> dict[str, Any]:
    """What the study knows of an exported trial."""
    began = json.loads((directory / "study.json").read_text())
    return {
        "study": planner.study.name,
        "study_id": planner.study.study_id,
        "arm_id": winner.arm.arm_id,
        "setting_id": winner.arm.setting_id(trial.settings),
        "method_label": winner.arm.label,
        "trial_id": trial.trial_id,
        "stage": trial.stage,
        "chosen_by": RULES[winner.chosen_by],
        "code_version": began["code_version"],
        "code_dirty": began["code_dirty"],
    }
