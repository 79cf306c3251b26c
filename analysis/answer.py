"""The answer to a question about studies: rows with explained columns, and what to know before believing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Field:
    """One column of an answer. Shares are fractions here; only a renderer turns them into per cent."""

    name: str
    unit: str       # fraction and difference (of two fractions; shown in per cent and pp), share (shown as it is),
                    # rank, p, nats, s, bytes, text, or "" for counts and others
    meaning: str
    better: str = ""    # high or low where one value can be called best


@dataclass(frozen=True)
class Answer:
    """Rows with a fixed set of columns; a missing value is None."""

    title: str
    keys: tuple[str, ...]               # columns that say what a row is of
    fields: tuple[Field, ...]
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()         # one sentence each: what was left out, refused or must be known

    def to_pandas(self) -> pd.DataFrame:
        """The rows, typed; `attrs["notes"]` holds the notes."""
        frame = pd.DataFrame(list(self.rows), columns=[*self.keys, *(field.name for field in self.fields)])
        frame.attrs["notes"] = list(self.notes)
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        columns = [describe_column(field) for field in self.fields]
        return {"title": self.title, "columns": columns, "rows": self.rows, "notes": self.notes}


def describe_column(column: Field) -> dict[str, str | None]:
    """What a program is told of a column."""
    return {"name": column.name, "unit": column.unit, "meaning": column.meaning, "better": column.better or None}
