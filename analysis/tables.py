"""Tables on disk: fixed schemas, one immutable Parquet file per key, written whole and atomically.

    results/<study>/tables/<table>/<key>.parquet      key: trial_id, teacher_id, ...; writing again replaces whole
    results/<study>/tables/<table>/compacted-000001.parquet    the keys of a finished study, see compact.py
    results/<study>/staging/                          files on their way; readers never look here

A row is there or not there, never torn and never twice: stage beside the tables, fsync, one rename. The columns are
in columns.py.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from analysis.columns import KEYS, SCHEMA_VERSION, TABLES, Column, describe_tables
from analysis.rows import ARROW_TYPES, find_columns, schema, to_arrow

__all__ = [
    "ARROW_TYPES", "COMPACTED", "KEYS", "SCHEMA_VERSION", "TABLES", "Column", "compacted_keys", "describe_tables",
    "files", "fsync_dir", "keys", "keys_of", "make_dir", "publish", "read", "schema", "stage", "to_arrow", "write",
]

COMPACTED = "compacted-"  # how the names of files with many keys begin, and no key does

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # readers skip names that begin with a dot or an underscore


def stage(table: str, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the rows to `path`: after return they survive a power cut, before it `path` is as it was."""
    arrow = to_arrow(table, rows)
    path = Path(path)
    make_dir(path.parent)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            _write_lean(arrow, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # only there if something above failed
    fsync_dir(path.parent)


def publish(staged: Path, results: Path, table: str, key: str) -> Path:
    """Renames a staged file to results/tables/<table>/<key>.parquet, durably, and returns that path.

    Publishing twice is publishing once. FileNotFoundError if there is neither a staged nor a published file,
    ValueError if a compacted file holds the key: its rows would be there twice.
    """
    target = _find_target(results, table, key)
    make_dir(target.parent)
    try:
        os.replace(staged, target)
    except FileNotFoundError:
        if not target.exists():
            raise FileNotFoundError(f"table {table}: nothing to publish: no {staged} and no {target}") from None
    fsync_dir(target.parent)
    return target


def write(results: Path, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Stages and publishes the rows of one key; what the key held before is replaced whole. Returns the path."""
    _find_target(results, table, key)  # refuses a wrong key before anything is written
    staged = Path(results) / "staging" / f"{table}.{key}.parquet"
    stage(table, rows, staged)
    return publish(staged, results, table, key)


def files(results: Path, table: str) -> list[Path]:
    """The table's files by name; empty where nothing was written yet."""
    find_columns(table)
    folder = Path(results) / "tables" / table
    while True:
        before = _identify(folder)
        found = sorted(folder.glob("[!._]*.parquet"))
        if _identify(folder) == before:  # else it was swapped while it was listed, and emptied maybe: see compact.py
            return found


def keys(results: Path, table: str) -> frozenset[str]:
    """Every published key of the table, in a file of its own or in a compacted one."""
    return frozenset(key for path in files(results, table) for key in keys_of(path))


def compacted_keys(results: Path, table: str) -> frozenset[str]:
    """The keys that lie in compacted files."""
    folder = Path(results) / "tables" / table
    names = os.listdir(folder) if folder.exists() else []
    return frozenset(key for name in names if name.startswith(COMPACTED) for key in keys_of(folder / name))


def keys_of(path: Path) -> list[str]:
    """The keys whose rows the file holds: its name, or what a compacted file's footer says."""
    if not path.name.startswith(COMPACTED):
        return [path.stem]
    return json.loads(pq.read_schema(path).metadata[b"kdsweep.keys"])


def read(results: Path, table: str) -> pa.Table:
    """The whole table with its full schema, empty where nothing was written yet."""
    paths = files(results, table)
    if not paths:
        return schema(table).empty_table()
    try:
        return ds.dataset([str(path) for path in paths], schema=schema(table), format="parquet").to_table()
    except FileNotFoundError:
        if files(results, table) == paths:
            raise
        return read(results, table)  # the table was compacted meanwhile


def fsync_dir(path: Path) -> None:
    """Makes the names in a directory durable: a rename is lost in a power cut until then."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_dir(path: Path) -> None:
    """Creates the directory with its parents; each new name is durable."""
    if path.is_dir():
        return
    make_dir(path.parent)
    path.mkdir(exist_ok=True)
    fsync_dir(path.parent)


def _write_lean(arrow: pa.Table, file: IO[bytes]) -> None:
    """A file of one key is mostly footer: one trial takes 6.3 kB this way and 14.9 kB with pyarrow's defaults.

    Left out is what serves to skip parts of a large file, and Arrow's copy of a schema that Parquet's own already
    says exactly. What stands in for it in the footer, our own metadata, must then be added by hand.
    """
    lean = {"write_statistics": False, "use_dictionary": False, "store_schema": False}
    with pq.ParquetWriter(file, arrow.schema, write_page_checksum=True, **lean) as writer:
        writer.write_table(arrow)
        writer.add_key_value_metadata(arrow.schema.metadata)


def _find_target(results: Path, table: str, key: str) -> Path:
    find_columns(table)
    if not _KEY.fullmatch(key) or key.startswith(COMPACTED):
        raise ValueError(
            f"table {table}: {key!r} cannot name a file\n\nhint: letters, digits, dot, dash, underscore and plus; "
            f"a letter or digit first; not `{COMPACTED}` in front"
        )
    if key in compacted_keys(results, table):
        raise ValueError(
            f"table {table}: {key} is in a compacted file, which is never written again\n\n"
            "hint: only a finished study is compacted; run it under another name to have more of it"
        )
    return Path(results) / "tables" / table / f"{key}.parquet"


def _identify(folder: Path) -> int | None:
    """What tells a directory from the one that took its place; None where there is none."""
    try:
        return os.stat(folder).st_ino
    except FileNotFoundError:
        return None
