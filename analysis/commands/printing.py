"""How an answer leaves the command line: a table for people, CSV and JSON for programs."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.formatting import format_head, format_value

if TYPE_CHECKING:
    from analysis.answer import Answer

ROWS_SHOWN = 1000   # in a terminal; CSV and JSON have all. Chosen by hand
_NO_EDGE = 100_000  # characters


class RowsFormat(StrEnum):
    table = "table"
    csv = "csv"
    json = "json"


RowsFormatOption = Annotated[RowsFormat, typer.Option("--format", help="How to show the rows.")]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def show_answer(answer: Answer, form: RowsFormat = RowsFormat.table, *, as_json: bool = False) -> None:
    """Writes the answer to stdout and, except in JSON, its notes to stderr."""
    if as_json or form is RowsFormat.json:
        sys.stdout.write(to_json(answer) + "\n")
        return
    if form is RowsFormat.csv:
        sys.stdout.write(answer.to_pandas().to_csv(index=False, lineterminator="\n"))
    else:
        print_answer(answer, Console(highlight=False))
    for note in answer.notes:
        Console(stderr=True, highlight=False).print(Text(f"note: {note}"), soft_wrap=True)


def to_json(answer: Answer) -> str:
    """Everything of the answer, each column with unit and meaning; a missing value is null."""
    return json.dumps(answer.to_dict(), indent=1, allow_nan=False)


def print_answer(answer: Answer, console: Console) -> None:
    """Prints the answer as a table, its title alone where it has no rows; a piped one is as wide as it needs to be."""
    if not answer.rows:
        console.print(Text(answer.title, style="bold"))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title=Text(answer.title, style="bold"),
                  title_justify="left")
    shown, rows = choose_keys(answer), answer.rows[:ROWS_SHOWN]
    columns = [[format_value(row[key]) for row in rows] for key in shown]
    for key, cells in zip(shown, columns, strict=True):
        table.add_column(key.replace("_", " "), min_width=_find_longest(key.split("_"), cells))
    for field in answer.fields:
        cells = [format_value(row[field.name], field.unit) for row in rows]
        columns.append(cells)
        is_text = field.unit == "text"
        words = [word for cell in cells for word in cell.split()] if is_text else cells    # a number does not wrap
        table.add_column(format_head(field), justify="left" if is_text else "right",
                         min_width=_find_longest(format_head(field).split(), words))
    for row in zip(*columns, strict=True):
        table.add_row(*map(Text, row))
    if not console.is_terminal:
        console = Console(highlight=False, width=measure_width(table))
    console.print(table, crop=False)
    if len(answer.rows) > ROWS_SHOWN:
        sys.stderr.write(f"{len(answer.rows) - ROWS_SHOWN:,} more rows: see --format csv\n")


def measure_width(table: Table) -> int:
    """The width at which nothing of it wraps: a pipe has no edge."""
    return max(1, Console(width=_NO_EDGE).measure(table).maximum)


def _find_longest(*words: Iterable[str]) -> int:
    return max(map(len, itertools.chain(*words)))


def choose_keys(answer: Answer) -> list[str]:
    """The keys that tell rows apart: not those that are missing everywhere, nor an id where its name says as much."""
    def tells_apart(key: str) -> bool:
        name = key.removesuffix("_id")
        if name == key or name not in answer.keys:
            return True
        told = {(row[name], row[key]) for row in answer.rows if row[key] is not None}
        return len(told) > len({name for name, _ in told})

    return [key for key in answer.keys if any(row[key] is not None for row in answer.rows) and tells_apart(key)]
