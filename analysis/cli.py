"""`python -m analysis`: boards, SQL and reports for a machine that has neither torch nor Ray.

The verbs are plain functions, so that `kdsweep` mounts the same ones.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import analysis

if TYPE_CHECKING:
    import pandas as pd

# pandas, scipy and matplotlib take seconds to import: a verb that needs them imports them itself
_ROWS_SHOWN = 1000  # of a query, in a terminal; CSV and JSON have all. Chosen by hand


class BoardFormat(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"


class RowsFormat(StrEnum):
    table = "table"
    csv = "csv"
    json = "json"


Directories = Annotated[list[Path], typer.Argument(help="Directories of studies, such as results/digits.")]
Directory = Annotated[Path, typer.Argument(help="Directory of a study, such as results/digits.")]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def leaderboard(
    directories: Directories,
    form: Annotated[BoardFormat, typer.Option("--format", help="How to show it.")] = BoardFormat.terminal,
    as_json: AsJson = False,
) -> None:
    """Show every method on every pair: test top-1 over fresh seeds, with intervals and what the search cost."""
    from analysis import render

    board = analysis.open(directories).leaderboard()
    if as_json or form is BoardFormat.json:
        sys.stdout.write(render.to_json(board) + "\n")
    elif form is BoardFormat.csv:
        sys.stdout.write(render.to_csv(board))
    elif form is BoardFormat.markdown:
        sys.stdout.write(render.to_markdown(board))
    else:
        render.print_terminal(board, Console())


def sql(
    directory: Directory,
    query: Annotated[str, typer.Argument(help="One SELECT over studies, trials, epochs, evals, teachers, ...")],
    form: Annotated[RowsFormat, typer.Option("--format", help="How to show the rows.")] = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Answer one SELECT over a study's tables; `kdsweep tables` lists the columns."""
    rows = analysis.open(directory).sql(query)
    if as_json or form is RowsFormat.json:
        sys.stdout.write(rows.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15) + "\n")
    elif form is RowsFormat.csv:
        sys.stdout.write(rows.to_csv(index=False, lineterminator="\n"))
    else:
        _print_rows(rows)


def report(directory: Directory) -> None:
    """Write report.html into the study's directory: the board, learning curves and settings in one file."""
    from analysis.report import write_report

    sys.stdout.write(f"{write_report(directory)}\n")


def describe() -> None:
    """Print every table and column with unit and meaning, as Markdown."""
    from analysis.columns import describe_tables

    sys.stdout.write(describe_tables())


def build_app() -> typer.Typer:
    """The typer application with all verbs."""
    app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.command()(leaderboard)
    app.command()(sql)
    app.command()(report)
    app.command("tables")(describe)
    return app


def main() -> None:
    """Runs the command line; what the user got wrong is a message on stderr and exit code 2."""
    try:
        build_app()()
    except ValueError as error:
        Console(stderr=True, highlight=False).print(Text(str(error)), soft_wrap=True)
        raise SystemExit(2) from None


def _print_rows(rows: pd.DataFrame) -> None:
    table = Table()
    for name in rows.columns:
        table.add_column(Text(str(name)))
    for values in rows.head(_ROWS_SHOWN).itertuples(index=False):
        table.add_row(*(Text(_format(value)) for value in values))
    Console().print(table)
    if len(rows) > _ROWS_SHOWN:
        sys.stderr.write(f"{len(rows) - _ROWS_SHOWN:,} more rows: see --format csv\n")


def _format(value: object) -> str:
    import pandas as pd

    missing = pd.api.types.is_scalar(value) and pd.isna(value)
    return "-" if missing else f"{value:.6g}" if isinstance(value, float) else str(value)
