"""Pictures of a board, and of the settings that were searched, as SVG text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from analysis.drawing import PANEL_INCHES, PANELS_A_ROW, STYLE, label_axes, to_svg
from analysis.leaderboard import PLAIN, Leaderboard

_SETTINGS = ("lr", "weight_decay", "temperature", "weight", "gamma", "smoothing", "power")
_LOG_FROM = 5      # largest over smallest value of a setting from which its axis is logarithmic; chosen by hand


def draw_board(board: Leaderboard, colours: Mapping[str, str]) -> str | None:
    """Test top-1 with 95 % intervals, one panel per pair, the teacher as a line. None where there is no result."""
    rows = board.pairs.to_pandas()
    rows = rows[rows["num_seeds"] > 0]
    if rows.empty:
        return None
    panels = list(rows.groupby(["study", "data", "teacher", "teacher_id", "student"], sort=False, dropna=False))
    tallest = max(len(group) for _, group in panels)
    with mpl.rc_context(STYLE | {"svg.hashsalt": "board"}):
        figure, axes = _grid(len(panels), height=1.05 + 0.26 * tallest)
        for axis, (pair, group) in zip(axes, panels, strict=True):
            _draw_pair(axis, pair, group, colours)
        return to_svg(figure)


def draw_profiles(board: Leaderboard, colours: Mapping[str, str]) -> str | None:
    """Performance profiles: per method the share of pairs and seeds above each gain. None where there are none."""
    rows = board.profiles.to_pandas()
    if rows.empty:
        return None
    with mpl.rc_context(STYLE | {"svg.hashsalt": "profiles"}):
        figure = Figure(figsize=(PANEL_INCHES[0] * PANELS_A_ROW, PANEL_INCHES[1]), layout="constrained")
        axis = figure.subplots()
        for label, group in rows.groupby("method", sort=False):
            axis.step(100 * group["gain"], group["share"], where="post", color=colours[label], lw=1.6)
        axis.axvline(0, color="#222222", lw=0.8, ls=":", zorder=0)
        label_axes(axis, "Pairs and seeds above a gain", "gain over plain training, pp", "share")
        return to_svg(figure)


def draw_settings(tuned: pd.DataFrame, colours: Mapping[str, str]) -> str | None:
    """Each searched setting against validation top-1, one panel per student and setting. None without a search.

    tuned: the rows of analysis.settings. Only settings that ran to the end have a height: the value of an earlier epoch
    or a smaller budget cannot be compared with theirs.
    """
    panels = [
        (data, student, name, group.dropna(subset=[name]))
        for (data, student), group in tuned.groupby(["data", "student"])
        for name in _SETTINGS if _is_varied(group, name)
    ]
    if not panels:
        return None
    with mpl.rc_context(STYLE | {"svg.hashsalt": "settings"}):
        figure, axes = _grid(len(panels), height=PANEL_INCHES[1])
        for axis, (data, student, name, group) in zip(axes, panels, strict=True):
            _draw_setting(axis, group, name, colours)
            label_axes(axis, f"{data}: {student}", name.replace("_", " "), "val top-1, %")
        return to_svg(figure)


def _draw_pair(axis: Axes, pair: Sequence[Any], rows: pd.DataFrame, colours: Mapping[str, str]) -> None:
    _, data, teacher, _, student = pair
    for place, row in enumerate(rows.to_dict("records")):
        colour = colours[row["method"]]
        if pd.notna(row["test_top1_low"]):
            axis.plot([100 * row["test_top1_low"], 100 * row["test_top1_high"]], [place, place], color=colour, lw=2)
        axis.plot([100 * row["test_top1_mean"]], [place], "o", color=colour, ms=5)
        if row["method"] == PLAIN:
            axis.axvline(100 * row["test_top1_mean"], color=colour, lw=0.8, ls=":", zorder=0)
    teacher_top1 = rows["teacher_top1"].iloc[0]
    if pd.notna(teacher_top1):
        axis.axvline(100 * teacher_top1, color="#222222", lw=1, ls="--", zorder=0)
    axis.set_yticks(range(len(rows)), list(rows["method"]))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    models = f"{teacher} →\n{student}" if isinstance(teacher, str) else student  # two lines: neighbours' titles touch
    label_axes(axis, f"{data}: {models}", "test top-1, %", "")


def _draw_setting(axis: Axes, trials: pd.DataFrame, name: str, colours: Mapping[str, str]) -> None:
    for label, group in trials.groupby("method_label", sort=False):
        done = group["status"] == "completed"
        axis.scatter(group[name][done], 100 * group["val_top1"][done], s=16, color=colours[label], alpha=0.8, lw=0)
        axis.plot(group[name][~done], [0.02] * int((~done).sum()), "|", color=colours[label], alpha=0.5, ms=6,
                  transform=axis.get_xaxis_transform())
    if trials[name].min() > 0 and trials[name].max() / trials[name].min() >= _LOG_FROM:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # the usual one writes powers as mathtext
        axis.xaxis.set_minor_locator(NullLocator())


def _is_varied(trials: pd.DataFrame, name: str) -> bool:
    """Whether some arm tried more than one value."""
    return bool((trials.groupby(["study_id", "arm_id"])[name].nunique() > 1).any())


def _grid(num_panels: int, *, height: float) -> tuple[Figure, Iterator[Axes]]:
    rows = -(-num_panels // PANELS_A_ROW)
    figure = Figure(figsize=(PANEL_INCHES[0] * PANELS_A_ROW, height * rows), layout="constrained")
    axes = figure.subplots(rows, PANELS_A_ROW, squeeze=False).ravel()
    for axis in axes[num_panels:]:
        axis.set_axis_off()
    return figure, list(axes[:num_panels])


