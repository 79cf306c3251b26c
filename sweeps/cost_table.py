"""What a study will cost, for a person and for a program: `kdsweep plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from sweeps.cost import ArmCost, Cost
from sweeps.figures import format_bytes, format_range, format_seconds

_TOTALS = ("trials", "epochs_low", "epochs_high", "seconds_low", "seconds_high")


def to_json(cost: Cost) -> dict[str, Any]:
    """The cost as plain JSON values; seconds are those of one slot."""
    return {
        **{name: getattr(cost, name) for name in _TOTALS},
        "arms": [asdict(arm) | {"seconds_low": arm.seconds_low, "seconds_high": arm.seconds_high} for arm in cost.arms],
        "teachers": [asdict(teacher) | {"seconds": teacher.seconds} for teacher in cost.teachers],
        "imported": list(cost.imported),
        "tables": [asdict(table) for table in cost.tables],
    }


def build_cost_table(cost: Cost) -> Table:
    """A row for each teacher that is trained or imported, each teacher table and each arm, and their sum."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("arm or teacher", no_wrap=True)
    for name in ("trials + repeats", "epochs", "time on one slot"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in cost.imported:
        table.add_row(Text(f"teacher {model}, imported"), "0", "0", "-")
    for teacher in cost.teachers:
        table.add_row(Text(f"teacher {teacher.model}"), "1", f"{teacher.epochs:,}", format_seconds(teacher.seconds))
    for found in cost.tables:
        table.add_row(Text(f"table of {found.model}, {format_bytes(found.num_bytes)}"), "-", "-",
                      format_seconds(found.seconds))
    for arm in cost.arms:
        table.add_row(*_build_row(arm))
    table.add_row(
        "all", f"{cost.trials:,}", format_range(cost.epochs_low, cost.epochs_high),
        format_range(cost.seconds_low, cost.seconds_high, format_seconds), style="bold",
    )
    return table


def _build_row(arm: ArmCost) -> list[Text]:
    low, high = (epochs + arm.repeat_epochs for epochs in (arm.tune_epochs_low, arm.tune_epochs_high))
    seconds = format_range(arm.seconds_low, arm.seconds_high, format_seconds)
    return [Text(cell) for cell in (arm.arm_id, f"{arm.trials} + {arm.repeats}", format_range(low, high), seconds)]
