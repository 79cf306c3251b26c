"""Many small files of a finished study become one per table, and no reader ever counts a row twice or not at all.

    1. write     the table's rows, in order, into one file of a new directory under staging/; fsync
    2. compare   its rows with those of the small files, whatever their order
    3. swap      the new directory and the table's, in one atomic step (see exchange.py); fsync
    4. remove    the old directory, which now lies under staging/

A kill before 3 leaves the old table, one after it the new: the next compaction removes what is left over. A reader
that listed the small files before the swap finds none of them any more and fails loudly, since no name ever comes back:
the new file's has a number that grows. Arrow, and pandas with it, leaves out what vanishes while it lists a directory:
at that moment they may find nothing, a frame without rows and without columns; never a part.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from analysis import tables
from analysis.answer import Answer, Field
from analysis.exchange import exchange
from analysis.files import count_rows
from analysis.quoting import quote, quote_list
from analysis.views import connect, select_sorted

_LEFTOVER = "compact."          # how the directories under staging/ begin
_ROWS_PER_GROUP = 122_880       # what DuckDB reads at a time: its own default, 60 vectors of 2,048

_FIELDS = (
    Field("files_before", "", "files of the table before"),
    Field("files_after", "", "files of the table now"),
    Field("bytes_before", "bytes", "their size before"),
    Field("bytes_after", "bytes", "their size now"),
    Field("rows", "", "rows, the same before and now"),
)


def compact(directory: Path) -> Answer:
    """Compacts every table; one row per table. A table of one file or none stays as it is.

    The caller sees to it that nobody writes: see sweeps.audit.compact_study. ValueError where a file is not of its
    table, or where the file system cannot swap.
    """
    directory = Path(directory)
    for leftover in (directory / "staging").glob(f"{_LEFTOVER}*"):
        _remove(leftover)
    rows = tuple(_compact_table(directory, table) for table in tables.TABLES)
    return Answer(f"{directory.resolve().name}, compacted", ("table",), _FIELDS, rows)


def write_sorted(connection: duckdb.DuckDBPyConnection, target: Path, *, table: str, keys: Iterable[str]) -> None:
    """Writes a table of the connection's views to one Parquet file, in order, durably; its footer names the keys."""
    metadata = {key.decode(): value.decode() for key, value in tables.schema(table).metadata.items()}
    metadata["kdsweep.keys"] = json.dumps(sorted(keys))
    pairs = ", ".join(f"{quote(key)}: {quote(value)}" for key, value in metadata.items())
    connection.execute(
        f"COPY ({select_sorted(table)}) TO {quote(target)} (FORMAT parquet, COMPRESSION zstd, "
        f"ROW_GROUP_SIZE {_ROWS_PER_GROUP}, KV_METADATA {{{pairs}}})"
    )
    with target.open("rb") as file:
        os.fsync(file.fileno())
    tables.fsync_dir(target.parent)


def _compact_table(directory: Path, table: str) -> dict[str, Any]:
    before = tables.files(directory, table)
    found = {"table": table, "files_before": len(before), "bytes_before": _measure(before)}
    if len(before) > 1:
        _replace(directory, table, before)
    after = tables.files(directory, table)
    rows = sum(count_rows(path, table) for path in after)
    return found | {"files_after": len(after), "bytes_after": _measure(after), "rows": rows}


def _replace(directory: Path, table: str, before: Sequence[Path]) -> None:
    old = directory / "tables" / table
    rows = sum(count_rows(path, table) for path in before)
    _require_own(old, before)
    new = directory / "staging" / f"{_LEFTOVER}{table}.{uuid.uuid4().hex}"
    tables.make_dir(new)
    try:
        target = new / _name_next(before)
        _write(directory, table, before, target)
        if (count_rows(target, table), _hash_rows([target])) != (rows, _hash_rows(before)):
            raise RuntimeError(f"table {table}: the compacted file does not hold the rows of the others")
        exchange(new, old)
        tables.fsync_dir(old.parent)
        tables.fsync_dir(new.parent)
    finally:
        _remove(new)  # what was old if the swap came to pass, else what was new


def _require_own(folder: Path, known: Sequence[Path]) -> None:
    """What is no file of the table would be removed with the old directory."""
    if strange := sorted(set(os.listdir(folder)) - {path.name for path in known}):
        raise ValueError(f"{folder / strange[0]}: not a file of this table\n\nhint: move it elsewhere")
    keys = [key for path in known for key in tables.keys_of(path)]
    if len(keys) != len(set(keys)):
        raise ValueError(f"{folder}: a key is in two files\n\nhint: `kdsweep check` says which")


def _name_next(before: Sequence[Path]) -> str:
    numbers = [int(path.stem.removeprefix(tables.COMPACTED)) for path in before if _is_compacted(path)]
    return f"{tables.COMPACTED}{max(numbers, default=0) + 1:06d}.parquet"


def _is_compacted(path: Path) -> bool:
    return path.name.startswith(tables.COMPACTED)


def _write(directory: Path, table: str, before: Sequence[Path], target: Path) -> None:
    files = {"trials": tables.files(directory, "trials"), table: before}
    keys = [key for path in before for key in tables.keys_of(path)]
    with (
        TemporaryDirectory(dir=target.parent, prefix=".sort.") as scratch,
        connect(files, scratch=Path(scratch)) as connection,
    ):
        write_sorted(connection, target, table=table, keys=keys)


def _hash_rows(paths: Sequence[Path]) -> int | None:
    """The sum of the rows' 64-bit hashes: the same in whatever order they come."""
    with connect({}) as connection:
        query = f"SELECT sum(hash(r)::HUGEINT) FROM read_parquet({quote_list(paths)}) AS r"
        return connection.execute(query).fetchone()[0]


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def _measure(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
