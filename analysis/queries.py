"""SQL over the tables of one study or of several, read-only.

Every call lists the files anew and runs in its own in-memory DuckDB, so that a study can be read while it runs: no
lock is taken, nothing is written, and what `trials` lists is complete in `epochs` (see `_snapshot`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa

from analysis import tables

if TYPE_CHECKING:
    from analysis.leaderboard import Leaderboard

_SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "map": "MAP(VARCHAR, DOUBLE)",
}

# Two studies may have used one teacher or one machine: each is one row, lest a join double the trials.
_SHARED = {"teachers": "teacher_id", "environments": "environment_id"}

# A query is asked again while files are being replaced under it; chosen by hand (a writer that never rests made one
# query in 25 fail on 2 cores).
_ATTEMPTS = 10

Snapshot = dict[str, dict[str, tuple[int, int] | None]]  # table -> file -> stamp

# Else one missing value would turn a column of integers into floats.
_PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}


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

    def sql(self, query: str) -> pd.DataFrame:
        """The answer to one SELECT over the tables. ValueError if it is anything else, or wrong."""
        return self.arrow(query).to_pandas(types_mapper=_PANDAS_TYPES.get, maps_as_pydicts="strict")

    def arrow(self, query: str) -> pa.Table:
        """As `sql`, as an Arrow table."""
        return _answer(self.directories, [query])[0]

    def rows(self, queries: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
        """The answers to several queries, each as a list of rows, all from the same state of a running study."""
        answers = _answer(self.directories, list(queries.values()))
        return {name: answer.to_pylist() for name, answer in zip(queries, answers, strict=True)}

    def leaderboard(self) -> Leaderboard:
        """Per pair and over pairs: every method on the test split, with its intervals and its budget."""
        from analysis import leaderboard  # it builds on this file

        return leaderboard.build(self)

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
        raise ValueError(f"{directory}: no such directory\n\nhint: give a study's directory, such as results/digits")
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


def _answer(directories: Sequence[Path], queries: Sequence[str]) -> list[pa.Table]:
    """One answer per query, all from the same files. ValueError if a query is not one SELECT, or wrong."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        snapshot = _snapshot(directories)
        try:
            with _connect(snapshot) as connection:
                return [_select_once(connection, query) for query in queries]
        except duckdb.Error as error:
            # DuckDB opens the first file of a table twice; if it was replaced in between, footer and pages differ.
            if not attempts_left or not _was_replaced(snapshot):
                raise ValueError(f"sql: {error}\n\nhint: tables are {', '.join(tables.TABLES)}") from error
    raise AssertionError("the last attempt returns or raises")


def _snapshot(directories: Sequence[Path]) -> Snapshot:
    """The files of every table. Trials come before epochs and evals: a trial's row is written last and read first."""
    return {
        table: {str(path): _stamp(path) for directory in directories for path in tables.files(directory, table)}
        for table in tables.TABLES
    }


def _stamp(path: str | Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None when it is gone."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _was_replaced(snapshot: Snapshot) -> bool:
    return any(_stamp(path) != stamp for files in snapshot.values() for path, stamp in files.items())


def _connect(snapshot: Snapshot) -> duckdb.DuckDBPyConnection:
    """A DuckDB that can read the tables' files and nothing else, and whose settings are locked."""
    paths = [path for files in snapshot.values() for path in files]
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET temp_directory = ''")               # a large query leaves no file behind
    connection.execute(f"SET allowed_paths = {_quote_list(paths)}")
    connection.execute("SET enable_external_access = false")    # no other file, no network, no Python variable
    connection.execute("SET lock_configuration = true")
    for table, files in snapshot.items():
        connection.execute(f"CREATE VIEW {table} AS {_select(table, list(files))}")
    return connection


def _select(table: str, files: Sequence[str]) -> str:
    """The table's columns with their types, over exactly these files; no rows where there are none.

    Not `union_by_name`: it reads every footer first, each file a second time for the data, and one may have been
    replaced by then. All files of a schema version have all columns, so the first one's schema is everyone's.
    """
    columns = ", ".join(f"NULL::{_SQL_TYPES[c.type]} AS {c.name}" for c in tables.TABLES[table])
    empty = f"SELECT {columns} WHERE false"
    if not files:
        return empty
    once = f"DISTINCT ON ({_SHARED[table]}) *" if table in _SHARED else "*"
    return f"SELECT {once} FROM ({empty} UNION ALL BY NAME SELECT * FROM read_parquet({_quote_list(files)}))"


def _quote_list(values: Sequence[str]) -> str:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"[{quoted}]"


def _select_once(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The sandbox alone is not read-only: COPY with use_tmp_file false overwrites a file that may be read."""
    statements = connection.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise ValueError(f"sql: one SELECT is allowed, got {kinds}\n\nhint: copy the Parquet files to change them")
    return connection.sql(query).to_arrow_table()
