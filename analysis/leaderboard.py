"""The leaderboard: every method on every pair, and over pairs, measured on test with fresh seeds.

To add a column, add a line to PAIR_COLUMNS: a SQL aggregate over an arm's trials (with `FILTER (repeated)` for what
the repeats show, `FILTER (tuned)` for what the search cost), or a function of the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import statistics
from analysis.arms import Arm, Pair, Plan, find_arms, find_pairs, read_arms, read_plans, select_arms
from analysis.footer import QUERIES, build_footer, find_missing, find_warnings
from analysis.queries import Results

PLAIN = "ce"  # the label of plain training, which every gain is measured from


@dataclass(frozen=True)
class Column:
    """One column of a board. Shares are fractions here; only a renderer turns them into per cent."""

    name: str
    value: str | Callable[[Any], Any]   # SQL aggregate over the arm's trials, or a function of Cell or Summary
    unit: str                           # fraction, difference (of two fractions), s, or "" for a count
    meaning: str
    better: str = ""                    # high or low where one value can be called best


@dataclass(frozen=True)
class Cell:
    """One method on one pair, beside that pair's plain student and teacher."""

    pair: Pair
    label: str
    arm: Arm | None                     # None where the study has no such arm
    plain: Sequence[float]              # test top-1 of the plain student, one per seed
    teacher_top1: float | None

    @property
    def seeds(self) -> Sequence[float]:
        return self.arm.seeds if self.arm else []

    @property
    def gain(self) -> float | None:
        return statistics.gain(self.seeds, self.plain)

    def interval(self, end: int) -> float | None:
        """Lower (0) or upper (1) end."""
        ends = statistics.t_interval(self.seeds)
        return ends[end] if ends else None


@dataclass(frozen=True)
class Summary:
    """One method over all pairs."""

    label: str
    cells: Sequence[Cell]               # one per pair
    rank: float | None

    @property
    def covered(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.seeds]

    @property
    def gains(self) -> list[float]:
        return [cell.gain for cell in self.cells if cell.gain is not None]

    def pooled_gap_closed(self) -> float | None:
        return statistics.pooled_gap_closed([(cell.seeds, cell.plain, cell.teacher_top1) for cell in self.cells])

    def total(self, name: str) -> float | None:
        """Sum over the method's arms, each counted once however many pairs show it."""
        arms = {(c.arm.pair.study_id, c.arm.arm_id): c.arm for c in self.cells if c.arm}
        return sum(arm.measured.get(name) or 0 for arm in arms.values())


PAIR_COLUMNS = (
    Column("test_top1_mean", lambda cell: statistics.mean(cell.seeds), "fraction", "mean test top-1", "high"),
    Column("test_top1_sd", lambda cell: statistics.sd(cell.seeds), "fraction", "its standard deviation over seeds"),
    Column("test_top1_low", lambda cell: cell.interval(0), "fraction", "lower end of the mean's 95 % interval"),
    Column("test_top1_high", lambda cell: cell.interval(1), "fraction", "upper end of the mean's 95 % interval"),
    Column("num_seeds", lambda cell: len(cell.seeds), "", "completed repeats with fresh seeds"),
    Column("gain", lambda cell: cell.gain, "difference", "mean above the plain student's", "high"),
    Column("gap_closed", lambda cell: statistics.gap_closed(cell.seeds, cell.plain, cell.teacher_top1), "fraction",
           "gain as a share of teacher minus plain student; none below two standard errors", "high"),
    Column("teacher_top1", lambda cell: cell.teacher_top1, "fraction", "test top-1 of the teacher"),
    Column("trials", "count(*) FILTER (tuned)", "", "trials searched, stopped, diverged and failed ones included"),
    Column("epochs", "coalesce(sum(epochs_done) FILTER (tuned), 0)::BIGINT", "", "epochs spent on the search"),
    Column("seconds", "coalesce(sum(wall_seconds) FILTER (tuned), 0)", "s", "seconds spent on the search"),
)

SUMMARY_COLUMNS = (
    Column("gap_closed_pooled", Summary.pooled_gap_closed, "fraction", "sum of gains over sum of gaps", "high"),
    Column("gain_mean", lambda method: statistics.mean(method.gains), "difference", "mean gain over the pairs", "high"),
    Column("rank_mean", lambda method: method.rank, "rank", "mean rank on the pairs that every method has", "low"),
    Column("num_pairs", lambda method: len(method.covered), "", "pairs with a result"),
    Column("trials", lambda method: method.total("trials"), "", "trials searched"),
    Column("epochs", lambda method: method.total("epochs"), "", "epochs spent on the search"),
    Column("seconds", lambda method: method.total("seconds"), "s", "seconds spent on the search"),
)


@dataclass(frozen=True)
class Table:
    """Rows with a fixed set of columns; a missing value is None."""

    keys: tuple[str, ...]               # columns that say what a row is of
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.rows), columns=[*self.keys, *(column.name for column in self.columns)])


@dataclass(frozen=True)
class Leaderboard:
    """The board as data; analysis.render shows it."""

    title: str
    summary: Table                      # one row per method, over pairs
    pairs: Table                        # one row per pair and method
    missing: tuple[str, ...]            # what an unfinished study lacks; empty where all planned results are in
    warnings: tuple[str, ...]           # what a reader must know before believing it
    footer: tuple[tuple[str, str], ...]

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    def _repr_markdown_(self) -> str:
        from analysis.render import to_markdown  # it builds on this file

        return to_markdown(self)


def build(results: Results) -> Leaderboard:
    """The leaderboard of what lies in the tables now."""
    facts = results.rows(_list_queries())
    plans = read_plans(facts["studies"])
    arms = read_arms(facts["arms"], plans.values())
    pairs = find_pairs(arms, plans.values())
    teachers = {row["teacher_id"]: row["test_top1"] for row in facts["teachers"]}
    summaries = _summarise(_fill_cells(pairs, arms, teachers))
    return Leaderboard(
        title=", ".join(plan.name for plan in plans.values()),
        summary=Table(("method",), SUMMARY_COLUMNS, tuple(_summary_row(summary) for summary in summaries)),
        pairs=_pair_table(pairs, summaries, plans),
        missing=tuple(find_missing(arms, plans)),
        warnings=tuple(find_warnings(facts, arms, plans)),
        footer=tuple(build_footer(facts, plans)),
    )


def _list_queries() -> dict[str, str]:
    """All that a board is made of, to be asked of one state of the study."""
    return QUERIES | {
        "studies": "SELECT * FROM studies ORDER BY created_at, study_id",
        "arms": select_arms({column.name: column.value for column in PAIR_COLUMNS if isinstance(column.value, str)}),
        "teachers": "SELECT teacher_id, test_top1 FROM teachers",
    }


def _fill_cells(pairs: Sequence[Pair], arms: Sequence[Arm], teachers: Mapping[str, float | None]) -> list[Cell]:
    """One cell per pair and label, whether or not there is anything in it."""
    labels = list(dict.fromkeys(arm.label for arm in arms))
    cells = []
    for pair in pairs:
        shown = find_arms(pair, arms)
        plain = shown[PLAIN].seeds if PLAIN in shown else []
        cells += [Cell(pair, label, shown.get(label), plain, teachers.get(pair.teacher_id)) for label in labels]
    return cells


def _summarise(cells: Sequence[Cell]) -> list[Summary]:
    """Methods: plain training as the reference, then full coverage before partial, then by pooled gap closed."""
    labels = list(dict.fromkeys(cell.label for cell in cells))
    means: dict[str, dict[Pair, float]] = {}
    for cell in cells:
        if cell.seeds:  # a method without any result would leave no pair common to all
            means.setdefault(cell.label, {})[cell.pair] = statistics.mean(cell.seeds)
    ranks, _ = statistics.mean_ranks(means)
    summaries = [Summary(label, [c for c in cells if c.label == label], ranks.get(label)) for label in labels]
    return sorted(summaries, key=_order)


def _order(summary: Summary) -> tuple[bool, int, float, float]:
    pooled = summary.pooled_gap_closed()
    gain = statistics.mean(summary.gains)
    worst = float("inf")
    return (
        summary.label != PLAIN,
        -len(summary.covered),
        worst if pooled is None else -pooled,
        worst if gain is None else -gain,
    )


def _summary_row(summary: Summary) -> dict[str, Any]:
    return {"method": summary.label} | {column.name: column.value(summary) for column in SUMMARY_COLUMNS}


def _pair_table(pairs: Sequence[Pair], summaries: Sequence[Summary], plans: Mapping[str, Plan]) -> Table:
    """Pair by pair, methods in the summary's order; a method that its study has elsewhere is shown as missing."""
    cells = [summary.cells[number] for number in range(len(pairs)) for summary in summaries]
    studied = {(cell.pair.study_id, cell.label) for cell in cells if cell.arm}
    rows = [_pair_row(cell, plans) for cell in cells if (cell.pair.study_id, cell.label) in studied]
    return Table(("study", "data", "teacher", "teacher_id", "student", "method"), PAIR_COLUMNS, tuple(rows))


def _pair_row(cell: Cell, plans: Mapping[str, Plan]) -> dict[str, Any]:
    plan = plans.get(cell.pair.study_id)
    keys = {
        "study": plan.name if plan else cell.pair.study_id,
        "data": cell.pair.data,
        "teacher": cell.pair.teacher,
        "teacher_id": cell.pair.teacher_id,
        "student": cell.pair.student,
        "method": cell.label,
    }
    return keys | {column.name: _measure(column, cell) for column in PAIR_COLUMNS}


def _measure(column: Column, cell: Cell) -> Any:
    if isinstance(column.value, str):
        return cell.arm.measured.get(column.name) if cell.arm else None
    return column.value(cell)
