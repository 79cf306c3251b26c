"""The maps of analysis.maps in a terminal: one small table per arm, its cells coloured where colours are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from analysis.answer import Answer
from analysis.maps import HeatMap, choose_colour, choose_ink, label_parts, list_maps

LEGEND = "cells: mean validation top-1 in % (trials); · (0 of 3): none of three ran to the end; ·: never tried"
_NO_EDGE = 100_000  # characters: a pipe has no width


def print_heat_maps(answer: Answer, console: Console) -> None:
    """Prints the maps, side by side in a terminal and one below the other in a pipe, and how to read them."""
    maps = list_maps(answer)
    with_study = len({found.keys["study"] for found in maps}) > 1
    tables = [_build_table(found, with_study=with_study) for found in maps]
    console.print(Text(answer.title, style="bold"))
    if console.is_terminal:
        console.print(Columns([Padding(table, (1, 3, 0, 0)) for table in tables]))
    else:
        wide = Console(file=console.file, highlight=False, width=_NO_EDGE)
        for table in tables:
            wide.print()
            wide.print(table)
    if tables:
        console.print(Text(f"\n{LEGEND}"), soft_wrap=True)


def _build_table(found: HeatMap, *, with_study: bool) -> Table:
    title = Text(found.describe(with_study=with_study), style="bold")
    table = Table(box=None, pad_edge=False, padding=0, title=title, title_justify="left")
    corner = found.x if found.y is None else f"{found.y} \\ {found.x}"
    table.add_column(Text(f"{corner}  ".replace("_", " ")), justify="right")
    for label in label_parts(found.x_parts):
        table.add_column(Text(f" {label} "), justify="center")
    names = label_parts(found.y_parts) if found.y else [""]
    for line in reversed(range(len(names))):    # upwards, as in a picture
        cells = [_format_cell(found, found.cells[column, line]) for column in range(len(found.x_parts))]
        table.add_row(Text(f"{names[line]}  "), *cells)
    return table


def _format_cell(found: HeatMap, cell: Mapping[str, Any]) -> Text:
    if not cell["num_trials"]:
        return Text(f" · (0 of {cell['num_unfinished']}) " if cell["num_unfinished"] else " · ", style="dim")
    colour = choose_colour(found.shade(cell["val_top1_mean"]))
    style = Style(color=_to_rich(choose_ink(colour)), bgcolor=_to_rich(colour))
    return Text(f" {100 * cell['val_top1_mean']:.2f} ({cell['num_trials']}) ", style=style)


def _to_rich(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
