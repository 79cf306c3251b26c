"""A setting with all its trials: what rungs, the search and the displays judge.

Where budgets are truncated it is one trial, which pauses at rungs. Where they are compressed it is a trial for each
budget that it has come to; between two budgets it pauses too, and a rung is a budget.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sweeps.state import Trial


@dataclass(frozen=True)
class Setting:
    """One point that an arm's search tried. Its trials share number, settings, seed and immunity."""

    trials: tuple[Trial, ...]           # of rising budgets: all but the newest completed

    @property
    def newest(self) -> Trial:
        return self.trials[-1]

    @property
    def number(self) -> int:
        """Its place among the settings of its arm, from 0."""
        return self.newest.number

    @property
    def immune(self) -> bool:
        return self.newest.immune

    @property
    def status(self) -> str:
        """That of its newest trial; `paused` where this completed a budget that is not the whole."""
        trial = self.newest
        return "paused" if trial.status == "completed" and trial.budget is not None else trial.status

    @property
    def values(self) -> dict[int, float]:
        """Rung -> validation value; NaN is worst."""
        return {rung: value for trial in self.trials for rung, value in trial.values.items()}

    @property
    def passed(self) -> set[int]:
        """The rungs at which it was let go on."""
        left_behind = {trial.budget for trial in self.trials[:-1]}
        return left_behind.union(*(trial.passed for trial in self.trials))


def group_settings(trials: Iterable[Trial]) -> list[Setting]:
    """The settings of one arm's search, by number. `trials`: in the order in which they were asked for."""
    chains: dict[int, list[Trial]] = {}
    for trial in trials:
        chains.setdefault(trial.number, []).append(trial)
    return [Setting(tuple(chain)) for chain in chains.values()]
