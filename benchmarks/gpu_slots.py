"""Steps a second of one trial alone on a device, and of several in processes of their own, all at once."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import multiprocessing

from benchmarks.gpu_steps import build_captured_step, build_step
from benchmarks.random_trials import Pair, build_trial, draw_images, recall_teacher
from benchmarks.rounds import Call, measure_rate

Rates = dict[tuple[str, str, int], float]
"""(pair, step, slots) -> steps a second of all slots together."""


class Barrier(Protocol):
    """Where processes wait for one another."""

    def wait(self) -> int: ...


@dataclass(frozen=True)
class Plan:
    """What every slot does."""

    pairs: tuple[Pair, ...]
    slots: tuple[int, ...]          # how many at once, one after the other
    num_images: int
    batch: int
    precision: str
    device: str
    seconds: float                  # that each of them is measured for


def measure_slots(plan: Plan) -> Rates:
    """Every slot is a process that stays; those that a number of slots leaves out wait meanwhile."""
    most = max(plan.slots)
    barrier = multiprocessing.get_context("spawn").Barrier(most)
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, args=(barrier, folder, plan), nprocs=most, join=True)
        return add_up([json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))])


def work(rank: int, barrier: Barrier, folder: str, plan: Plan) -> None:
    """One slot's part; writes its rates to a file."""
    found = []
    for pair in plan.pairs:
        for name, step in build_steps(pair, plan).items():
            for slots in plan.slots:
                barrier.wait()
                if rank < slots:
                    found.append([str(pair), name, slots, _measure(step, plan)])
                barrier.wait()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


def build_steps(pair: Pair, plan: Plan) -> dict[str, Call]:
    """A trial's step with the teacher's logits at hand; on a GPU also in a graph. Both after a warm-up."""
    images = draw_images(plan.num_images)
    run = build_trial(pair, images, batch=plan.batch, precision=plan.precision, device=plan.device)
    run = recall_teacher(run)
    steps = {"eager": build_step(run)}
    if run.device.type == "cuda":
        steps["in a graph"] = build_captured_step(run)
    for step in steps.values():
        for _ in range(3):
            step()
    return steps


def add_up(slots: Sequence[Sequence[tuple[str, str, int, float]]]) -> Rates:
    """The rates of all slots together."""
    total: Rates = defaultdict(float)
    for found in slots:
        for pair, name, count, rate in found:
            total[pair, name, count] += rate
    return dict(total)


def _measure(step: Call, plan: Plan) -> float:
    return measure_rate(step, device=torch.device(plan.device), seconds=plan.seconds, stride=10)
