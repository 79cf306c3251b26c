"""What an arm searched, as its study wrote it, and how its values are cut into cells.

    {log: [low, high]}   {range: [low, high]}   {int: [low, high]}   {choice: [...]}     and `steps: n` for a grid
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = float | int | str | bool

_MOST_POINTS = 20   # of a grid that are shown one by one; chosen by hand
_EDGE_DIGITS = 12   # of an edge: 8 ** (2 / 3) is 4 and a bit, and a trial at 4.0 belongs into the cell that begins at 4


@dataclass(frozen=True)
class Range:
    """One searched setting. `low` and `high` are of numbers, `values` of choices."""

    kind: str                           # log, range, int or choice
    low: Value = 0.0
    high: Value = 0.0
    values: tuple[Value, ...] = ()
    steps: int | None = None            # points that a grid takes

    @property
    def varies(self) -> bool:
        """Whether there is more than one value to try."""
        return len(self.values) > 1 if self.kind == "choice" else self.low < self.high

    def contains(self, value: Value) -> bool:
        if self.kind == "choice":
            return value in self.values
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    def straighten(self, value: Value) -> Value:
        """The value on the scale on which the search draws evenly: its logarithm where that is logarithmic."""
        return math.log(value) if self.kind == "log" else value

    def describe(self) -> str:
        """As a study file writes it, without the brackets."""
        if self.kind == "choice":
            return f"choice {', '.join(map(format_setting, self.values))}"
        return f"{self.kind} {format_setting(self.low)} to {format_setting(self.high)}"


@dataclass(frozen=True)
class Cells:
    """Consecutive parts of a range: (low, high) of each, equal where it is a single value.

    A part of real numbers holds its low end and not its high one, the last one both; of whole numbers, both.
    """

    parts: tuple[tuple[Value, Value], ...]

    def find(self, value: Value) -> int:
        """The place of the part that holds the value, which the range must contain."""
        if (value, value) in self.parts:
            return self.parts.index((value, value))
        lows = [low for low, _ in self.parts]
        if all(low == high for low, high in self.parts):    # a grid's points, equal to its trials' but for rounding
            return min(range(len(lows)), key=lambda place: abs(lows[place] - value))
        return bisect.bisect_right(lows, value) - 1


def parse(written: Mapping[str, Any]) -> Range:
    """The range of a study's resolved plan. ValueError if it is none."""
    for kind in ("log", "range", "int"):
        if kind in written:
            low, high = written[kind]
            return Range(kind, low, high, steps=written.get("steps"))
    if "choice" in written:
        return Range("choice", values=tuple(written["choice"]))
    raise ValueError(f"{dict(written)!r} is not a range\n\nhint: known are log, range, int and choice")


def count_parts(searched: Range, *, grid: bool) -> int | None:
    """How many parts the range has by itself: choices, or the points of a grid. None where it is to be cut."""
    if searched.kind == "choice":
        return len(searched.values)
    count = searched.steps if searched.kind != "int" else searched.high - searched.low + 1
    return count if grid and count is not None and count <= _MOST_POINTS else None


def cut(searched: Range, num_cells: int, *, grid: bool) -> Cells:
    """At most `num_cells` parts, equal on the range's own scale; one per value for a choice, or where a grid is tried.

    Whole numbers are never split: their parts differ by one number at most.
    """
    if searched.kind == "choice":
        return Cells(tuple((value, value) for value in searched.values))
    num_points = count_parts(searched, grid=grid)
    if searched.kind == "int":
        return _cut_whole(searched, num_points or num_cells)
    if num_points:
        return _surround(searched)
    edges = _spread(searched, num_cells)
    return Cells(tuple(itertools.pairwise(edges)))


def format_setting(value: Value) -> str:
    """A setting's value as a person reads it: three figures."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_part(low: Value, high: Value) -> str:
    """A part of a range as a person reads it."""
    return format_setting(low) if low == high else f"{format_setting(low)} to {format_setting(high)}"


def _cut_whole(searched: Range, num_cells: int) -> Cells:
    count = searched.high - searched.low + 1
    parts = min(num_cells, count)
    begins = [searched.low + count * part // parts for part in range(parts + 1)]
    return Cells(tuple((low, after - 1) for low, after in itertools.pairwise(begins)))


def _surround(searched: Range) -> Cells:
    """The points of a grid, each a part by itself."""
    points = _spread(searched, searched.steps - 1)
    return Cells(tuple((point, point) for point in points))


def _spread(searched: Range, num_parts: int) -> tuple[float, ...]:
    """The ends of `num_parts` equal parts, from low to high, both exact."""
    low, high = searched.straighten(searched.low), searched.straighten(searched.high)
    inner = (low + (high - low) * part / num_parts for part in range(1, num_parts))
    back = (math.exp(place) if searched.kind == "log" else place for place in inner)
    return (searched.low, *(float(f"{place:.{_EDGE_DIGITS}g}") for place in back), searched.high)
