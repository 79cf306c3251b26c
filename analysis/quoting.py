"""Text and names as SQL says them."""

from __future__ import annotations

from collections.abc import Iterable


def quote(text: object) -> str:
    """A string, such as a path: 'it''s'."""
    return "'" + str(text).replace("'", "''") + "'"


def quote_list(texts: Iterable[object]) -> str:
    """A list of strings."""
    return f"[{', '.join(map(quote, texts))}]"
