"""What a device can do, and how near a training step of ours comes to it: on resident random CIFAR-sized images.

    python benchmarks/gpu.py                                        # the whole on a GPU
    python benchmarks/gpu.py --sections steps --precision bf16      # a part of it in another precision
    python benchmarks/gpu.py --device cpu --tiny                    # does it run at all

Needs torch and `kdtrain`; no Ray, nothing to download. Three sections:

    steps    the device's ceilings: a large copy, a large matrix product in each arithmetic; then by pair the floor, our
             step with the teacher's logits at hand and with the teacher in every step, and on a GPU floor and step as
             one CUDA graph; benchmarks/gpu_steps.py says what each is
    table    the teacher's rate in batches of 256; an epoch's logits read from host and from device memory
    trials   240-epoch trials of 50,000 images an hour, of one slot and of several at once in processes of their own

Steps are timed in turn, round after round, by CUDA events on a GPU and by the wall clock elsewhere; figures are medians
with the least and the most. The start of an epoch (its order and views) and measuring on validation images are not in
them. A share is of the ceiling measured in the same run: operations are counted as 3 x 2 x multiply-adds x batch (plus
2 x those of a teacher that is asked), bytes as said in benchmarks/arithmetic.py: each operation reads its inputs and
writes its outputs once, at 4 bytes a number (2 in bf16). A convolution may beat the product: it may come from a better
library, or multiply less than it is counted for (Winograd). No thresholds: the figures are for people.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arithmetic import count_flops, count_forward_elements, count_step_elements, to_trials_per_hour
from benchmarks.gpu_slots import Plan, measure_slots
from benchmarks.gpu_steps import build_captured_floor, build_captured_step, build_floor, build_step
from benchmarks.gpu_table import measure_fill, measure_reads
from benchmarks.random_trials import PAIRS, TINY_PAIR, Pair, build_trial, draw_images, recall_teacher
from benchmarks.rounds import Call, Timing, time_in_turn
from kdtrain.environment import describe_environment
from kdtrain.model import describe_model
from kdtrain.precision import name_arithmetic
from kdtrain.run import Run

TRIAL = {"images": 50_000, "epochs": 240}       # the usual CIFAR-100 recipe since Tian et al. 2020, arXiv:1910.10699
NUM_VIEWS = 162                                 # of a crop after 4 pixels of padding, and its mirror image
LIVE, FLOOR = "ours, teacher in every step", "floor"


@dataclass(frozen=True)
class Size:
    """How large everything is; chosen by hand."""

    num_images: int = 50_000
    batch: int = 64
    rounds: int = 7
    steps: int = 50                     # of a round
    copy_bytes: int = 2**30
    side: int = 8192                    # of the matrices
    fill_images: int = 10_240
    slots: tuple[int, ...] = (1, 2, 4, 8)
    seconds: float = 3.0                # of each number of slots


TINY = Size(
    num_images=64, batch=8, rounds=2, steps=2, copy_bytes=2**20, side=64, fill_images=64, slots=(1, 2), seconds=0.1
)


@dataclass(frozen=True)
class Bench:
    """What is measured, and on what."""

    size: Size
    pairs: tuple[Pair, ...]
    precision: str
    device: torch.device

    def build_trial(self, pair: Pair) -> Run:
        images = draw_images(self.size.num_images)
        return build_trial(pair, images, batch=self.size.batch, precision=self.precision, device=str(self.device))

    def time(self, calls: dict[str, Call], repeats: int) -> dict[str, Timing]:
        return time_in_turn(calls, device=self.device, rounds=self.size.rounds, repeats=repeats)


# ------------------------------------------------------------------------------------------------- ceilings

def measure_bandwidth(bench: Bench) -> Timing:
    """Seconds of a copy of `copy_bytes` within the device's memory, each byte read once and written once."""
    source = torch.zeros(bench.size.copy_bytes, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return bench.time({"copy": lambda: target.copy_(source)}, 10)["copy"]


def measure_products(bench: Bench) -> dict[str, Timing]:
    """Seconds of a product of two square matrices in each arithmetic that the device has."""
    return {name: _measure_product(bench, name) for name in list_arithmetics(bench.device)}


def list_arithmetics(device: torch.device) -> list[str]:
    """TF32 and bfloat16 came to GPUs with compute capability 8.0 (Ampere)."""
    if device.type != "cuda":
        return ["float32", "bfloat16"]
    return ["float32", "tf32", "bfloat16"] if torch.cuda.get_device_capability(device) >= (8, 0) else ["float32"]


def _measure_product(bench: Bench, arithmetic: str) -> Timing:
    dtype = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
    left, right = (torch.randn(bench.size.side, bench.size.side, device=bench.device, dtype=dtype) for _ in range(2))
    made = torch.empty_like(left)
    with _rounding("high" if arithmetic == "tf32" else "highest"):
        return bench.time({"product": lambda: torch.mm(left, right, out=made)}, 10)["product"]


@contextmanager
def _rounding(precision: str) -> Iterator[None]:
    """Within it, whether products of float32 matrices may be computed in TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Ceilings:
    """Of the device, measured: bytes a second and, by arithmetic, operations a second."""

    bandwidth: float
    flops: dict[str, float]


def print_ceilings(bench: Bench) -> Ceilings:
    copy, products = measure_bandwidth(bench), measure_products(bench)
    moved, operations = 2 * bench.size.copy_bytes, 2 * bench.size.side**3
    mib, rate = bench.size.copy_bytes / 2**20, moved / copy.median / 1e9
    print("\n| ceiling | ms, median | spread | rate |\n|---|---|---|---|")
    print(f"| copy of {mib:,.0f} MiB | {copy.show(1000)} | {rate:,.1f} GB/s |")
    for name, timing in products.items():
        rate = operations / timing.median / 1e12
        print(f"| {name} product, side {bench.size.side} | {timing.show(1000)} | {rate:.3g} TFLOP/s |", flush=True)
    return Ceilings(moved / copy.median, {name: operations / timing.median for name, timing in products.items()})


# ------------------------------------------------------------------------------------------------- steps

def build_steps(live: Run) -> dict[str, Call]:
    """What is compared, by its name in the table."""
    recalled = recall_teacher(live)
    steps = {FLOOR: build_floor(live), "ours, logits at hand": build_step(recalled), LIVE: build_step(live)}
    if live.device.type == "cuda":
        steps["floor, in a graph"] = build_captured_floor(live)
        steps["ours, logits at hand, in a graph"] = build_captured_step(recalled)
    return steps


def print_steps(bench: Bench) -> None:
    ceilings = print_ceilings(bench)
    print("\n| pair | arithmetic | step | ms, median | spread | / floor | images/s | TFLOP/s | share of the product | "
          "GB/s | share of the copy |\n|---|---|---|---|---|---|---|---|---|---|---|")
    for pair in bench.pairs:
        live = bench.build_trial(pair)
        timings = bench.time(build_steps(live), bench.size.steps)
        alone, asked = (count_work(bench, pair, live=asked) for asked in (False, True))
        arithmetic = name_arithmetic(bench.precision, live.student, bench.device)
        for name, timing in timings.items():
            work = asked if name == LIVE else alone
            over, rate = timing.median / timings[FLOOR].median, bench.size.batch / timing.median
            print(f"| {pair} | {arithmetic} | {name} | {timing.show(1000)} | {over:.2f} | {rate:,.0f} | "
                  f"{describe_shares(bench, work, seconds=timing.median, ceilings=ceilings)} |", flush=True)


@dataclass(frozen=True)
class Work:
    """What a step has to do, counted."""

    flops: int
    moved_bytes: int


def count_work(bench: Bench, pair: Pair, *, live: bool) -> Work:
    """Of the student alone; `live`: and of a teacher that is asked."""
    info, batch = draw_images(1).info, bench.size.batch
    student, teacher = (describe_model(model, info).macs for model in (pair.student, pair.teacher))
    elements = count_step_elements(pair.student, info, batch=batch)
    elements += count_forward_elements(pair.teacher, info, batch=batch) if live else 0
    flops = count_flops(student_macs=student, teacher_macs=teacher if live else 0, batch=batch)
    return Work(flops, elements * (2 if bench.precision == "bf16" else 4))


def describe_shares(bench: Bench, work: Work, *, seconds: float, ceilings: Ceilings) -> str:
    """Operations a second and their share of the product's, bytes a second and theirs of the copy's."""
    flops, moved = work.flops / seconds, work.moved_bytes / seconds
    of_product, of_copy = flops / ceilings.flops[_name_peak(bench)], moved / ceilings.bandwidth
    return f"{flops / 1e12:.3g} | {of_product:.1%} | {moved / 1e9:,.1f} | {of_copy:.1%}"


def _name_peak(bench: Bench) -> str:
    """The arithmetic whose peak bounds a step: cuDNN's convolutions round float32 to TF32 unless told not to."""
    if bench.precision == "bf16":
        return "bfloat16"
    return "tf32" if torch.backends.cudnn.allow_tf32 and "tf32" in list_arithmetics(bench.device) else "float32"


# ------------------------------------------------------------------------------------------------- table, trials

def print_table(bench: Bench) -> None:
    print("\n| teacher | images/s in batches of 256 | spread | s an epoch | s for every view |\n|---|---|---|---|---|")
    for teacher, pair in {pair.teacher: pair for pair in bench.pairs}.items():
        count = bench.size.fill_images
        found = measure_fill(bench.build_trial(pair), num_images=count, rounds=bench.size.rounds)
        rate, low, high = (count / seconds for seconds in (found.median, found.high, found.low))
        epoch = TRIAL["images"] / rate
        cells = f"{rate:,.0f} | {low:,.0f} to {high:,.0f} | {epoch:.2f} | {NUM_VIEWS * epoch:,.0f}"
        print(f"| {teacher} | {cells} |", flush=True)
    print_reads(bench)


def print_reads(bench: Bench) -> None:
    """The second table: an epoch's logits from a table in memory."""
    count, classes = bench.size.num_images, draw_images(1).info.num_classes
    sizes = {"num_images": count, "num_views": NUM_VIEWS, "num_classes": classes}
    print("\n| table in | ms for an epoch's logits | spread | images/s | GB/s |\n|---|---|---|---|---|")
    for place, timing in measure_reads(**sizes, device=bench.device, rounds=bench.size.rounds).items():
        rate = count / timing.median
        print(f"| {place} | {timing.show(1000)} | {rate:,.0f} | {rate * 4 * classes / 1e9:.1f} |", flush=True)


def print_trials(bench: Bench) -> None:
    size = bench.size
    plan = Plan(
        pairs=bench.pairs, slots=size.slots, num_images=size.num_images, batch=size.batch, precision=bench.precision,
        device=str(bench.device), seconds=size.seconds,
    )
    print("\n| pair | step | slots | steps/s | trials/h | / one slot |\n|---|---|---|---|---|---|")
    rates = measure_slots(plan)
    for (pair, name, slots), rate in rates.items():
        trials = to_trials_per_hour(rate, batch=size.batch, **TRIAL)
        print(f"| {pair} | {name} | {slots} | {rate:,.1f} | {trials:,.2f} | {rate / rates[pair, name, 1]:.2f} |")


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "steps": print_steps,
    "table": print_table,
    "trials": print_trials,
}


def describe_machine() -> str:
    row = describe_environment()
    device = f"{row['gpu']}, driver: {row['driver']}, CUDA {row['cuda']}; " if row["gpu"] else ""
    return f"{device}{row['cpu']}; Python {row['python']}, torch {row['torch']}; {datetime.now(UTC):%Y-%m-%d}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="of GPUs, the first that is visible")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--pairs", nargs="+", type=int, choices=range(len(PAIRS)), help="by number, from 0")
    parser.add_argument("--tiny", action="store_true", help="the least of everything, and one pair of small networks")
    given = parser.parse_args(arguments)
    chosen = PAIRS if given.pairs is None else tuple(PAIRS[number] for number in given.pairs)
    size, pairs = (TINY, (TINY_PAIR,)) if given.tiny else (Size(), chosen)
    bench = Bench(size, pairs, precision=given.precision, device=torch.device(given.device))
    if given.device == "cpu":
        torch.set_num_threads(1)  # as trials do: the ceilings are those of one thread, too
    print(f"{describe_machine()}; batch {size.batch}, {size.rounds} rounds")
    for section in given.sections:
        SECTIONS[section](bench)


if __name__ == "__main__":
    main()
