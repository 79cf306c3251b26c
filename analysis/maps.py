"""An answer of analysis.sensitivity as maps, one per arm: what a picture and a terminal both show."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.answer import Answer
from analysis.arm_rows import ARM_KEYS
from analysis.ranges import Value, format_part

Part = tuple[Value, Value]

# Nine colours of viridis (van der Walt and Smith 2015), low to high: told apart in grey and by colour-blind eyes.
VIRIDIS = (
    (68, 1, 84), (71, 44, 123), (58, 82, 139), (44, 114, 142), (32, 144, 140), (40, 174, 127), (94, 201, 97),
    (173, 220, 48), (253, 231, 36),
)


@dataclass(frozen=True)
class HeatMap:
    """One arm's cells by (place along x, place along y). An arm with one setting has no y and one row."""

    keys: Mapping[str, Any]
    x: str
    y: str | None
    x_parts: tuple[Part, ...]
    y_parts: tuple[Part, ...]
    cells: Mapping[tuple[int, int], Mapping[str, Any]]

    def describe(self, *, with_study: bool = False) -> str:
        """The arm in words."""
        teacher, student = self.keys["teacher"], self.keys["student"]
        study = f"{self.keys['study']}: " if with_study else ""
        models = student if teacher is None else f"{teacher} → {student}"
        return f"{study}{self.keys['method']} on {self.keys['data']}: {models}"

    def shade(self, mean: float) -> float:
        """Where the mean lies between the map's lowest, 0, and its highest, 1; the middle where all are equal."""
        means = [row["val_top1_mean"] for row in self.cells.values() if row["val_top1_mean"] is not None]
        low, high = min(means), max(means)
        return (mean - low) / (high - low) if low < high else 0.5


def list_maps(answer: Answer) -> list[HeatMap]:
    """The answer's maps in its order."""
    arms = itertools.groupby(answer.rows, key=lambda row: {key: row[key] for key in ARM_KEYS})
    return [_build_map(keys, list(rows)) for keys, rows in arms]


def choose_colour(shade: float) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a shade from 0 to 1: viridis, straight between nine of its colours."""
    place = shade * (len(VIRIDIS) - 1)
    left = min(int(place), len(VIRIDIS) - 2)
    red, green, blue = (
        round(low + (high - low) * (place - left)) for low, high in zip(VIRIDIS[left], VIRIDIS[left + 1], strict=True)
    )
    return red, green, blue


def choose_ink(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """White on dark, nearly black on light."""
    red, green, blue = colour
    light = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601 luma
    return (20, 26, 31) if light > 125 else (255, 255, 255)  # 125: chosen by hand, between viridis' green and blue


def label_parts(parts: tuple[Part, ...]) -> list[str]:
    """What each part is called."""
    return [format_part(*part) for part in parts]


def _build_map(keys: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> HeatMap:
    x_parts = tuple(dict.fromkeys((row["x_low"], row["x_high"]) for row in rows))
    y_parts = tuple(dict.fromkeys((row["y_low"], row["y_high"]) for row in rows))
    cells = {
        (x_parts.index((row["x_low"], row["x_high"])), y_parts.index((row["y_low"], row["y_high"]))): row
        for row in rows
    }
    return HeatMap(keys, rows[0]["x"], rows[0]["y"], x_parts, y_parts, cells)
