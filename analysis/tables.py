"""Tables on disk: fixed schemas, one immutable Parquet file per key, written whole and atomically.

    results/<study>/tables/<table>/<key>.parquet      key: trial_id, teacher_id, ...; writing again replaces whole
    results/<study>/staging/                          files on their way; readers never look here

A row is there or not there, never torn and never twice: stage beside the tables, fsync, one rename. The columns are
in columns.py.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from analysis.columns import SCHEMA_VERSION, TABLES, Column, describe_tables

__all__ = [
    "SCHEMA_VERSION", "TABLES", "Column", "describe_tables", "files", "fsync_dir", "publish", "read", "schema",
    "stage", "to_arrow", "write",
]

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "map": pa.map_(pa.string(), pa.float64()),
}

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # readers skip names that begin with a dot or an underscore


def schema(table: str) -> pa.Schema:
    """The table's columns in order; the footer carries schema version, table and units. ValueError if unknown."""
    columns = _columns(table)
    metadata = {
        "kdsweep.schema_version": str(SCHEMA_VERSION),
        "kdsweep.table": table,
        "kdsweep.units": json.dumps({c.name: c.unit for c in columns if c.unit}),
    }
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in columns], metadata=metadata)


def to_arrow(table: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as Arrow. Absent, NaN and infinite become null; an unknown column or a wrong type is a ValueError."""
    columns = _columns(table)
    known = {c.name for c in columns}
    for row in rows:
        if unknown := sorted(set(row) - known):
            raise ValueError(f"table {table}: no column {', '.join(map(repr, unknown))}\n\nhint: see `kdsweep tables`")
    arrays = [pa.array([_convert(table, c, row.get(c.name)) for row in rows], ARROW_TYPES[c.type]) for c in columns]
    return pa.Table.from_arrays(arrays, schema=schema(table))


def stage(table: str, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the rows to `path`: after return they survive a power cut, before it `path` is as it was."""
    arrow = to_arrow(table, rows)
    path = Path(path)
    _make_dir(path.parent)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            pq.write_table(arrow, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # only there if something above failed
    fsync_dir(path.parent)


def publish(staged: Path, results: Path, table: str, key: str) -> Path:
    """Renames a staged file to results/tables/<table>/<key>.parquet, durably, and returns that path.

    Publishing twice is publishing once. FileNotFoundError if there is neither a staged nor a published file.
    """
    target = _target(results, table, key)
    _make_dir(target.parent)
    try:
        os.replace(staged, target)
    except FileNotFoundError:
        if not target.exists():
            raise FileNotFoundError(f"table {table}: nothing to publish: no {staged} and no {target}") from None
    fsync_dir(target.parent)
    return target


def write(results: Path, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Stages and publishes the rows of one key; what the key held before is replaced whole. Returns the path."""
    _target(results, table, key)  # refuses a bad key before anything is written
    staged = Path(results) / "staging" / f"{table}.{key}.parquet"
    stage(table, rows, staged)
    return publish(staged, results, table, key)


def files(results: Path, table: str) -> list[Path]:
    """The table's files by name; empty where nothing was written yet."""
    _columns(table)
    return sorted((Path(results) / "tables" / table).glob("[!._]*.parquet"))


def read(results: Path, table: str) -> pa.Table:
    """The whole table with its full schema, empty where nothing was written yet."""
    paths = [str(path) for path in files(results, table)]
    if not paths:
        return schema(table).empty_table()
    return ds.dataset(paths, schema=schema(table), format="parquet").to_table()


def fsync_dir(path: Path) -> None:
    """Makes the names in a directory durable: a rename is lost in a power cut until then."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _columns(table: str) -> tuple[Column, ...]:
    if table not in TABLES:
        raise ValueError(f"no table `{table}`. Known: {', '.join(TABLES)}")
    return TABLES[table]


def _target(results: Path, table: str, key: str) -> Path:
    _columns(table)
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"table {table}: {key!r} cannot name a file\n\nhint: letters, digits, dot, dash, underscore and plus; "
            "a letter or digit first"
        )
    return Path(results) / "tables" / table / f"{key}.parquet"


def _make_dir(path: Path) -> None:
    """Creates the directory with its parents; each new name is durable."""
    if path.is_dir():
        return
    _make_dir(path.parent)
    path.mkdir(exist_ok=True)
    fsync_dir(path.parent)


def _convert(table: str, column: Column, value: Any) -> Any:
    if value is None:
        return None
    try:
        return _CONVERTERS[column.type](value)
    except (TypeError, OverflowError) as error:
        raise ValueError(
            f"table {table}: column {column.name} is {column.type}, got {value!r} ({type(value).__name__}): {error}"
        ) from None


def _to_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError("not an integer")
    if not -(2**63) <= value < 2**63:
        raise OverflowError("does not fit into 64 bits")
    return int(value)


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError("not a number")
    number = float(value)
    return number if math.isfinite(number) else None


def _to_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _to_timestamp(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError("not a datetime with a time zone")
    return value.astimezone(UTC)


def _to_map(value: Any) -> list[tuple[str, float | None]]:
    if not isinstance(value, Mapping):
        raise TypeError("not a mapping")
    return [(_to_string(name), None if number is None else _to_float(number)) for name, number in value.items()]


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "string": _to_string,
    "int64": _to_int,
    "float64": _to_float,
    "bool": _to_bool,
    "timestamp": _to_timestamp,
    "map": _to_map,
}
