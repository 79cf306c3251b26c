"""What a trial costs as trials, pairs, slots and data grow, and what an extra slot takes in memory.

    python benchmarks/scale.py [--repeats 5] [--folder DIR]
    python benchmarks/scale.py --tiny                         # does it run at all

    trials   settings an arm; one arm, 4 slots           cost a trial of a study whose trials cost nothing
    pairs    arms; 4 settings each, 4 slots              (benchmarks/scale_study.py): planner, journal, shelf, tables
    slots    trials at once; one arm of 64 settings
    data     images, x 256; an epoch of a small student  cost an image of training, a live teacher included

Sizes run in turn, round after round; figures are medians with the least and the most. CPU time is this process's;
wall time has the disk's too, which every decision waits for. DIR is on that disk. The growth exponent is the slope of
log(cost a trial) over log(size), by least squares: 0 where a trial costs the same whatever the size, 1 where twice the
size makes each twice as dear.

Memory: 1, 2 and 4 processes that each hold a trial on 50,000 CIFAR-sized images, its teacher's logits from one table.
Proportional: a page that n processes share counts 1/n for each. Peak: the most that was ever resident, shared pages
counted by each.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.random_trials import TINY_PAIR, Pair
from benchmarks.rounds import Timing
from benchmarks.scale_memory import Memory, measure_memory, prepare_trial
from benchmarks.scale_study import Cost, measure_study
from kdtrain.config import TrialConfig
from kdtrain.environment import describe_environment
from kdtrain.train import train

Point = tuple[str, int]     # what grows, and to what size

_HELD = Pair(TINY_PAIR.teacher, "resnet8x4")    # the teacher is asked to fill the table, and never held


@dataclass(frozen=True)
class Size:
    """How far everything grows; chosen by hand."""

    factors: tuple[int, ...] = (1, 4, 16, 64)
    settings: int = 64                  # of the arm whose slots grow
    images: int = 256                   # at factor 1
    processes: tuple[int, ...] = (1, 2, 4)
    held: Pair = _HELD
    held_data: str = "benchmarks.random_trials:CIFAR_SIZED"


TINY = Size(
    factors=(1, 2), settings=2, images=100, processes=(1, 2), held=TINY_PAIR,
    held_data="benchmarks.random_trials:TINY",
)


# ------------------------------------------------------------------------------------------------- growth

def measure_growth(size: Size, *, repeats: int, folder: Path | None) -> dict[Point, list[Cost]]:
    """The costs at every size, repeat by repeat, after one of the smallest that is not counted."""
    points = [(axis, factor) for axis in ("trials", "pairs", "slots", "data") for factor in size.factors]
    _measure_point(("trials", 1), size, folder)
    _measure_point(("data", 1), size, folder)
    found: dict[Point, list[Cost]] = defaultdict(list)
    for _, point in itertools.product(range(repeats), points):
        found[point].append(_measure_point(point, size, folder))
    return found


def _measure_point(point: Point, size: Size, folder: Path | None) -> Cost:
    axis, factor = point
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        if axis == "data":
            return measure_epoch(Path(fresh), num_images=factor * size.images)
        grown = {
            "trials": {"trials": factor, "pairs": 1, "slots": 4},
            "pairs": {"trials": 4, "pairs": factor, "slots": 4},
            "slots": {"trials": size.settings, "pairs": 1, "slots": factor},
        }
        return measure_study(Path(fresh), **grown[axis])


def measure_epoch(folder: Path, *, num_images: int) -> Cost:
    """Of a trial's second epoch of two; the first is its warm-up."""
    trial = prepare_trial(folder, TINY_PAIR, data="benchmarks.random_trials:SMALL").to_dict()
    trial |= {"train_images": num_images, "epochs": 2, "tables_dir": None}
    first, second = (dict(epoch.run.spent) for epoch in train(TrialConfig.from_dict(trial)))
    cpu, wall = (second[name] - first[name] for name in ("cpu_seconds", "wall_seconds"))
    return Cost(cpu, wall, num_images)


def fit_exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The slope of log(cost) over log(size), by least squares."""
    x, y = ([math.log(value) for value in values] for values in (sizes, costs))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def to_milliseconds(costs: Sequence[Cost], name: str) -> Timing:
    """Of one trial or image."""
    return Timing.of([1000 * getattr(cost, name) / cost.count for cost in costs])


def print_growth(found: dict[Point, list[Cost]]) -> None:
    print("\n| grows | to | trials or images | CPU ms each | spread | wall ms each | spread |")
    print("|---|---|---|---|---|---|---|")
    for (axis, factor), costs in found.items():
        cpu, wall = (to_milliseconds(costs, name).show() for name in ("cpu_seconds", "wall_seconds"))
        print(f"| {axis} | {factor} | {costs[0].count:,} | {cpu} | {wall} |")
    print("\n| grows | exponent of CPU time | exponent of wall time |\n|---|---|---|")
    for axis in dict.fromkeys(axis for axis, _ in found):
        cpu, wall = (f"{fit_axis(found, axis, name):+.2f}" for name in ("cpu_seconds", "wall_seconds"))
        print(f"| {axis} | {cpu} | {wall} |")


def fit_axis(found: dict[Point, list[Cost]], axis: str, name: str) -> float:
    """The growth exponent of the medians."""
    medians = {factor: to_milliseconds(costs, name).median for (grows, factor), costs in found.items() if grows == axis}
    return fit_exponent(list(medians), list(medians.values()))


# ------------------------------------------------------------------------------------------------- memory

def print_memory(size: Size, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        config = prepare_trial(Path(fresh), size.held, data=size.held_data)
        measure_memory(config, 1, Path(fresh))      # fills the table
        found = {count: measure_memory(config, count, Path(fresh)) for count in size.processes}
    print("\n| processes | proportional MB | resident MB | peak MB |\n|---|---|---|---|")
    for count, memory in found.items():
        print(f"| {count} | {_show(memory)} |")
    print(f"| each more | {_show(find_extra(found))} |")


def find_extra(found: dict[int, Memory]) -> Memory:
    """What one process more takes, on average from the fewest to the most."""
    fewest, most = min(found), max(found)
    names = ("proportional", "resident", "peak")
    grown = {name: getattr(found[most], name) - getattr(found[fewest], name) for name in names}
    return Memory(**{name: round(value / (most - fewest)) for name, value in grown.items()})


def _show(memory: Memory) -> str:
    return " | ".join(f"{value / 1e6:,.0f}" for value in (memory.proportional, memory.resident, memory.peak))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where studies are written and removed; default: the system's own")
    parser.add_argument("--tiny", action="store_true", help="the least of everything")
    given = parser.parse_args(arguments)
    size, row = TINY if given.tiny else Size(), describe_environment()
    machine = f"{row['cpu']}; Python {row['python']}, torch {row['torch']}; {datetime.now(UTC):%Y-%m-%d}"
    print(f"{machine}; {given.repeats} runs each, one process of one thread", flush=True)
    print_growth(measure_growth(size, repeats=given.repeats, folder=given.folder))
    print_memory(size, given.folder)


if __name__ == "__main__":
    main()
