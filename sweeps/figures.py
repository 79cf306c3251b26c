"""Numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Callable


def format_share(share: float | None) -> str:
    """A fraction in per cent, `-` where there is none."""
    return "-" if share is None else f"{100 * share:.2f} %"


def format_seconds(seconds: float) -> str:
    """Whole seconds under a minute, else minutes, else hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def format_bytes(num_bytes: float) -> str:
    """`3.24 GB`, `120 kB`; powers of ten, as disks are sold."""
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} GB" if num_bytes < 1000 else f"{num_bytes:,.0f} GB"


def format_range(low: float, high: float, form: Callable[[float], str] = "{:,}".format) -> str:
    """`1,200 to 3,000`; one number where both read the same."""
    low_text, high_text = form(low), form(high)
    return low_text if low_text == high_text else f"{low_text} to {high_text}"


def format_setting(value: object) -> str:
    """Three digits of a float, others as they are."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def count(number: int, noun: str) -> str:
    """`1 arm`, `2 arms`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
