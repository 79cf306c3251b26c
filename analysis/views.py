"""The tables of one study or of several as views in a DuckDB of our own, for what reads everything and may write.

What a user asks goes through sandbox.py instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from analysis import tables
from analysis.quoting import quote, quote_list

Files = Mapping[str, Sequence[Path]]  # table -> its files
Result = TypeVar("Result")

_MEMORY = "1GB"  # more goes through `scratch`; chosen by hand

_TRIALS = "arm_id NULLS FIRST, stage, number, trial_id"

# Neighbours are alike, which compresses best: a trial's place among the trials orders its rows in other tables too.
_ORDERS = {
    "trials": f"study_id, {_TRIALS}",
    "epochs": "study_id, place NULLS LAST, trial_id, epoch",
    "evals": "study_id, place NULLS LAST, trial_id, split",
    "test_curves": "study_id, place NULLS LAST, trial_id, epoch",
}


def read_settled(directories: Sequence[Path], work: Callable[[Files], Result]) -> Result:
    """What `work` makes of the studies' files, from the beginning again whenever one was replaced under its hands."""
    while True:
        before = _stamp_files(directories)
        try:
            return work({table: list(stamps) for table, stamps in before.items()})
        except (FileNotFoundError, duckdb.Error):
            if _stamp_files(directories) == before:
                raise


def connect(files: Files, *, scratch: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A view of each table, and each file's own path as `filename`; a table without files has no rows.

    `scratch`: a directory for what does not fit into memory; without one nothing is written.
    """
    connection = duckdb.connect(config={"temp_directory": "" if scratch is None else str(scratch)})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it would go to stdout, where the data go
    if scratch is not None:
        connection.execute(f"SET memory_limit = {quote(_MEMORY)}")
    for table, paths in files.items():
        if paths:
            rows = f"SELECT * FROM read_parquet({quote_list(paths)}, filename = true)"
            connection.execute(f"CREATE VIEW {table} AS {rows}")
        else:
            empty = tables.schema(table).empty_table()
            connection.register(table, empty.append_column("filename", pa.array([], pa.string())))
    return connection


def select_sorted(table: str) -> str:
    """All rows of a table, in order. What several studies share, a teacher or a machine, comes once."""
    order = _ORDERS.get(table, ", ".join(tables.KEYS[table]))
    if "study_id" not in (column.name for column in tables.TABLES[table]):
        return f"SELECT DISTINCT ON ({order}) * EXCLUDE filename FROM {table} ORDER BY {order}"
    if "place" not in order:
        return f"SELECT * EXCLUDE filename FROM {table} ORDER BY {order}"
    places = f"SELECT study_id, trial_id, row_number() OVER (ORDER BY {_TRIALS}) AS place FROM trials"
    return f"""
        SELECT * EXCLUDE (filename, place) FROM {table} LEFT JOIN ({places}) USING (study_id, trial_id)
        ORDER BY {order}
    """


def _stamp_files(directories: Sequence[Path]) -> dict[str, dict[Path, tuple[int, int] | None]]:
    """Trials come before epochs: a trial's row is written last and read first."""
    return {
        table: {path: _stamp(path) for directory in directories for path in tables.files(directory, table)}
        for table in tables.TABLES
    }


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where it is gone already."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
