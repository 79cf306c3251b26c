"""`leaderboard`, `compare` and `report`: every method on every pair."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import analysis
from analysis.commands.directories import Directories
from analysis.commands.printing import AsJson, RowsFormat, RowsFormatOption, show_answer


class BoardFormat(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"


def leaderboard(
    directories: Directories,
    form: Annotated[BoardFormat, typer.Option("--format", help="How to show it.")] = BoardFormat.terminal,
    wide: Annotated[bool, typer.Option("--wide", help="With calibration, agreement and every probability.")] = False,
    published: Annotated[
        str | None, typer.Option(help="Beside published numbers: of one source, or of `all`.", metavar="SOURCE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every method on every pair: test top-1 over fresh seeds, with intervals and what the search cost."""
    from analysis import render

    board = analysis.open(directories).leaderboard(published=published)
    if as_json or form is BoardFormat.json:
        sys.stdout.write(render.to_json(board) + "\n")
    elif form is BoardFormat.csv:
        sys.stdout.write(render.to_csv(board))
    elif form is BoardFormat.markdown:
        sys.stdout.write(render.to_markdown(board, detail=wide))
    else:
        render.print_terminal(board, Console(), detail=wide)


def compare(
    first: Annotated[str, typer.Argument(help="A method's label.")],
    second: Annotated[str, typer.Argument(help="The one to compare it with.")],
    directories: Directories,
    rope: Annotated[
        float, typer.Option(help="Differences up to this are practically equal; a fraction: 0.002 is 0.2 pp.")
    ] = 0.002,
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Compare two methods pair by pair and over pairs: how far apart, how sure, how many seeds it would take."""
    from analysis import comparison

    show_answer(comparison.compare(analysis.open(directories), first, second, rope=rope), form, as_json=as_json)


def report(
    directories: Directories,
    output: Annotated[
        Path | None, typer.Option(help="File to write; of one study, report.html in its directory.", metavar="FILE")
    ] = None,
) -> None:
    """Write the board, what the search found and how into one HTML file, which replaces an earlier one."""
    from analysis.report import write_report

    sys.stdout.write(f"{write_report(directories, output)}\n")
