"""Timing side by side: what is compared runs in turn, round after round, so that a slow moment meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Of several rounds: median, least and most; seconds of one call, or whatever unit the values have."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Timing:
        return cls(statistics.median(values), min(values), max(values))

    def show(self, scale: float = 1.0, digits: int = 3) -> str:
        """Two cells of a table: median, and the spread from least to most."""
        median, low, high = (f"{value * scale:,.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} | {low} to {high}"


def time_in_turn(
    calls: Mapping[str, Call], *, device: torch.device, rounds: int, repeats: int
) -> dict[str, Timing]:
    """Seconds of a call of each, by name: of `repeats` calls of one after the other, `rounds` times, after a warm-up.

    Before each turn comes a call that is not counted: caches and allocator are still the neighbour's.
    """
    for call in calls.values():
        measure_seconds(call, device=device, repeats=min(repeats, 3))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            found[name].append(measure_seconds(call, device=device, repeats=repeats))
    return {name: Timing.of(seconds) for name, seconds in found.items()}


def measure_seconds(call: Call, *, device: torch.device, repeats: int) -> float:
    """Seconds of one of `repeats` calls: between two CUDA events on a GPU, wall time elsewhere."""
    if device.type != "cuda":
        start = time.perf_counter()
        _repeat(call, repeats)
        return (time.perf_counter() - start) / repeats
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    _repeat(call, repeats)
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1000 / repeats


def measure_rate(call: Call, *, device: torch.device, seconds: float, stride: int) -> float:
    """Calls a second, over at least so many seconds; the device is waited for after every `stride` calls."""
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        _repeat(call, stride)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        count += stride
    return count / passed


def _repeat(call: Call, times: int) -> None:
    for _ in range(times):
        call()
