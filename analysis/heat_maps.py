"""Heat maps of validation top-1 by two settings, as SVG text, one panel per arm."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.answer import Answer
from analysis.drawing import STYLE, label_axes, to_svg
from analysis.maps import HeatMap, Part, choose_colour, choose_ink, label_parts, list_maps
from analysis.ranges import format_setting

CAPTION = (
    "Mean validation top-1 (%) of the searched trials that ran to the end, and how many they are. Hatched: one trial, "
    "which may be luck. Grey: none ran to the end, and how many were stopped early, diverged or failed. Blank: never "
    "tried. Colours compare cells within a panel."
)

_PANELS_A_ROW = 3
_PANEL_INCHES = (3.6, 3.0)
_STRIP_INCHES = 1.35        # of a row of panels with one setting each
_TITLE_LETTERS = 34         # that fit into one line above a panel; measured
_LABEL_LETTERS = 30         # that fit below one; measured
_TEXT_UP_TO = 10            # cells along an axis that leave room for a number; measured
_SMALL_FROM = 6             # cells along an axis from which their text is small; chosen by hand
_SOFT = "#6b747d"
_FAINT = "#e6e9ec"


def draw_heat_maps(answer: Answer) -> str | None:
    """The maps of an answer of analysis.sensitivity. None where no trial ran to the end."""
    maps = [found for found in list_maps(answer) if any(row["num_trials"] for row in found.cells.values())]
    if not maps:
        return None
    with_study = len({found.keys["study"] for found in maps}) > 1
    rows = _arrange(maps)
    heights = [_PANEL_INCHES[1] if any(found.y for found in row) else _STRIP_INCHES for row in rows]
    with mpl.rc_context(STYLE | {"svg.hashsalt": "heat maps"}):
        figure = Figure(figsize=(_PANEL_INCHES[0] * _PANELS_A_ROW, sum(heights)), layout="constrained")
        axes = figure.subplots(len(rows), _PANELS_A_ROW, squeeze=False, height_ratios=heights)
        for line, row in zip(axes, rows, strict=True):
            for axis in line[len(row):]:
                axis.set_axis_off()
            for axis, found in zip(line, row, strict=False):
                _draw_map(axis, found, with_study=with_study)
        return to_svg(figure)


def _arrange(maps: Sequence[HeatMap]) -> list[list[HeatMap]]:
    """Rows of panels: those with two settings first, since a strip needs less height; each in the answer's order."""
    squares, strips = [found for found in maps if found.y], [found for found in maps if not found.y]
    return [
        kind[begin:begin + _PANELS_A_ROW] for kind in (squares, strips) for begin in range(0, len(kind), _PANELS_A_ROW)
    ]


def _draw_map(axis: Axes, found: HeatMap, *, with_study: bool) -> None:
    for (column, line), cell in found.cells.items():
        if cell["num_trials"]:
            _draw_cell(axis, found, column, line)
        elif cell["num_unfinished"]:
            axis.add_patch(Rectangle((column, line), 1, 1, facecolor=_FAINT, edgecolor="white", lw=1.2))
            axis.text(column + 0.5, line + 0.5, str(cell["num_unfinished"]), color=_SOFT, ha="center", va="center")
    axis.set(xlim=(0, len(found.x_parts)), ylim=(0, len(found.y_parts)))
    label_axes(axis, _break(found.describe(with_study=with_study)), _to_words(found.x), _to_words(found.y or ""))
    axis.grid(visible=False)
    axis.set_xticks(*_thin(*_find_ticks(found.x_parts)))
    axis.set_yticks(*(_find_ticks(found.y_parts) if found.y else ([], [])))


def _draw_cell(axis: Axes, found: HeatMap, column: int, line: int) -> None:
    cell = found.cells[column, line]
    colour = choose_colour(found.shade(cell["val_top1_mean"]))
    ink = tuple(part / 255 for part in choose_ink(colour))
    hatch = "////" if cell["num_trials"] == 1 else None
    face = tuple(part / 255 for part in colour)
    axis.add_patch(Rectangle((column, line), 1, 1, facecolor=face, edgecolor="white", lw=1.2))
    if hatch:
        axis.add_patch(Rectangle((column, line), 1, 1, fill=False, edgecolor=(*ink, 0.25), lw=0, hatch=hatch))
    if max(len(found.x_parts), len(found.y_parts)) > _TEXT_UP_TO:
        return
    size = 8 if max(len(found.x_parts), len(found.y_parts)) < _SMALL_FROM else 6.5
    about = {"color": ink, "ha": "center", "fontsize": size}
    axis.text(column + 0.5, line + 0.52, f"{100 * cell['val_top1_mean']:.1f}", va="bottom", weight="bold", **about)
    axis.text(column + 0.5, line + 0.46, f"n = {cell['num_trials']}", va="top", **about)


def _find_ticks(parts: Sequence[Part]) -> tuple[list[float], list[str]]:
    """At the edges where each part begins with the end of the one before, else in the middle of every part."""
    if all(left[1] == right[0] for left, right in itertools.pairwise(parts)):
        edges = [parts[0][0], *(high for _, high in parts)]
        return list(range(len(edges))), [format_setting(edge) for edge in edges]
    return [place + 0.5 for place in range(len(parts))], label_parts(tuple(parts))


def _thin(places: list[float], labels: list[str]) -> tuple[list[float], list[str]]:
    """Every second label where all of them would touch."""
    step = 2 if sum(map(len, labels)) > _LABEL_LETTERS else 1
    return places[::step], labels[::step]


def _to_words(name: str) -> str:
    return name.replace("_", " ")


def _break(title: str) -> str:
    """Two lines where one would touch the neighbour's."""
    if len(title) <= _TITLE_LETTERS:
        return title
    return title.replace(" → ", " →\n") if " → " in title else title.replace(": ", ":\n")
