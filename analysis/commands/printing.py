"""How an answer leaves the command line: a table for people, CSV and JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from analysis.answer import Answer, Field

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
    fields = [{"name": f.name, "unit": f.unit, "meaning": f.meaning, "better": f.better or None} for f in answer.fields]
    document = {"title": answer.title, "columns": fields, "rows": answer.rows, "notes": answer.notes}
    return json.dumps(document, indent=1, allow_nan=False)


def print_answer(answer: Answer, console: Console) -> None:
    """Prints the answer as a table; where it is piped, as wide as it needs to be."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=Text(answer.title, style="bold"),
                  title_justify="left")
    shown = [key for key in answer.keys if any(row[key] is not None for row in answer.rows)]
    for key in shown:
        table.add_column(key.replace("_", " "))
    for field in answer.fields:
        table.add_column(head(field), justify="right")
    for row in answer.rows[:ROWS_SHOWN]:
        cells = [format_value(None, row[key]) for key in shown]
        table.add_row(*map(Text, cells), *(Text(format_value(field, row[field.name])) for field in answer.fields))
    if not console.is_terminal:
        console = Console(highlight=False, width=max(1, Console(width=_NO_EDGE).measure(table).maximum))
    console.print(table)
    if len(answer.rows) > ROWS_SHOWN:
        sys.stderr.write(f"{len(answer.rows) - ROWS_SHOWN:,} more rows: see --format csv\n")


def head(field: Field) -> str:
    """The column's name as a person reads it, with its sign."""
    return field.name.removeprefix("num_").replace("_", " ") + _SIGNS.get(field.unit, "")


def format_value(field: Field | None, value: Any) -> str:
    """The value as a person reads it: per cent, percentage points, time; "-" where it is missing."""
    if value is None:
        return "-"
    if field is not None and field.unit in _FORMATS:
        return _FORMATS[field.unit](value)
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def format_seconds(seconds: float) -> str:
    """Seconds under a minute, else minutes, else hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


_SIGNS = {"fraction": " %", "difference": " pp"}  # pp: percentage points
_FORMATS = {
    "fraction": lambda value: f"{100 * value:.2f}",
    "difference": lambda value: f"{100 * value:+.2f}",
    "share": lambda value: f"{value:.2f}",
    "rank": lambda value: f"{value:.2f}",
    "s": format_seconds,
}
