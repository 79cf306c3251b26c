"""One number of ours against one published number: what may be compared, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from analysis import statistics
from analysis.published.anchors import Anchors
from analysis.published.literature import Result

_EPOCHS = {"last": "the last epoch", "best_val": "the best on val"}
_ROUNDING = 10.0**-statistics.TIE_DIGITS


class Recipe(StrEnum):
    """Whether two plain students can have been trained alike."""

    alike = "alike"         # no difference seen
    differs = "differs"
    unknown = "unknown"


@dataclass(frozen=True)
class Measured:
    """Test top-1 over our seeds."""

    mean: float
    sd: float | None        # None for one seed
    num_seeds: int
    low: float | None       # 95 % interval of the mean
    high: float | None

    @property
    def standard_error(self) -> float | None:
        return None if self.sd is None else self.sd / math.sqrt(self.num_seeds)


@dataclass(frozen=True)
class Comparison:
    """What is found of one published number; a difference is ours minus published, None where it may not be taken."""

    ours: Measured | None
    remarks: tuple[str, ...]
    difference: float | None = None
    gain_difference: float | None = None
    gap_closed_difference: float | None = None
    z: float | None = None


def measure_seeds(seeds: Sequence[float]) -> Measured | None:
    """Mean, spread and interval of the seeds; None of nothing."""
    if not seeds:
        return None
    low, high = statistics.t_interval(seeds) or (None, None)
    return Measured(statistics.mean(seeds), statistics.sd(seeds), len(seeds), low, high)


def read_measured(row: Mapping[str, Any] | None) -> Measured | None:
    """The same from a row of a board's pairs; None where there is none or it has no result."""
    if row is None or row["test_top1_mean"] is None:
        return None
    return Measured(*(row[name] for name in
                      ("test_top1_mean", "test_top1_sd", "num_seeds", "test_top1_low", "test_top1_high")))


def judge_recipe(plain: Measured | None, student_top1: float | None) -> Recipe:
    """Differs where our plain student is more than two of its standard errors from the published one.

    Unknown where either is missing or ours has one seed. The published one's own error is not known, so that of two
    equal recipes some will be called different: the milder mistake, since gains are then compared.
    """
    if plain is None or plain.standard_error is None or student_top1 is None:
        return Recipe.unknown
    apart = abs(plain.mean - student_top1) > 2 * plain.standard_error + _ROUNDING
    return Recipe.differs if apart else Recipe.alike


def compare_last(
    result: Result, row: Mapping[str, Any], *, anchors: Anchors, recipe: Recipe, epoch_rule: str | None = None
) -> Comparison:
    """A number that is not of the best test epoch against `row` of our board: top-1, or what was gained.

    epoch_rule: which epoch ours is of, last or best_val; None where that is not known.
    """
    ours = read_measured(row)
    remarks = _compare_epochs(result.selection, epoch_rule)
    gains, gaps = None, None
    if recipe is not Recipe.alike:
        gains = subtract(row["gain"], subtract(result.top1, anchors.student_top1))
        gaps = subtract(row["gap_closed"], _find_gap_closed(result, anchors))
    if recipe is Recipe.differs:
        return Comparison(ours, ("the recipe differs", *remarks), None, gains, gaps)
    z, why = _measure_z(ours, result)
    return Comparison(ours, (*remarks, *why), ours.mean - result.top1, gains, gaps, z)


def compare_best(result: Result, seeds: Sequence[float], *, recipe: Recipe) -> Comparison:
    """A number of the best test epoch against ours of the same kind; no difference where we have none."""
    ours = measure_seeds(seeds)
    if ours is None:
        return Comparison(None, ("of its best test epoch, and we have no test curves: see repeat.test_curve",))
    if recipe is Recipe.differs:
        return Comparison(ours, ("the recipe differs, and plain students of the best test epoch are not published",))
    z, why = _measure_z(ours, result)
    return Comparison(ours, ("best test epoch, for comparison only", *why), ours.mean - result.top1, z=z)


def _compare_epochs(published: str, ours: str | None) -> list[str]:
    if published == "unknown":
        return ["its epoch is unknown"]
    alike = ours is None or ours == published
    return [] if alike else [f"of {_EPOCHS.get(published, published)}, ours of {_EPOCHS.get(ours, ours)}"]


def subtract(one: float | None, other: float | None) -> float | None:
    """The difference; None where one of them is."""
    return None if one is None or other is None else one - other


def _measure_z(ours: Measured, result: Result) -> tuple[float | None, tuple[str, ...]]:
    """The difference in standard errors of both, or why there is none."""
    if result.top1_sd is None:
        return None, ("published sd unknown",)
    if ours.standard_error is None:
        return None, ("one seed of ours",)
    runs = result.num_runs or 1     # one where it is unknown: the largest error that the printed spread allows
    error = math.hypot(ours.standard_error, result.top1_sd / math.sqrt(runs))
    why = () if result.num_runs else ("number of published runs unknown, taken as 1",)
    return (ours.mean - result.top1) / error, why


def _find_gap_closed(result: Result, anchors: Anchors) -> float | None:
    gap = subtract(anchors.teacher_top1, anchors.student_top1)
    return None if gap is None or gap <= 0 else (result.top1 - anchors.student_top1) / gap
