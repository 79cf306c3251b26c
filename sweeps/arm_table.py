"""The table of arms that `kdsweep status` and the live display show: pairs, methods, what each has come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from sweeps.figures import format_share

_STYLES = {"searching": "cyan", "repeating": "blue", "done": "green", "blocked": "red", "waiting": "dim"}
_ORDER = ("searching", "repeating", "waiting", "blocked", "done")  # which rows stay where a screen is too low for all
_FINAL = ("completed", "stopped", "diverged")


def build_arm_table(summary: Mapping[str, Any], *, max_rows: int | None = None) -> Table:
    """One row an arm of `sweeps.status.summarise`. With max_rows, the arms at work first, and a line for the rest."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("pair", "method", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("run", "paused", "ended", "failed", "repeats", "best val"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("rungs", no_wrap=True)
    shown, hidden = choose_arms(summary["arms"], max_rows)
    for arm in shown:
        table.add_row(*_build_row(arm))
    if hidden:
        counts = ", ".join(f"{count} {status}" for status, count in count_statuses(hidden).items())
        table.add_row(Text(f"and {len(hidden)} more", style="dim"), "", Text(counts, style="dim"))
    return table


def choose_arms(arms: list[dict[str, Any]], max_rows: int | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The arms to show, in study order, and those to count only. One row is kept for the totals."""
    if max_rows is None or len(arms) <= max_rows:
        return arms, []
    chosen = sorted(arms, key=lambda arm: _ORDER.index(arm["status"]))[: max(0, max_rows - 1)]
    kept = {arm["arm_id"] for arm in chosen}
    return [arm for arm in arms if arm["arm_id"] in kept], [arm for arm in arms if arm["arm_id"] not in kept]


def count_statuses(arms: list[dict[str, Any]]) -> dict[str, int]:
    """Status -> number of arms, without those that none has."""
    counts = {status: sum(arm["status"] == status for arm in arms) for status in _ORDER}
    return {status: count for status, count in counts.items() if count}


def name_pair(arm: Mapping[str, Any]) -> str:
    """`resnet32x4 -> resnet8x4`; the student alone where no teacher is needed."""
    return arm["student"] if arm["teacher"] is None else f"{arm['teacher']} -> {arm['student']}"


def _build_row(arm: Mapping[str, Any]) -> list[Text]:
    trials, repeats = arm["trials"], arm["repeats"]
    ended = sum(trials.get(status, 0) for status in _FINAL)
    cells = [
        name_pair(arm),
        arm["method"],
        arm["status"],
        _blank_zero(trials.get("running", 0) + repeats.get("running", 0)),
        _blank_zero(trials.get("paused", 0)),
        f"{ended}/{arm['trials_planned']}",
        _blank_zero(trials.get("failed", 0) + repeats.get("failed", 0)),
        f"{repeats.get('completed', 0)}/{arm['repeats_planned']}",
        format_share(arm["best_val_top1"]),
        " ".join(f"{rung['epoch']}:{rung['trials']}" for rung in arm["rungs"]),
    ]
    row = [Text(cell) for cell in cells]
    row[2].stylize(_STYLES[arm["status"]])
    return row


def _blank_zero(count: int) -> str:
    return str(count) if count else ""
