"""Studies for other programs: CSV, Parquet, a DuckDB database, LaTeX.

Everything is written beside its target and renamed, so that a target is there whole or not at all, and nothing that
exists is overwritten.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from duckdb import Error as DuckDBError

from analysis import tables
from analysis.answer import Answer, Field
from analysis.compact import write_sorted
from analysis.latex import to_latex
from analysis.quoting import quote
from analysis.studies import Studies
from analysis.views import Files, connect, read_settled, select_sorted
from analysis.writing import require_writable

_FIELDS = (Field("bytes", "bytes", "size of all its files"),)


def export(
    results: Studies,
    *,
    csv: Path | None = None,
    parquet: Path | None = None,
    duckdb: Path | None = None,
    latex: Path | None = None,
) -> Answer:
    """Writes what is asked for, one or several studies; one row per target.

    csv: a directory with a file per table; maps are JSON, what is missing is empty. parquet: a directory that can be
    opened like a study, each table compacted. duckdb: a database file with every table and a comment on every column.
    latex: a file with the leaderboard. ValueError where a target exists already, none is given, or a table cannot be
    read.
    """
    asked = {"csv": csv, "parquet": parquet, "duckdb": duckdb, "latex": latex}
    targets = {kind: Path(target) for kind, target in asked.items() if target is not None}
    _require_free(list(targets.values()))
    for kind, target in targets.items():
        try:
            _write_beside(target, lambda part, kind=kind: _WRITERS[kind](results, part))
        except DuckDBError as error:
            raise ValueError(
                f"{target}: not written, a table cannot be read: {error}\n\nhint: `kdsweep check` names the file"
            ) from error
    rows = tuple({"format": kind, "path": str(path), "bytes": _measure(path)} for kind, path in targets.items())
    return Answer("exported", ("format", "path"), _FIELDS, rows)


def _require_free(targets: list[Path]) -> None:
    if not targets:
        raise ValueError("nothing to export\n\nhint: --csv, --parquet, --duckdb or --latex, each with where to")
    for place, target in enumerate(targets):
        if os.path.lexists(target):
            raise ValueError(f"{target}: exists, and nothing is overwritten\n\nhint: remove it or name another")
        if target.absolute() in (other.absolute() for other in targets[:place]):
            raise ValueError(f"{target}: given for two formats")
        require_writable(next(folder for folder in target.absolute().parents if folder.exists()))


def _write_beside(target: Path, write: Callable[[Path], None]) -> None:
    tables.make_dir(target.parent)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        write(part)
        _make_durable(part)
        os.rename(part, target)
    finally:
        _remove(part)  # only there if something above failed
    tables.fsync_dir(target.parent)


def _write_csv(results: Studies, folder: Path) -> None:
    def write(files: Files) -> None:
        _remove(folder)
        folder.mkdir()
        with connect(files, scratch=folder) as connection:
            for table in tables.TABLES:
                rows, target = _select_text(table), quote(folder / f"{table}.csv")
                connection.execute(f"COPY ({rows}) TO {target} (FORMAT csv, HEADER)")

    read_settled(results.directories, write)


def _select_text(table: str) -> str:
    """The table's rows with maps as JSON."""
    maps = [column.name for column in tables.TABLES[table] if column.type == "map"]
    replaced = ", ".join(f"to_json({name})::VARCHAR AS {name}" for name in maps)
    return f"SELECT * {f'REPLACE ({replaced})' if maps else ''} FROM ({select_sorted(table)})"


def _write_parquet(results: Studies, folder: Path) -> None:
    def write(files: Files) -> None:
        _remove(folder)
        tables.make_dir(folder)
        with connect(files, scratch=folder) as connection:
            for table, paths in files.items():
                target = folder / "tables" / table / f"{tables.COMPACTED}000001.parquet"
                tables.make_dir(target.parent)
                write_sorted(connection, target, table=table, keys={k for path in paths for k in tables.keys_of(path)})

    read_settled(results.directories, write)


def _write_duckdb(results: Studies, path: Path) -> None:
    def write(files: Files) -> None:
        _remove(path)
        with connect(files, scratch=path.parent) as connection:
            connection.execute(f"ATTACH {quote(path)} AS exported")
            for table, columns in tables.TABLES.items():
                connection.execute(f"CREATE TABLE exported.{table} AS {select_sorted(table)}")
                for column in columns:
                    text = f"{column.meaning} [{column.unit}]" if column.unit else column.meaning
                    connection.execute(f"COMMENT ON COLUMN exported.{table}.{column.name} IS {quote(text)}")
            connection.execute("DETACH exported")

    read_settled(results.directories, write)


def _write_latex(results: Studies, path: Path) -> None:
    path.write_text(to_latex(results.leaderboard()), encoding="utf-8")


_WRITERS: dict[str, Callable[[Studies, Path], None]] = {
    "csv": _write_csv, "parquet": _write_parquet, "duckdb": _write_duckdb, "latex": _write_latex,
}


def _list_below(path: Path) -> list[Path]:
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


def _make_durable(path: Path) -> None:
    for found in _list_below(path):
        handle = os.open(found, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _measure(path: Path) -> int:
    return sum(found.stat().st_size for found in _list_below(path) if found.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
