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
