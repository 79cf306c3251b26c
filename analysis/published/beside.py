"""Ours beside published: the same pair, the same method, the difference; never ranked together.

The anchors come first. Where our plain student is not the published one, the recipe is another, and what is compared
is what a method adds to its student (gain, gap closed) and not how good the student ends up. A number of the best epoch
on test is compared with ours of that kind alone.

A pair or a method is the published one where it has its very name: `resnet8x4(width=16)` is another model, and a label
of a study that is not the method's own name another variant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.answer import Answer, Field
from analysis.arms import read_plans
from analysis.leaderboard import Leaderboard
from analysis.published.anchors import Anchors, find_anchors
from analysis.published.best_epochs import BestTest, Key, read_best_test
from analysis.published.differences import (
    Comparison,
    Measured,
    Recipe,
    compare_best,
    compare_last,
    judge_recipe,
    read_measured,
    subtract,
)
from analysis.published.literature import ROLES, Result, find_name, find_source, load
from analysis.queries import Results

KEYS = ("study", "data", "teacher", "student", "method", "source")

FIELDS = (
    Field("ours", "fraction", "mean test top-1 over our seeds; of best test epochs where the published one is"),
    Field("ours_low", "fraction", "lower end of the mean's 95 % interval"),
    Field("ours_high", "fraction", "upper end of the mean's 95 % interval"),
    Field("num_seeds", "", "seeds of ours"),
    Field("published", "fraction", "top-1 as printed"),
    Field("difference", "difference", "ours minus published; none where the recipe is seen to differ"),
    Field("gain_difference", "difference",
          "our gain over the plain student minus the published one; none where the recipe is not seen to differ"),
    Field("gap_closed_difference", "difference", "the same of the gap closed"),
    Field("z", "", "the difference in standard errors, ours and the published one together"),
    Field("role", "text", "primary or reproduced, or quoted where that was asked for"),
    Field("selection", "text", "epoch that the published one is of"),
    Field("remark", "text", "what must be known before believing the difference"),
)


@dataclass(frozen=True)
class _Pair:
    """One pair of a board, with its rows by method."""

    study: str
    data: str
    teacher: str | None
    teacher_id: str | None
    student: str
    rows: Mapping[str, Mapping[str, Any]]
    plain: str

    @property
    def plain_student(self) -> Measured | None:
        return read_measured(self.rows.get(self.plain))

    @property
    def teacher_top1(self) -> float | None:
        return next(iter(self.rows.values()))["teacher_top1"]

    def __str__(self) -> str:
        return f"{self.data}: {self.teacher} → {self.student}" if self.teacher else f"{self.data}: {self.student}"


def put(board: Leaderboard, results: Results, *, source: str) -> Leaderboard:
    """The board with its comparison; source: whose numbers, or `all`."""
    name = None if source == "all" else source
    plans = read_plans(results.rows({"studies": "SELECT * FROM studies ORDER BY created_at, study_id"})["studies"])
    rules = {plan.name: plan.study["epoch_rule"] for plan in plans.values()}
    found = compare(board, source=name, best_test=read_best_test(results), epoch_rules=rules)
    return dataclasses.replace(board, published=found)


def compare(
    board: Leaderboard,
    *,
    source: str | None = None,
    best_test: BestTest | None = None,
    epoch_rules: Mapping[str, str | None] | None = None,
    roles: Sequence[str] = ("primary", "reproduced"),
) -> Answer:
    """Every pair of the board that the literature has: anchors first, then each method that both have.

    source: of the published numbers, all if None. best_test: from `read_best_test`. epoch_rules: which epoch the
    numbers of each study are of, by its name. roles: which numbers count; a quoted one is a copy of another.
    ValueError for a name that is not known.
    """
    name = None if source is None else find_source(source).source
    wanted = [find_name("role", role, ROLES) for role in roles]
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for pair in _list_pairs(board):
        results = [result for result in _find_results(pair, source=name) if result.role in wanted]
        rule = (epoch_rules or {}).get(pair.study)
        rows += _compare_pair(pair, results, best_test=best_test or {}, epoch_rule=rule)
        notes += _find_banners(pair, results)
    if rows:
        notes.append(f"shown beside ours and never ranked with them: {', '.join(wanted)}; `kdsweep published` has all")
    else:
        notes.append(f"none of these pairs is published{f' by {name}' if name else ''}; `kdsweep published` lists all")
    return Answer("Ours beside published", KEYS, FIELDS, tuple(rows), tuple(notes))


def _list_pairs(board: Leaderboard) -> list[_Pair]:
    """The board's pairs in its order."""
    found: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for row in board.pairs.rows:
        key = tuple(row[name] for name in ("study", "data", "teacher", "teacher_id", "student"))
        found.setdefault(key, {})[row["method"]] = row
    return [_Pair(*key, rows, board.plain) for key, rows in found.items()]


def _find_results(pair: _Pair, *, source: str | None) -> Iterator[Result]:
    for result in load():
        if result.pair == (pair.data, pair.teacher, pair.student) and source in (None, result.source):
            yield result


def _compare_pair(
    pair: _Pair, results: Sequence[Result], *, best_test: BestTest, epoch_rule: str | None
) -> Iterator[dict[str, Any]]:
    for anchors in _list_anchors(pair, results):
        yield from _compare_anchors(pair, anchors)
    for result in results:
        row = pair.rows.get(result.label)
        if row is None or result.label == pair.plain or row["test_top1_mean"] is None:
            continue
        anchors = find_anchors(result)
        recipe = judge_recipe(pair.plain_student, anchors.student_top1)
        if result.selection == "best_test":
            found = compare_best(result, _find_best(pair, result.label, best_test), recipe=recipe)
        else:
            found = compare_last(result, row, anchors=anchors, recipe=recipe, epoch_rule=epoch_rule)
        yield _to_row(pair, result, found)


def _list_anchors(pair: _Pair, results: Sequence[Result]) -> list[Anchors]:
    """What the published numbers that we compare with stand on; sources that agree are one."""
    shared = [result for result in results if result.label in pair.rows]
    sources: dict[tuple[float | None, float | None], dict[str, None]] = {}
    for found in map(find_anchors, shared or results):
        if found.source is not None:
            sources.setdefault(found[:2], {})[found.source] = None
    return [Anchors(*values, ", ".join(names)) for values, names in sources.items()]


def _compare_anchors(pair: _Pair, anchors: Anchors) -> Iterator[dict[str, Any]]:
    keys = {"study": pair.study, "data": pair.data, "teacher": pair.teacher, "student": pair.student}
    empty = dict.fromkeys(field.name for field in FIELDS)
    plain = pair.plain_student
    recipe = judge_recipe(plain, anchors.student_top1)
    if anchors.teacher_top1 is not None:
        yield {**keys, "method": "teacher", "source": anchors.source, **empty, "ours": pair.teacher_top1,
               "published": anchors.teacher_top1, "difference": subtract(pair.teacher_top1, anchors.teacher_top1)}
    if anchors.student_top1 is not None:
        yield {**keys, "method": f"student ({pair.plain})", "source": anchors.source, **empty, **_describe_ours(plain),
               "published": anchors.student_top1,
               "difference": subtract(plain.mean if plain else None, anchors.student_top1),
               "remark": f"recipe {recipe}" if recipe is not Recipe.alike else "recipe not seen to differ"}


def _find_banners(pair: _Pair, results: Sequence[Result]) -> Iterator[str]:
    """What the anchors forbid, for sources of which more than the plain student is compared."""
    plain = pair.plain_student
    methods = [result for result in results if result.label != pair.plain]
    for _, student_top1, source in _list_anchors(pair, methods):
        recipe = judge_recipe(plain, student_top1)
        if recipe is Recipe.differs:
            yield (f"the recipe differs: {pair}: our plain student has {100 * plain.mean:.2f}, that of {source} "
                   f"{100 * student_top1:.2f}, more than two standard errors of ours ({200 * plain.standard_error:.2f} "
                   "pp) away: compare gains and gap closed, not top-1")
        elif recipe is Recipe.unknown and student_top1 is not None:
            lack = "no plain student" if plain is None else "one seed of the plain student"
            yield (f"whether the recipe differs is unknown: {pair}: we have {lack}, that of {source} has "
                   f"{100 * student_top1:.2f}")


def _find_best(pair: _Pair, label: str, best_test: BestTest) -> list[float]:
    """The arm's own values, or those of its student where the arm has no teacher."""
    own = Key(pair.study, pair.data, pair.teacher_id, pair.student, label)
    return best_test.get(own) or best_test.get(own._replace(teacher_id=None)) or []


def _to_row(pair: _Pair, result: Result, found: Comparison) -> dict[str, Any]:
    remarks = [*found.remarks, *([result.note] if result.note else [])]
    return {
        "study": pair.study, "data": pair.data, "teacher": pair.teacher, "student": pair.student,
        "method": result.label, "source": result.source,
        **_describe_ours(found.ours),
        "published": result.top1,
        "difference": found.difference,
        "gain_difference": found.gain_difference,
        "gap_closed_difference": found.gap_closed_difference,
        "z": found.z,
        "role": result.role,
        "selection": result.selection,
        "remark": "; ".join(remarks) or None,
    }


def _describe_ours(ours: Measured | None) -> dict[str, Any]:
    if ours is None:
        return dict.fromkeys(("ours", "ours_low", "ours_high", "num_seeds"))
    return {"ours": ours.mean, "ours_low": ours.low, "ours_high": ours.high, "num_seeds": ours.num_seeds}

