"""The anchors of a published number: how good its teacher and its plain student were."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from analysis.published.literature import Result, load

# CRD's table, whose checkpoints of teachers most others took over (mdistiller among them, which prints no anchors)
USUAL = "RepDistiller"


class Anchors(NamedTuple):
    """Top-1 of teacher and plain student as fractions, and the source that prints them; None where nobody does."""

    teacher_top1: float | None
    student_top1: float | None
    source: str | None


def find_anchors(result: Result) -> Anchors:
    """Those that the result's own source prints; else CRD's for the pair; else none."""
    if result.teacher_top1 is not None or result.student_top1 is not None:
        return Anchors(result.teacher_top1, result.student_top1, result.source)
    return _usual().get(result.pair, Anchors(None, None, None))


@cache
def _usual() -> dict[tuple[str, str | None, str], Anchors]:
    rows = [result for result in load() if result.source == USUAL]
    return {row.pair: Anchors(row.teacher_top1, row.student_top1, USUAL) for row in rows}
