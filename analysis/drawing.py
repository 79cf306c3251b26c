"""How every picture of a study looks, and how it becomes text: plain text, no mathtext, so that no name is markup."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.leaderboard import PLAIN

STYLE = {
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
PANELS_A_ROW = 3
PANEL_INCHES = (3.3, 2.5)


def colour_methods(labels: Sequence[str]) -> dict[str, str]:
    """One colour per method label, the same in every picture of a report."""
    others = [label for label in labels if label != PLAIN]
    colours = {label: _COLOURS[number % len(_COLOURS)] for number, label in enumerate(others)}
    return colours | {PLAIN: _PLAIN_COLOUR}


def label_axes(axis: Axes, title: str, x: str, y: str) -> None:
    """Names the panel and its axes, over a quiet grid."""
    axis.set(title=title, xlabel=x, ylabel=y)
    axis.grid(visible=True, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)


def to_svg(figure: Figure) -> str:
    """The figure as an <svg> element, to be placed into a page."""
    page = io.StringIO()
    figure.savefig(page, format="svg", dpi=150, metadata={"Date": None})
    text = page.getvalue()
    return text[text.index("<svg"):]
