"""Pictures of a study as SVG text. Every figure keeps to plain text: no mathtext, so that a name cannot be markup."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from analysis.leaderboard import PLAIN, Leaderboard

_STYLE = {
    "svg.fonttype": "none",          # text stays text: small, searchable, escaped
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": "#4a5560",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#4a5560",
    "ytick.color": "#4a5560",
    "grid.color": "#e6e9ec",
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

# Okabe and Ito 2008, told apart by colour-blind eyes; plain training is grey, since it is the reference.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#5B4B8A")
_PLAIN_COLOUR = "#6b747d"
_SETTINGS = ("lr", "weight_decay", "temperature", "weight", "gamma", "smoothing", "power")
_LOG_FROM = 5      # largest over smallest value of a setting from which its axis is logarithmic; chosen by hand
_PANELS_A_ROW = 3
_PANEL_INCHES = (3.3, 2.5)


def colour_methods(labels: Sequence[str]) -> dict[str, str]:
    """One colour per method label, the same in every picture of a report."""
    others = [label for label in labels if label != PLAIN]
    colours = {label: _COLOURS[number % len(_COLOURS)] for number, label in enumerate(others)}
    return colours | {PLAIN: _PLAIN_COLOUR}


def draw_board(board: Leaderboard, colours: Mapping[str, str]) -> str | None:
    """Test top-1 with 95 % intervals, one panel per pair, the teacher as a line. None where there is no result."""
    rows = board.pairs.to_pandas()
    rows = rows[rows["num_seeds"] > 0]
    if rows.empty:
        return None
    panels = list(rows.groupby(["study", "data", "teacher", "teacher_id", "student"], sort=False, dropna=False))
    tallest = max(len(group) for _, group in panels)
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "board"}):
        figure, axes = _grid(len(panels), height=1.05 + 0.26 * tallest)
        for axis, (pair, group) in zip(axes, panels, strict=True):
            _draw_pair(axis, pair, group, colours)
        return _to_svg(figure)


def draw_profiles(board: Leaderboard, colours: Mapping[str, str]) -> str | None:
    """Performance profiles: per method the share of pairs and seeds above each gain. None where there are none."""
    rows = board.profiles.to_pandas()
    if rows.empty:
        return None
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "profiles"}):
        figure = Figure(figsize=(_PANEL_INCHES[0] * _PANELS_A_ROW, _PANEL_INCHES[1]), layout="constrained")
        axis = figure.subplots()
        for label, group in rows.groupby("method", sort=False):
            axis.step(100 * group["gain"], group["share"], where="post", color=colours[label], lw=1.6)
        axis.axvline(0, color="#222222", lw=0.8, ls=":", zorder=0)
        _label(axis, "Pairs and seeds above a gain", "gain over plain training, pp", "share")
        return _to_svg(figure)


def draw_curves(trials: pd.DataFrame, epochs: pd.DataFrame, colours: Mapping[str, str]) -> str | None:
    """Validation top-1 by epoch, one panel per data and student; the best searched trial of an arm is drawn strong.

    The others are faint; a stopped trial's line ends where it was stopped. None where nothing was validated.
    """
    keys = ["study_id", "trial_id"]
    about = trials[trials["stage"] == "tune"][[*keys, "data", "teacher", "student", "arm_id", "method_label", "status"]]
    curves = epochs[[*keys, "epoch", "val_top1"]].dropna().merge(about, on=keys)
    if curves.empty:
        return None
    best = _find_best_trials(trials)
    panels = list(curves.groupby(["data", "student"]))
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "curves"}):
        figure, axes = _grid(len(panels), height=_PANEL_INCHES[1])
        for axis, ((data, student), group) in zip(axes, panels, strict=True):
            for trial, curve in group.groupby(keys, sort=False):
                _draw_curve(axis, curve, colours, strong=trial in best)
            _cut_first_rise(axis, group)
            _label(axis, f"{data}: {student}", "epoch", "val top-1, %")
        return _to_svg(figure)


def draw_settings(trials: pd.DataFrame, colours: Mapping[str, str]) -> str | None:
    """Each searched setting against validation top-1, one panel per student and setting. None without a search.

    Only trials that ran to the end have a height: an earlier epoch's value cannot be compared with the last one's.
    """
    tuned = trials[trials["stage"] == "tune"]
    panels = [
        (data, student, name, group.dropna(subset=[name]))
        for (data, student), group in tuned.groupby(["data", "student"])
        for name in _SETTINGS if _is_varied(group, name)
    ]
    if not panels:
        return None
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "settings"}):
        figure, axes = _grid(len(panels), height=_PANEL_INCHES[1])
        for axis, (data, student, name, group) in zip(axes, panels, strict=True):
            _draw_setting(axis, group, name, colours)
            _label(axis, f"{data}: {student}", name.replace("_", " "), "val top-1, %")
        return _to_svg(figure)


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
    _label(axis, f"{data}: {models}", "test top-1, %", "")


def _draw_curve(axis: Axes, curve: pd.DataFrame, colours: Mapping[str, str], *, strong: bool) -> None:
    style = {"lw": 1.8, "zorder": 3} if strong else {"lw": 0.7, "alpha": 0.28, "rasterized": True}
    axis.plot(curve["epoch"], 100 * curve["val_top1"], color=colours[curve.iloc[0]["method_label"]], **style)


def _cut_first_rise(axis: Axes, curves: pd.DataFrame) -> None:
    """Begins the axis at what most trials have reached after an eighth of the epochs: the differences lie above."""
    later = curves[curves["epoch"] >= curves["epoch"].max() / 8]["val_top1"]
    low, high = later.quantile(0.1), curves["val_top1"].max()
    if high > low:
        axis.set_ylim(100 * low, 100 * (high + 0.05 * (high - low)))


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


def _find_best_trials(trials: pd.DataFrame) -> set[tuple[str, str]]:
    """The searched trial with the best validation value of each arm, as (study_id, trial_id)."""
    done = trials[(trials["stage"] == "tune") & (trials["status"] == "completed") & trials["val_top1"].notna()]
    best = done.loc[done.groupby(["study_id", "arm_id"])["val_top1"].idxmax()]
    return set(zip(best["study_id"], best["trial_id"], strict=True))


def _is_varied(trials: pd.DataFrame, name: str) -> bool:
    """Whether some arm tried more than one value."""
    return bool((trials.groupby(["study_id", "arm_id"])[name].nunique() > 1).any())


def _grid(num_panels: int, *, height: float) -> tuple[Figure, Iterator[Axes]]:
    rows = -(-num_panels // _PANELS_A_ROW)
    figure = Figure(figsize=(_PANEL_INCHES[0] * _PANELS_A_ROW, height * rows), layout="constrained")
    axes = figure.subplots(rows, _PANELS_A_ROW, squeeze=False).ravel()
    for axis in axes[num_panels:]:
        axis.set_axis_off()
    return figure, list(axes[:num_panels])


def _label(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set(title=title, xlabel=x, ylabel=y)
    axis.grid(visible=True, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)


def _to_svg(figure: Figure) -> str:
    """The figure as an <svg> element, to be placed into a page."""
    page = io.StringIO()
    figure.savefig(page, format="svg", dpi=150, metadata={"Date": None})
    text = page.getvalue()
    return text[text.index("<svg"):]
