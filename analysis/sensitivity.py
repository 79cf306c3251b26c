"""How validation top-1 goes with two settings, arm by arm: the mean of the trials in each cell, and how many there are.

A cell's trials differ in the other settings too. Nothing is drawn through empty cells: they stay empty.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import stats

from analysis import statistics
from analysis.answer import Answer, Field
from analysis.arm_rows import ARM_KEYS
from analysis.names import describe_unknown
from analysis.queries import Results
from analysis.ranges import Cells, count_parts, cut, format_part
from analysis.searches import Search, describe_arms, describe_untold, read_searches

# Which two of an arm's settings are shown unless told: what a method softens and weighs by, then its other settings in
# the order of their names, then how it is trained. Chosen by hand.
_FIRST = ("temperature", "weight", "gamma", "beta", "alpha", "smoothing", "power")
_LAST = ("lr", "weight_decay", "momentum", "batch_size")

_TRIALS_A_CELL = 3          # on average, were they spread evenly: fewer have no spread to speak of. Chosen by hand
_MOST_BINS = 10             # that can be asked for: more leave no room for a number in a cell. Chosen by hand
_LEVEL = 0.975              # two-sided 95 %
_CELLS_AN_AXIS = (2, 8)     # chosen by hand: what a terminal and an eye can hold

Row = Mapping[str, Any]

_FIELDS = (
    Field("val_top1_mean", "fraction", "mean validation top-1 of the cell's trials", "high"),
    Field("val_top1_sd", "fraction", "its standard deviation over them"),
    Field("val_top1_best", "fraction", "the best of them: the more trials, the luckier"),
    Field("num_trials", "", "the cell's trials that ran to the end"),
    Field("num_unfinished", "", "those that did not, stopped early, diverged or failed; they are in no mean"),
)


def measure(
    results: Results, *, x: str | None = None, y: str | None = None, method: str | None = None, bins: int | None = None
) -> Answer:
    """A row per arm and cell, x within y; a cell without a trial that ran to the end has no mean.

    x, y: settings; by default the arm's first two of temperature, weight, gamma, beta, alpha, smoothing, power, its
    other settings, and those of training. An arm that searched one setting alone has no y. method: one label alone.
    bins: parts of a range of numbers, by default as many as leave 3 trials to a cell on average, 2 to 8; a choice, or
    a grid, has a part for each value. A part holds its low end and not its high one, the last one both; of whole
    numbers, both. ValueError for an unknown name.
    """
    if bins is not None and not 2 <= bins <= _MOST_BINS:
        raise ValueError(f"bins: {bins} is not among 2 to {_MOST_BINS}\n\nhint: leave it out to go by the trials")
    searches = read_searches(results, method=method)
    _check_names(searches, x, y)
    chosen = [(search, _choose_axes(search, x, y)) for search in searches]
    shown = [(search, axes) for search, axes in chosen if axes and search.tried]
    trials = _count_trials(searches)
    measured = [_measure_arm(search, axes, bins, num_trials=trials[search.group]) for search, axes in shown]
    return Answer(
        title="Validation top-1 by setting, arm by arm",
        keys=(*ARM_KEYS, "x", "x_low", "x_high", "y", "y_low", "y_high"),
        fields=_FIELDS,
        rows=tuple(itertools.chain(*measured)),
        notes=(
            *(note for (search, _), rows in zip(shown, measured, strict=True) for note in _describe_best(search, rows)),
            *describe_arms([search for search, _ in shown], [_find_weakness(rows) for rows in measured]),
            *describe_arms(searches, [_find_obstacle(search, axes) for search, axes in chosen]),
            *describe_untold(searches),
            *_describe_reading(shown),
        ),
    )


def _count_trials(searches: Sequence[Search]) -> dict[tuple[str, str], float]:
    """Completed trials of an arm, the mean over its method's arms: so that all pairs have the same cells."""
    counts = defaultdict(list)
    for search in searches:
        counts[search.group].append(len(search.completed))
    return {group: statistics.mean(found) for group, found in counts.items()}


def _check_names(searches: Sequence[Search], x: str | None, y: str | None) -> None:
    known = {name for search in searches for name in search.ranges}
    for name in (x, y):
        if name is not None and name not in known:
            raise ValueError(describe_unknown("searched setting", name, known))
    if x is not None and x == y:
        raise ValueError(f"x and y are both {x}\n\nhint: known: {', '.join(sorted(known))}")


def _choose_axes(search: Search, x: str | None, y: str | None) -> tuple[str, ...]:
    """The names of x and y, of x alone where the arm has one setting, or none where it lacks one that was asked for."""
    asked = [name for name in (x, y) if name is not None]
    if any(name not in search.ranges for name in asked):
        return ()
    others = [name for name in sorted(search.ranges, key=_rank) if name not in asked]
    if x is None and y is not None:
        return (others[0], y) if others else (y,)
    return tuple([*asked, *others][:2])


def _rank(name: str) -> tuple[int, str]:
    if name in _FIRST:
        return _FIRST.index(name), name
    return len(_FIRST) + (1 + _LAST.index(name) if name in _LAST else 0), name


def _measure_arm(
    search: Search, axes: Sequence[str], bins: int | None, *, num_trials: float
) -> list[dict[str, Any]]:
    cells = _cut_axes(search, axes, bins, num_trials=num_trials)
    values: Mapping[tuple[int, ...], list[float]] = defaultdict(list)
    unfinished: Mapping[tuple[int, ...], int] = defaultdict(int)
    for trial in search.tried:
        place = tuple(cells[name].find(trial.settings[name]) for name in axes)
        if trial.val_top1 is None:
            unfinished[place] += 1
        else:
            values[place].append(trial.val_top1)
    places = itertools.product(*(range(len(cells[name].parts)) for name in reversed(axes)))
    return [
        {**search.keys, **_describe_place(cells, axes, place), **_measure_cell(values[place], unfinished[place])}
        for place in (tuple(reversed(backwards)) for backwards in places)
    ]


def _cut_axes(search: Search, axes: Sequence[str], bins: int | None, *, num_trials: float) -> dict[str, Cells]:
    grid = search.sampler == "grid"
    given = [count_parts(search.ranges[name], grid=grid) for name in axes]
    num_exact = math.prod(count for count in given if count is not None)
    num_cells = bins or _choose_bins(num_trials / num_exact, given.count(None))
    return {name: cut(search.ranges[name], num_cells, grid=grid) for name in axes}


def _choose_bins(num_trials: float, num_axes: int) -> int:
    """Parts of each of the axes that are cut, for so many trials in all."""
    least, most = _CELLS_AN_AXIS
    along = (num_trials / _TRIALS_A_CELL) ** (1 / max(1, num_axes))
    return min(most, max(least, math.floor(along + 1e-9)))  # a root may fall short of its whole number by rounding


def _describe_place(cells: Mapping[str, Cells], axes: Sequence[str], place: Sequence[int]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for axis, name, part in itertools.zip_longest(("x", "y"), axes, place):
        low, high = (None, None) if name is None else cells[name].parts[part]
        told |= {axis: name, f"{axis}_low": low, f"{axis}_high": high}
    return told


def _measure_cell(values: Sequence[float], num_unfinished: int) -> dict[str, Any]:
    return {
        "val_top1_mean": statistics.mean(values),
        "val_top1_sd": statistics.sd(values),
        "val_top1_best": max(values, default=None),
        "num_trials": len(values),
        "num_unfinished": num_unfinished,
    }


def _find_solid(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["num_trials"] > 1]


def _find_weakness(rows: Sequence[Row]) -> str | None:
    if len(_find_solid(rows)) > 1:
        return None
    return "fewer than two cells have two trials that ran to the end, so none can be told apart"


def _describe_best(search: Search, rows: Sequence[Row]) -> Iterator[str]:
    """Where the best mean is, and how many cells cannot be told from it. Nothing where `_find_weakness` speaks."""
    solid = _find_solid(rows)
    if len(solid) > 1:
        best = max(solid, key=lambda row: row["val_top1_mean"])
        noise = _measure_noise(solid)
        alike = [row for row in solid if best["val_top1_mean"] - row["val_top1_mean"] <= noise * _spread(best, row)]
        where = ", ".join(
            f"{best[axis]} {format_part(best[f'{axis}_low'], best[f'{axis}_high'])}" for axis in "xy" if best[axis]
        )
        told = f"best mean {best['val_top1_mean']:.2%} at {where} ({best['num_trials']} trials)"
        yield (f"{search.name}: {told}; of the {len(solid) - 1} other cells with two trials or more, "
               f"{len(alike) - 1} cannot be told from it")


def _measure_noise(solid: Sequence[Row]) -> float:
    """Student's t times the pooled sd within cells: half of the 95 % interval of a mean, but for 1/sqrt(n)."""
    freedom = sum(row["num_trials"] - 1 for row in solid)
    pooled = math.sqrt(sum((row["num_trials"] - 1) * row["val_top1_sd"] ** 2 for row in solid) / freedom)
    return float(stats.t.ppf(_LEVEL, freedom)) * pooled


def _spread(one: Row, other: Row) -> float:
    return math.sqrt(1 / one["num_trials"] + 1 / other["num_trials"])


def _find_obstacle(search: Search, axes: Sequence[str]) -> str | None:
    if not search.ranges:
        return "left out, no setting is searched"
    if not axes:
        return "left out, this setting is not searched"
    return None if search.tried else "left out, no trial of the search is final"


def _describe_reading(shown: Sequence[tuple[Search, Sequence[str]]]) -> Iterator[str]:
    if shown:
        yield "a cell's trials differ in the other settings too; told apart at 95 %, by the spread within cells"
    if any(search.unfinished for search, _ in shown):
        yield ("trials that did not run to the end are in no mean, their values are of smaller budgets: a cell that "
               "stopped most of its trials shows its luckiest")
