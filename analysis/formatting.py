"""Values as a person reads them: per cent, percentage points, minutes; "-" where there is none."""

from __future__ import annotations

from typing import Any, Protocol


class Named(Protocol):
    """A column of any table: see analysis.answer.Field."""

    name: str
    unit: str


def format_head(column: Named) -> str:
    """The column's name, with its sign."""
    name = _HEADS.get(column.name, column.name.removeprefix("num_"))
    return name.replace("_", " ") + _SIGNS.get(column.unit, "")


def format_value(value: Any, unit: str = "") -> str:
    """The value by its unit, see analysis.answer.Field."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit in _FORMATS:
        return _FORMATS[unit](value)
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def count(number: int, noun: str) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """Seconds under a minute, else minutes, else hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _format_bytes(size: float) -> str:
    """In thousands, as disks are sold: 591 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _format_p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


_HEADS = {"seconds": "time", "p_holm": "p (Holm)", "gain_iqm": "gain IQM"}
_SIGNS = {"fraction": " %", "difference": " pp"}  # pp: percentage points
_FORMATS = {
    "fraction": lambda value: f"{100 * value:.2f}",
    "difference": lambda value: f"{100 * value:+.2f}",
    "share": lambda value: f"{value:.2f}",
    "rank": lambda value: f"{value:.2f}",
    "nats": lambda value: f"{value:.3f}",
    "p": _format_p,
    "s": format_seconds,
    "bytes": _format_bytes,
}
