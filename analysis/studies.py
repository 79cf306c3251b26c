"""Every question about studies as a Python call. Answers are pandas, with their notes in `attrs["notes"]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis import queries

if TYPE_CHECKING:
    from analysis.leaderboard import Leaderboard

# Each module takes a while to load and builds on this one's base: a question imports what it needs.


@dataclass(frozen=True)
class Studies(queries.Results):
    """One study or several: the rows of their tables, SQL over them, and what they mean."""

    def leaderboard(self, *, published: str | None = None) -> Leaderboard:
        """Every method on the test split, per pair and over pairs, with its intervals and its budget.

        published: beside the numbers of this source, or of `all`; None leaves them out. ValueError for one unknown.
        """
        from analysis import leaderboard
        from analysis.published import beside

        board = leaderboard.build(self)
        return board if published is None else beside.put(board, self, source=published)

    def status(self) -> pd.DataFrame:
        """What became of every arm's trials so far, from the tables alone: see analysis.status."""
        from analysis import status

        return status.count_trials(self)

    def compare(self, first: str, second: str, *, rope: float = 0.002) -> pd.DataFrame:
        """Two methods, a row per pair: see analysis.comparison. rope: what is practically equal, a fraction."""
        from analysis import comparison

        return comparison.compare(self, first, second, rope=rope).to_pandas()

    def importance(self, *, evaluator: str = "ped_anova", method: str | None = None) -> pd.DataFrame:
        """How much each searched setting matters, by ped_anova or fanova, arm by arm: see analysis.importance."""
        from analysis import importance

        return importance.measure(self, evaluator=evaluator, method=method).to_pandas()

    def sensitivity(
        self, *, x: str | None = None, y: str | None = None, method: str | None = None, bins: int | None = None
    ) -> pd.DataFrame:
        """Mean validation top-1 by two settings, a row per cell: see analysis.sensitivity."""
        from analysis import sensitivity

        return sensitivity.measure(self, x=x, y=y, method=method, bins=bins).to_pandas()

    def fidelity(self, *, epochs: Sequence[int] | None = None) -> pd.DataFrame:
        """How well rungs, or these epochs, predict the end: see analysis.fidelity."""
        from analysis import fidelity

        return fidelity.measure(self, epochs=epochs).to_pandas()

    def budget_curves(self, *, by: str = "seconds") -> pd.DataFrame:
        """Best validation top-1 so far; by: seconds, epochs or device_seconds. See analysis.curves."""
        from analysis import curves

        return curves.budget(self, by=by).to_pandas()

    def learning_curves(self) -> pd.DataFrame:
        """Validation top-1 by epoch: the best trial of each arm, median and quartiles of all. See analysis.curves."""
        from analysis import curves

        return curves.learning(self).to_pandas()

    def expected_best(self, *, biased: bool = False) -> pd.DataFrame:
        """The best to expect of n random trials; ValueError where they were not random draws. See analysis.curves."""
        from analysis import curves

        return curves.expected(self, biased=biased).to_pandas()

    def cost(self) -> pd.DataFrame:
        """Trials, epochs, time and memory by arm and stage: see analysis.cost."""
        from analysis import cost

        return cost.measure(self).to_pandas()


def open(directories: str | Path | Sequence[str | Path]) -> Studies:  # noqa: A001 (reads as analysis.open)
    """The study below a directory, or several. ValueError if one holds no study, or two the same one."""
    return Studies(queries.open(directories).directories)
