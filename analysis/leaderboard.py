"""The leaderboard: every method on every pair, and over pairs, measured on test with fresh seeds.

Columns of a pair are in cells.py, those over pairs and the verdicts in over_pairs.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import significance, statistics
from analysis.answer import Answer
from analysis.arms import Arm, Pair, Plan, find_arms, find_pairs, read_arms, read_plans, select_arms
from analysis.caveats import find_warnings
from analysis.cells import PAIR_COLUMNS, Cell, Column, measure
from analysis.footer import QUERIES, Facts, build_footer, find_missing
from analysis.over_pairs import (
    ROPE,
    SUMMARY_COLUMNS,
    VERDICT_COLUMNS,
    average,
    describe_gaps,
    draw_profiles,
    find_disagreement,
    judge,
    summarise,
)
from analysis.queries import Results

PLAIN = "ce"  # the label of plain training, which every gain is measured from


@dataclass(frozen=True)
class Table:
    """Rows with a fixed set of columns; a missing value is None."""

    keys: tuple[str, ...]               # columns that say what a row is of
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.rows), columns=[*self.keys, *(column.name for column in self.columns)])


_PROFILE_COLUMNS = (Column("share", "", "share", "pairs and seeds whose gain over the plain mean is larger"),)


@dataclass(frozen=True)
class Leaderboard:
    """The board as data; analysis.render shows it."""

    title: str
    summary: Table                      # one row per method, over pairs
    verdicts: Table                     # one row per method but the plain one: what may be concluded
    pairs: Table                        # one row per pair and method
    profiles: Table                     # one row per method and gain: performance profiles
    missing: tuple[str, ...]            # what an unfinished study lacks; empty where all planned results are in
    warnings: tuple[str, ...]           # what a reader must know before believing it
    footer: tuple[tuple[str, str], ...]
    plain: str = PLAIN                  # label of the reference
    published: Answer | None = None     # ours beside the literature; None where it was not asked for

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    def _repr_markdown_(self) -> str:
        from analysis.render import to_markdown  # it builds on this file

        return to_markdown(self)


def build(results: Results) -> Leaderboard:
    """The leaderboard of what lies in the tables now."""
    facts = results.rows(QUERIES | _CELL_QUERIES)
    plans, arms = _read(facts)
    return assemble(
        _fill_cells(facts, plans, arms),
        title=", ".join(plan.name for plan in plans.values()),
        footer=tuple(build_footer(facts, plans)),
        warnings=tuple(find_warnings(facts, arms, plans, plain=PLAIN)),
        missing=tuple(find_missing(arms, plans)),
        names={study_id: plan.name for study_id, plan in plans.items()},
    )


def assemble(
    cells: Sequence[Cell],
    *,
    title: str,
    footer: Sequence[tuple[str, str]],
    warnings: Sequence[str] = (),
    missing: Sequence[str] = (),
    plain: str = PLAIN,
    plain_sd: float | None = None,
    names: Mapping[str, str] | None = None,
) -> Leaderboard:
    """The leaderboard of cells: one per pair and label, in the order of the pairs.

    plain: the label that gains are measured from. plain_sd: the spread over seeds that is assumed of a plain student
    with one value alone, as published ones have. names: study_id -> how the study is called.
    """
    cells = [dataclasses.replace(cell, plain_sd=plain_sd) for cell in _mark_best(cells)]
    summaries = summarise(cells, plain=plain)
    verdicts = judge(cells, summaries, plain=plain)
    disagreement = find_disagreement(summaries)
    return Leaderboard(
        title=title,
        summary=_build_table(("method",), SUMMARY_COLUMNS, [({"method": s.label}, s) for s in summaries]),
        verdicts=_build_table(("method",), VERDICT_COLUMNS, [({"method": v.label}, v) for v in verdicts]),
        pairs=_pair_table(cells, [summary.label for summary in summaries], names or {}),
        profiles=Table(("method", "gain"), _PROFILE_COLUMNS, tuple(draw_profiles(summaries))),
        missing=tuple(missing),
        warnings=(*warnings, *describe_gaps(cells, plain=plain), *([disagreement] if disagreement else [])),
        footer=(*footer, *_describe_tests(cells, len(verdicts))),
        plain=plain,
    )


def read_cells(results: Results) -> tuple[list[Cell], dict[str, str]]:
    """One cell per pair and label, whether or not there is anything in it; and what each study_id is called."""
    facts = results.rows(_CELL_QUERIES)
    plans, arms = _read(facts)
    return _fill_cells(facts, plans, arms), {study_id: plan.name for study_id, plan in plans.items()}


_CELL_QUERIES = {
    "studies": "SELECT * FROM studies ORDER BY created_at, study_id",
    "arms": select_arms({column.name: column.value for column in PAIR_COLUMNS if isinstance(column.value, str)}),
    "teachers": "SELECT teacher_id, test_top1 FROM teachers",
}


def _read(facts: Facts) -> tuple[dict[str, Plan], list[Arm]]:
    plans = read_plans(facts["studies"])
    return plans, read_arms(facts["arms"], plans.values())


def _fill_cells(facts: Facts, plans: Mapping[str, Plan], arms: Sequence[Arm]) -> list[Cell]:
    teachers = {row["teacher_id"]: row["test_top1"] for row in facts["teachers"]}
    labels = list(dict.fromkeys(arm.label for arm in arms))
    cells = []
    for pair in find_pairs(arms, plans.values()):
        shown = find_arms(pair, arms)
        plain = shown.get(PLAIN)
        for label in labels:
            arm = shown.get(label)
            seeds, plain_seeds = (found.seeds if found else [] for found in (arm, plain))
            cells.append(Cell(
                pair, label, seeds, plain_seeds, teachers.get(pair.teacher_id), arm, plain_arm=plain
            ))
    return cells


def _mark_best(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each with the seeds of its pair's best method."""
    best: dict[Pair, Cell] = {}
    for cell in cells:
        if cell.seeds and (cell.pair not in best or _mean(cell) > _mean(best[cell.pair])):
            best[cell.pair] = cell
    return [dataclasses.replace(cell, best=best[cell.pair].seeds if cell.pair in best else ()) for cell in cells]


def _mean(cell: Cell) -> float:
    return statistics.mean(cell.seeds)


def _build_table(keys: tuple[str, ...], columns: Sequence[Column], things: Sequence[tuple[dict, Any]]) -> Table:
    rows = [key | {column.name: column.value(thing) for column in columns} for key, thing in things]
    return Table(keys, tuple(columns), tuple(rows))


def _pair_table(cells: Sequence[Cell], labels: Sequence[str], names: Mapping[str, str]) -> Table:
    """Pair by pair, methods in the summary's order; a method that its study has elsewhere is shown as missing."""
    studied = {(cell.pair.study_id, cell.label) for cell in cells if cell.arm or cell.seeds}
    rows = [
        _pair_row(cell, names)
        for _, group in itertools.groupby(cells, key=lambda cell: cell.pair)
        for cell in sorted(group, key=lambda cell: labels.index(cell.label))
        if (cell.pair.study_id, cell.label) in studied
    ]
    return Table(("study", "data", "teacher", "teacher_id", "student", "method"), PAIR_COLUMNS, tuple(rows))


def _pair_row(cell: Cell, names: Mapping[str, str]) -> dict[str, Any]:
    keys = {
        "study": names.get(cell.pair.study_id, cell.pair.study_id),
        "data": cell.pair.data,
        "teacher": cell.pair.teacher,
        "teacher_id": cell.pair.teacher_id,
        "student": cell.pair.student,
        "method": cell.label,
    }
    return keys | {column.name: measure(column, cell) for column in PAIR_COLUMNS}


def _describe_tests(cells: Sequence[Cell], num_verdicts: int) -> list[tuple[str, str]]:
    """How the methods were compared over pairs, and on which of them."""
    means = average(cells)
    _, common = statistics.mean_ranks(means)
    num_pairs = len({cell.pair for cell in cells})
    lines = [("ranks", f"on the {len(common)} of {num_pairs} pairs that every method has; ties share theirs")]
    if (found := significance.friedman(means)) is not None:
        lines.append(("friedman", f"chi2 {found.statistic:.2f}, p {found.p:.3g}: {found.num_methods} methods, "
                                  f"{found.num_pairs} pairs; p is rough for few pairs"))
    if num_verdicts:
        lines.append(("verdicts", f"intervals over pairs: bootstrap of the seeds of each pair, too narrow for few: at "
                                  f"3, 95 % hold the truth 87 times in 100; p: Wilcoxon signed-rank over pairs, Holm "
                                  f"over {num_verdicts}; probabilities: Bayesian signed-rank, practically equal within "
                                  f"{100 * ROPE:g} pp"))
    num_students = len({(cell.pair.study_id, cell.pair.data, cell.pair.student) for cell in cells})
    if num_students < num_pairs:
        lines.append(("shared", f"{num_pairs} pairs have {num_students} students. What has no teacher is one result in "
                                f"all pairs of its student: a verdict counts it once, ranks and means once a pair. "
                                f"Tests take pairs for independent; those of one student share the plain one, so their "
                                f"p is too small"))
    return lines
