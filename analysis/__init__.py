"""What the runs mean: tables, SQL, statistics, leaderboards, reports. No torch, no Ray.

    import analysis
    results = analysis.open("results/digits")
    results.leaderboard()
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.studies import Studies


def open(directories: str | Path | Sequence[str | Path]) -> Studies:  # noqa: A001 (reads as analysis.open)
    """The results of one study, or of several together. ValueError where there are none."""
    from analysis import studies  # here, so that a worker that only writes tables need not load DuckDB

    return studies.open(directories)
