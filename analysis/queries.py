"""SQL over the tables of one study or of several, read-only.

Every call lists the files anew and runs in its own in-memory DuckDB, so that a study can be read while it runs: no
lock is taken, nothing is written, and what `trials` lists is complete in `epochs` (see `_snapshot`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from analysis import sandbox, tables

# A query is asked again while files are being replaced under it; chosen by hand (a writer that never rests made one
# query in 25 fail on 2 cores).
_ATTEMPTS = 10

# What DuckDB says of a file without a column that is read: if it is the first one, and if it is another.
_LACKING = (duckdb.BinderException, duckdb.InvalidInputException)

# Of fewer, copying them into memory costs more than reading them twice: 8 ms against 3 (compacted, 2 cores).
_MANY_FILES = 100

Snapshot = dict[str, dict[str, tuple[int, int] | None]]  # table -> file -> stamp

# Else one missing value would turn a column of integers into floats.
_PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}


@dataclass(frozen=True)
class Query:
    """One SELECT, and the columns that it needs of each table.

    All queries of a call see of a table the columns that they name together, and no others, if one names any. What
    several of them need of many small files is read once: ten thousand take seconds.
    """

    sql: str
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """One or several studies, as tables. Missing is NA or NaN."""

    directories: tuple[Path, ...]

    def studies(self) -> pd.DataFrame:
        """One row per study."""
        return self._read("studies")

    def trials(self) -> pd.DataFrame:
        """One row per final trial, in the order of their numbers."""
        return self._read("trials", order="study_id, number")

    def epochs(self) -> pd.DataFrame:
        """One row per trial and epoch, trials that are not yet final included."""
        return self._read("epochs", order="study_id, trial_id, epoch")

    def evals(self) -> pd.DataFrame:
        """One row per final measurement."""
        return self._read("evals", order="study_id, trial_id, split")

    def teachers(self) -> pd.DataFrame:
        """One row per teacher."""
        return self._read("teachers")

    def environments(self) -> pd.DataFrame:
        """One row per machine and its software."""
        return self._read("environments")

    def sql(self, query: str | Query) -> pd.DataFrame:
        """The answer to one SELECT over the tables. ValueError if it is anything else, or wrong."""
        return self.arrow(query).to_pandas(types_mapper=_PANDAS_TYPES.get, maps_as_pydicts="strict")

    def arrow(self, query: str | Query) -> pa.Table:
        """As `sql`, as an Arrow table."""
        return _answer(self.directories, [query])[0]

    def rows(self, queries: Mapping[str, str | Query]) -> dict[str, list[dict[str, Any]]]:
        """The answers to several queries, each as a list of rows, all from the same state of a running study."""
        answers = _answer(self.directories, list(queries.values()))
        return {name: answer.to_pylist() for name, answer in zip(queries, answers, strict=True)}

    def _read(self, table: str, *, order: str = "ALL") -> pd.DataFrame:
        return self.sql(f"SELECT * FROM {table} ORDER BY {order}")


def open(directories: str | Path | Sequence[str | Path]) -> Results:  # noqa: A001 (reads as analysis.open)
    """The results below one study's directory, or several. ValueError if one holds no study, or two the same one."""
    given = [directories] if isinstance(directories, str | Path) else list(directories)
    found = tuple(dict.fromkeys(_require_study(Path(directory)) for directory in given))
    if not found:
        raise ValueError("no directory of a study was given")
    results = Results(found)
    _require_distinct(results)
    return results


def _require_study(directory: Path) -> Path:
    if not directory.is_dir():
        wrong = "a file, not a directory" if directory.exists() else "no such directory"
        raise ValueError(f"{directory}: {wrong}\n\nhint: give a study's directory, such as results/digits")
    if not (directory / "tables").is_dir():
        below = sorted(str(path.parent) for path in directory.glob("*/tables"))
        hint = f"did you mean {' '.join(below)}" if below else "a study writes its tables when its first trial ends"
        raise ValueError(f"{directory}: no study here, there is no folder `tables`\n\nhint: {hint}")
    return Path(os.path.abspath(directory))


def _require_distinct(results: Results) -> None:
    if len(results.directories) == 1:
        return
    studies = results.studies()
    twice = studies[studies["study_id"].duplicated()]
    if not twice.empty:
        raise ValueError(f"study {twice.iloc[0]['name']}: given twice, its trials would count twice")


def _answer(directories: Sequence[Path], queries: Sequence[str | Query]) -> list[pa.Table]:
    """One answer per query, all from the same files. ValueError if a query is not one SELECT, or wrong."""
    asked = [Query(query) if isinstance(query, str) else query for query in queries]
    mixed = False
    for attempts_left in reversed(range(_ATTEMPTS)):
        snapshot: Snapshot = {}
        try:
            with duckdb.connect(":memory:") as connection:
                snapshot = _snapshot(directories, sandbox.find_tables(connection, [query.sql for query in asked]))
                return sandbox.interruptible(_ask, connection, asked, snapshot, mixed)
        except duckdb.Error as error:
            lacking = not mixed and isinstance(error, _LACKING)
            # A file is opened for its footer and again for its pages: if it was replaced in between, they differ.
            if not attempts_left or not (lacking or _was_replaced(snapshot)):
                raise ValueError(_describe_error(error, snapshot)) from error
            mixed = mixed or lacking
    raise AssertionError("the last attempt returns or raises")


def _describe_error(error: duckdb.Error, snapshot: Snapshot) -> str:
    """A damaged file is not the fault of whoever asked."""
    named = next((path for files in snapshot.values() for path in files if path in str(error)), None)
    if named is not None:
        directory = Path(named).parents[2]
        return f"{named}: cannot be read: {error}\n\nhint: `kdsweep check {directory}` says what to do"
    return f"sql: {error}\n\nhint: tables are {', '.join(tables.TABLES)}"


def _ask(
    connection: duckdb.DuckDBPyConnection, queries: Sequence[Query], snapshot: Snapshot, mixed: bool
) -> list[pa.Table]:
    readers = Counter(table for query in queries for table in query.reads)
    reads = {table: {name for query in queries for name in query.reads.get(table, ())} for table in readers}
    hold = {table for table, stamps in snapshot.items() if readers[table] > 1 and len(stamps) > _MANY_FILES}
    files = {table: list(stamps) for table, stamps in snapshot.items()}
    sandbox.expose(connection, files, reads=reads, hold=hold, mixed=mixed)
    return [connection.sql(query.sql).to_arrow_table() for query in queries]


def _snapshot(directories: Sequence[Path], needed: Collection[str]) -> Snapshot:
    """The files of the needed tables, trials before epochs and evals: a trial's row is written last and read first."""
    return {
        table: {str(path): _stamp(path) for directory in directories for path in tables.files(directory, table)}
        for table in tables.TABLES if table in needed
    }


def _stamp(path: str | Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None when it is gone."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _was_replaced(snapshot: Snapshot) -> bool:
    stamps = {path: stamp for files in snapshot.values() for path, stamp in files.items()}
    return any(stamp is None or _stamp(path) != stamp for path, stamp in stamps.items())
