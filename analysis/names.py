"""A name that does not exist is answered with those that do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence that says which `kind` does not exist, the nearest name whatever its case, and all known ones."""
    names = {one.lower(): one for one in sorted(set(known))}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    guess = f" Did you mean `{names[close[0]]}`?" if close else ""
    return f"no {kind} `{name}`.{guess} Known: {', '.join(names.values()) or 'none'}"
