"""Pictures of a search as SVG text: best so far by cost, validation by epoch, the best to expect of n draws.

Each draws an answer of analysis.curves, one panel per pair, one colour per method. What is drawn are summaries, so ten
thousand trials make no larger a picture than ten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.answer import Answer
from analysis.arm_rows import Row, group_by_pair
from analysis.drawing import PANEL_INCHES, PANELS_A_ROW, STYLE, colour_methods, label_axes, to_svg
from analysis.writing import write_whole

_LEGEND_INCHES = 0.3
_MARKED = 40        # points of a line that are still told apart; chosen by hand
_RISE = 0.5        # part of the epochs whose values may lie below the axis, where curves do little but rise; by hand

Drawing = Callable[[Axes, Sequence[Row], str], list[float]]  # draws a method's rows; values to be seen


def draw_budget(answer: Answer, *, colours: Mapping[str, str] | None = None) -> str | None:
    """Best validation top-1 so far by what the search had cost; dotted: the smallest budget of the pair's arms.

    None where no trial completed. colours: by method, with no legend in the picture; None: its own, with one.
    """
    cost = next(field for field in answer.fields if field.name in _COSTS)
    most = max((row[cost.name] or 0 for row in answer.rows), default=0)
    divisor, unit = _choose_unit(most) if cost.unit == "s" else (1, "epochs")

    def draw(axis: Axes, rows: Sequence[Row], colour: str) -> list[float]:
        return _draw_steps(axis, [(row[cost.name] / divisor, row["val_top1"]) for row in rows], colour)

    def mark(axis: Axes, methods: Mapping[str, Sequence[Row]]) -> None:
        common = min(rows[-1][cost.name] for rows in methods.values()) / divisor
        axis.axvline(common, color="#222222", lw=0.8, ls=":", zorder=0)
        axis.set_xlim(left=0)

    return _draw(answer, draw, x=f"{_COSTS[cost.name]}, {unit}", colours=colours, mark=mark)


def draw_learning(answer: Answer, *, colours: Mapping[str, str] | None = None) -> str | None:
    """Validation top-1 by epoch: strong the arm's best trial, thin the median, shaded the quartiles.

    None where nothing was validated. colours: as in `draw_budget`.
    """

    def draw(axis: Axes, rows: Sequence[Row], colour: str) -> list[float]:
        epochs = [row["epoch"] for row in rows]
        lower, median, upper, best = ([_to_per_cent(row[name]) for row in rows]
                                      for name in ("lower", "median", "upper", "best"))
        axis.fill_between(epochs, lower, upper, color=colour, alpha=0.12, lw=0)
        axis.plot(epochs, median, color=colour, lw=0.8, ls="--")
        axis.plot(epochs, best, color=colour, lw=1.8)
        later = [place for place, epoch in enumerate(epochs) if epoch > _RISE * epochs[-1]]
        return [line[place] for line in (lower, upper, best) for place in later if not math.isnan(line[place])]

    return _draw(answer, draw, x="epoch", colours=colours)


def draw_expected(answer: Answer, *, colours: Mapping[str, str] | None = None) -> str | None:
    """Expected best validation top-1 of n random trials by what they cost. None without any; colours: as above."""
    most = max((row["seconds"] for row in answer.rows), default=0)
    divisor, unit = _choose_unit(most)

    def draw(axis: Axes, rows: Sequence[Row], colour: str) -> list[float]:
        values = [_to_per_cent(row["val_top1"]) for row in rows]
        marker = "o" if len(rows) <= _MARKED else None
        axis.plot([row["seconds"] / divisor for row in rows], values, color=colour, lw=1.6, marker=marker, ms=2.5)
        axis.set_xlim(left=0)
        return values

    return _draw(answer, draw, x=f"n trials cost, {unit}", colours=colours)


def write_svg(picture: str | None, path: Path) -> None:
    """Writes the picture as a file of its own, whole or not at all. ValueError if there is none, or the file exists."""
    if picture is None:
        raise ValueError(f"{path}: there is nothing to draw yet\n\nhint: a value counts when its trial completes")
    if path.exists():
        raise ValueError(f"{path}: exists\n\nhint: name a new file; no picture is replaced")
    write_whole(path, f'<?xml version="1.0" encoding="utf-8"?>\n{picture}')


def _draw(
    answer: Answer, draw: Drawing, *, x: str, colours: Mapping[str, str] | None,
    mark: Callable[[Axes, Mapping[str, Sequence[Row]]], None] | None = None,
) -> str | None:
    """One panel per pair; None where no value is drawn in any."""
    pairs = group_by_pair(answer.rows)
    several = len({pair[0] for pair in pairs}) > 1
    own = colours or colour_methods(list(dict.fromkeys(row["method"] for row in answer.rows)))
    with mpl.rc_context(STYLE | {"svg.hashsalt": answer.title}):
        figure, axes = _grid(len(pairs), legend=colours is None)
        drawn = []
        for axis, (pair, methods) in zip(axes, pairs.items(), strict=True):
            values = [value for method, rows in methods.items() for value in draw(axis, rows, own[method])]
            if mark is not None:
                mark(axis, methods)
            _limit(axis, values)
            label_axes(axis, _to_title(pair, several=several), x, "val top-1, %")
            drawn += values
        if colours is None:
            shown = dict.fromkeys(method for methods in pairs.values() for method in methods)
            _add_legend(figure, {method: own[method] for method in shown})
        return to_svg(figure) if drawn else None


def _draw_steps(axis: Axes, steps: Sequence[tuple[float, float | None]], colour: str) -> list[float]:
    """A line that rises at each better value and ends with the budget."""
    known = [(x, _to_per_cent(value)) for x, value in steps if value is not None]
    if not known:
        return []
    better = [point for number, point in enumerate(known) if not number or point[1] > known[number - 1][1]]
    xs, values = zip(*better, known[-1], strict=True)
    axis.step(xs, values, where="post", color=colour, lw=1.6)
    axis.plot(xs[:-1], values[:-1], "o", color=colour, ms=3)
    return list(values)


def _grid(num_panels: int, *, legend: bool) -> tuple[Figure, list[Axes]]:
    columns = max(1, min(num_panels, PANELS_A_ROW))
    rows = max(1, -(-num_panels // columns))
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + _LEGEND_INCHES * legend)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[num_panels:]:
        axis.set_axis_off()
    return figure, list(axes[:num_panels])


def _add_legend(figure: Figure, colours: Mapping[str, str]) -> None:
    lines = [Line2D([], [], color=colour, lw=2) for colour in colours.values()]
    # a label that begins with an underscore would be left out, did it not come with its line
    figure.legend(lines, list(colours), loc="outside lower center", ncols=max(1, min(len(colours), 6)))


def _limit(axis: Axes, values: Sequence[float]) -> None:
    """An axis that holds these values and little else."""
    if values and max(values) > min(values):
        margin = 0.05 * (max(values) - min(values))
        axis.set_ylim(min(values) - margin, max(values) + margin)


def _to_title(pair: Sequence[str | None], *, several: bool) -> str:
    study, data, teacher, _, student = pair
    models = f"{teacher} →\n{student}" if teacher is not None else student  # two lines: neighbours' titles touch
    return f"{study}, {data}: {models}" if several else f"{data}: {models}"


def _to_per_cent(value: float | None) -> float:
    return math.nan if value is None else 100 * value


def _choose_unit(seconds: float) -> tuple[int, str]:
    """What to divide seconds by and what they are then."""
    return (1, "s") if seconds < 600 else (60, "min") if seconds < 36_000 else (3600, "h")


_COSTS = {"seconds": "search so far", "epochs": "search so far", "device_seconds": "search on accelerators so far"}
