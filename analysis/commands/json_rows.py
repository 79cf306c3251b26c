"""Rows of an SQL answer as JSON: numbers stay numbers, and what JSON cannot say is null or text."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def to_json(rows: pa.Table) -> str:
    """A list of one object per row. ValueError where two columns have one name.

    NaN and infinities are null, times are ISO 8601, and what has no JSON of its own is text.
    """
    for name, times in Counter(rows.column_names).items():
        if times > 1:
            raise ValueError(f"sql: {times} columns are called {name}, and a row of JSON has one\n\n"
                             "hint: name them: select ... as ...")
    return json.dumps([_to_plain(row) for row in rows.to_pylist(maps_as_pydicts="strict")], allow_nan=False)


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):  # DuckDB's sum of whole numbers is one
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        at = value if value.tzinfo is None else value.astimezone(UTC)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value if value is None or isinstance(value, int | str) else str(value)
