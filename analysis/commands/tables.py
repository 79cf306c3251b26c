"""`sql` and `tables`: a study's rows as they are, and what their columns mean."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import analysis
from analysis.commands.directories import Directories
from analysis.commands.json_rows import to_json
from analysis.commands.printing import ROWS_SHOWN, AsJson, RowsFormat, RowsFormatOption, measure_width

if TYPE_CHECKING:
    import pandas as pd


def sql(
    directories: Directories,
    query: Annotated[str, typer.Argument(help="One SELECT over studies, trials, epochs, evals, teachers, ...")],
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Answer one SELECT over the tables of one study or several; `kdsweep tables` lists the columns."""
    results = analysis.open(directories)
    if as_json or form is RowsFormat.json:
        sys.stdout.write(to_json(results.arrow(query)) + "\n")
    elif form is RowsFormat.csv:
        sys.stdout.write(results.sql(query).to_csv(index=False, lineterminator="\n"))
    else:
        _print_rows(results.sql(query), Console())


def describe(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Print every table and column with unit and meaning, as Markdown."""
    from analysis.columns import TABLES, describe_tables

    if as_json:
        tables = {table: [dataclasses.asdict(column) for column in columns] for table, columns in TABLES.items()}
        sys.stdout.write(json.dumps(tables, indent=1) + "\n")
    else:
        sys.stdout.write(describe_tables())


def _print_rows(rows: pd.DataFrame, console: Console) -> None:
    """A piped table is as wide as it needs to be; in a terminal long values go on below, and none is cut."""
    table = Table()
    for name in rows.columns:
        table.add_column(Text(str(name)), overflow="fold", min_width=len(str(name)))
    for values in rows.head(ROWS_SHOWN).itertuples(index=False):
        table.add_row(*(Text(_format(value)) for value in values))
    if not console.is_terminal:
        console = Console(width=measure_width(table))
    console.print(table, crop=False)
    if len(rows) > ROWS_SHOWN:
        sys.stderr.write(f"{len(rows) - ROWS_SHOWN:,} more rows: see --format csv\n")


def _format(value: object) -> str:
    import pandas as pd

    missing = pd.api.types.is_scalar(value) and pd.isna(value)
    return "-" if missing else f"{value:.6g}" if isinstance(value, float) else str(value)
