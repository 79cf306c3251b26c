"""Rows as Arrow tables of exactly the types in columns.py: every value is checked before it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import Any

import pyarrow as pa

from analysis.columns import SCHEMA_VERSION, TABLES, Column

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "map": pa.map_(pa.string(), pa.float64()),
}


def find_columns(table: str) -> tuple[Column, ...]:
    """The table's columns in order. ValueError if there is no such table."""
    if table not in TABLES:
        raise ValueError(f"no table `{table}`. Known: {', '.join(TABLES)}")
    return TABLES[table]


def schema(table: str) -> pa.Schema:
    """The table's columns in order; the footer carries schema version, table and units. ValueError if unknown."""
    columns = find_columns(table)
    metadata = {
        "kdsweep.schema_version": str(SCHEMA_VERSION),
        "kdsweep.table": table,
        "kdsweep.units": json.dumps({c.name: c.unit for c in columns if c.unit}),
    }
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in columns], metadata=metadata)


def to_arrow(table: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as Arrow. Absent, NaN and infinite become null; an unknown column or a wrong type is a ValueError."""
    columns = find_columns(table)
    known = {c.name for c in columns}
    for row in rows:
        if unknown := sorted(set(row) - known):
            raise ValueError(f"table {table}: no column {', '.join(map(repr, unknown))}\n\nhint: see `kdsweep tables`")
    arrays = [pa.array([_convert(table, c, row.get(c.name)) for row in rows], ARROW_TYPES[c.type]) for c in columns]
    return pa.Table.from_arrays(arrays, schema=schema(table))


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
