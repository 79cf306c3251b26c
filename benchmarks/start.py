"""How long a study takes to its first training step, and a worker from one job to its next.

    python benchmarks/start.py [--repeats 5]

Sides in turn, inline and on Ray. `first epoch`: `kdsweep run` of a study of four trials of one epoch of two steps, one
at a time; seconds from the command's start to the end of the first epoch. `floor`: benchmarks/first_step.py, which does
only what cannot be left out: imports torch, trains a network for one step, on Ray in a worker's process.
`next job`: from a trial's last epoch to the beginning of the next trial's first, between which lie checkpoint, rows and
decision of the one, networks and images of the other; the median of a study's three.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.process_time import run_command
from benchmarks.rounds import Timing
from benchmarks.sides import list_environment, read_epochs
from kdtrain.environment import describe_environment

STUDY = """\
study: start
data: {name: digits, validation: 200, train_images: 64}
pairs: [{student: resnet8(width=1)}]
methods: [ce]
tune: {lr: {log: [0.01, 0.1]}}
fix: {recipe: small, epochs: 1, batch_size: 32, warmup_epochs: 0}
search: {sampler: random, trials_per_arm: 3, seed: 0}
repeat: {seeds: 1, train_on: train, epoch: last}
resources: {max_parallel: 1}
"""
EXECUTORS = ("inline", "ray")


def measure_study(folder: Path, *, executor: str) -> tuple[float, float]:
    """Seconds to the end of the first epoch, and from one job to the next."""
    (folder / "study.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "sweeps", "run", "study.yaml", "--executor", executor, "--device", "cpu"]
    spent = run_command(command, env=list_environment(), cwd=folder, log=folder / "log.txt")
    epochs = sorted(read_epochs(folder / "results"), key=lambda epoch: epoch["ended_at"])
    gaps = [after["ended_at"] - after["epoch_seconds"] - before["ended_at"] for before, after in pairwise(epochs)]
    return epochs[0]["ended_at"] - spent.began_at, statistics.median(gaps)


def measure_floor(*, executor: str) -> float:
    """Seconds to the end of the step."""
    began_at = datetime.now(UTC).timestamp()
    command = [sys.executable, "-m", "benchmarks.first_step", *(["--ray"] if executor == "ray" else [])]
    said = subprocess.run(command, env=list_environment(), capture_output=True, text=True, check=True).stdout
    return float(said) - began_at


def measure(*, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Seconds by executor and side."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeats):
        for executor in EXECUTORS:
            with tempfile.TemporaryDirectory() as folder:
                first, following = measure_study(Path(folder), executor=executor)
            floor = measure_floor(executor=executor)
            for side, seconds in (("floor", floor), ("first epoch", first), ("next job", following)):
                found.setdefault((executor, side), []).append(seconds)
    return found


def describe(found: dict[tuple[str, str], list[float]]) -> Iterator[str]:
    """The rows of the table."""
    for (executor, side), seconds in found.items():
        floor = statistics.median(found[executor, "floor"])
        ratio = "-" if side == "next job" else f"{statistics.median(seconds) / floor:.2f}"
        yield f"| {executor} | {side} | {Timing.of(seconds).show()} | {ratio} |"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(given)
    machine = describe_environment()
    print(f"{machine['cpu']}; Python {machine['python']}, torch {machine['torch']}, ray {machine['ray']}; "
          f"{datetime.now(UTC):%Y-%m-%d}; {options.repeats} runs each, in turn\n")
    print("| executor | until | s, median | spread | / floor |\n|---|---|---|---|---|")
    for row in describe(measure(repeats=options.repeats)):
        print(row)


if __name__ == "__main__":
    main()
