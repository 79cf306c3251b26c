"""One method on one pair: what is measured of it, column by column.

To add a column, add a line to PAIR_COLUMNS: a SQL aggregate over an arm's trials (with `FILTER (repeated)` for what
the repeats show, `FILTER (tuned)` for what the search cost), or a function of the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis import significance, statistics
from analysis.aggregates import Sample
from analysis.arms import Arm, Pair


@dataclass(frozen=True)
class Column:
    """One column of a board. Shares are fractions here; only a renderer turns them into per cent."""

    name: str
    value: str | Callable[[Any], Any]   # SQL aggregate over the arm's trials, or a function of Cell or Summary
    unit: str                           # as analysis.answer.Field
    meaning: str
    better: str = ""                    # high or low where one value can be called best
    detail: bool = False                # left out where a person wants the answer in ten seconds


@dataclass(frozen=True)
class Cell:
    """One method on one pair, beside that pair's plain student and teacher."""

    pair: Pair
    label: str
    seeds: Sequence[float]              # test top-1, one per seed
    plain: Sequence[float]              # that of the plain student
    teacher_top1: float | None
    arm: Arm | None = None              # None where the study has no such arm
    best: Sequence[float] = ()          # test top-1 of the pair's best method
    plain_sd: float | None = None       # assumed over seeds where the plain student has one alone
    plain_arm: Arm | None = None        # None where the study has no such arm

    @property
    def names(self) -> tuple[Hashable, Hashable]:
        """What the seeds and the plain ones are of: several pairs of a student show the arms that have no teacher."""
        own = self.arm.key if self.arm else (self.pair, self.label)
        return own, self.plain_arm.key if self.plain_arm else self.pair

    @property
    def sample(self) -> Sample:
        return Sample(self.seeds, self.plain, self.teacher_top1, *self.names)

    @property
    def gain(self) -> float | None:
        return statistics.gain(self.seeds, self.plain)

    @property
    def gap_closed(self) -> float | None:
        return statistics.gap_closed(self.seeds, self.plain, self.teacher_top1, plain_sd=self.plain_sd)

    @cached_property
    def interval(self) -> tuple[float | None, float | None]:
        return statistics.t_interval(self.seeds) or (None, None)

    @property
    def is_tied_with_best(self) -> bool | None:
        """Whether these seeds cannot tell it from the pair's best; None where there are too few to say."""
        difference = significance.welch_interval(self.best, self.seeds)
        return None if difference is None else difference[0] <= 0.0


PAIR_COLUMNS = (
    Column("test_top1_mean", lambda cell: statistics.mean(cell.seeds), "fraction", "mean test top-1", "high"),
    Column("test_top1_sd", lambda cell: statistics.sd(cell.seeds), "fraction", "its standard deviation over seeds"),
    Column("test_top1_low", lambda cell: cell.interval[0], "fraction", "lower end of the mean's 95 % interval"),
    Column("test_top1_high", lambda cell: cell.interval[1], "fraction", "upper end of the mean's 95 % interval"),
    Column("num_seeds", lambda cell: len(cell.seeds), "", "completed repeats with fresh seeds"),
    Column("tied_with_best", lambda cell: cell.is_tied_with_best, "",
           "whether the 95 % Welch interval of its distance to the pair's best holds 0; not adjusted for many methods"),
    Column("gain", lambda cell: cell.gain, "difference", "mean above the plain student's", "high"),
    Column("detectable", lambda cell: significance.smallest_detectable(cell.seeds, cell.plain), "fraction",
           "smallest gain that as many seeds with this spread show at the 5 % level 4 times in 5"),
    Column("gap_closed", lambda cell: cell.gap_closed, "fraction",
           "gain as a share of teacher minus plain student; none below two standard errors", "high"),
    Column("teacher_top1", lambda cell: cell.teacher_top1, "fraction", "test top-1 of the teacher"),
    Column("test_nll", "avg(nll) FILTER (repeated)", "nats", "mean negative log-likelihood on test", "low", True),
    Column("test_ece", "avg(ece) FILTER (repeated)", "fraction", "mean expected calibration error", "low", True),
    Column("test_agreement", "avg(agreement) FILTER (repeated)", "fraction",
           "test images where student and teacher predict the same class", detail=True),
    Column("trials", "count(*) FILTER (tuned)", "", "trials searched, stopped, diverged and failed ones included"),
    Column("epochs", "coalesce(sum(epochs_done) FILTER (tuned), 0)::BIGINT", "", "epochs spent on the search"),
    Column("seconds", "coalesce(sum(wall_seconds) FILTER (tuned), 0)", "s", "seconds spent on the search"),
)


def measure(column: Column, cell: Cell) -> Any:
    """The cell's value; None where there is no arm to measure."""
    if isinstance(column.value, str):
        return cell.arm.measured.get(column.name) if cell.arm else None
    return column.value(cell)
