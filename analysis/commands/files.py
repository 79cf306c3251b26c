"""`export`: studies for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import analysis
from analysis.commands.directories import Directories
from analysis.commands.printing import AsJson, show_answer


def export(
    directories: Directories,
    csv: Annotated[Path | None, typer.Option(metavar="OUTDIR", help="A directory: one CSV file per table.")] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="OUTDIR", help="A directory to open like a study, compacted.")
    ] = None,
    duckdb: Annotated[Path | None, typer.Option(metavar="FILE", help="One DuckDB database with all tables.")] = None,
    latex: Annotated[Path | None, typer.Option(metavar="FILE", help="The leaderboard as booktabs tables.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one study or several for other programs; nothing that exists is overwritten."""
    from analysis.export import export as write

    answer = write(analysis.open(directories), csv=csv, parquet=parquet, duckdb=duckdb, latex=latex)
    show_answer(answer, as_json=as_json)
