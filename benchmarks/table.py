"""What a teacher table costs and saves: fill and read rates, bytes, break-even, eight readers at once.

    python benchmarks/table.py [--pairs 0 1 2 3 4] [--images 2048] [--readers 8] [--rounds 5]

Random images of CIFAR's size with 162 views each, 100 classes, one thread a process. `live`: the teacher's pass over an
epoch. `fill`: the same through a table that is empty, which keeps what it hears. `read`: the epoch again, from disk
through the page cache. `read by 8`: eight processes that begin together on fewer cores, each its own epoch of a full
table; the slowest of them. Microseconds are per image. Break-even: epochs of reading that pay for one of filling,
(fill - live) / (live - read); less than one, since filling costs about what one live pass does.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.gpu import describe_machine
from benchmarks.random_trials import PAIRS, Pair, build_trial, draw_images
from benchmarks.rounds import Timing
from kdtrain.augment import Augment, normalise
from kdtrain.run import Run
from kdtrain.teacher_pass import TeacherPass
from kdtrain.teacher_table import TeacherTable

CPU = torch.device("cpu")
COLUMNS = ("live", "fill", "read")


@dataclass(frozen=True)
class Views:
    """Every image in one view of it, and how a network gets them."""

    run: Run
    view_N: Tensor
    gather: Callable[[Tensor], Tensor]

    def ask(self, table: TeacherTable | None) -> Tensor:
        """logits_NC, of the table where there is one."""
        tables = {} if table is None else {"float32": table}
        run = self.run
        teacher = TeacherPass(run.config, run.images, CPU, load=lambda: run.teacher.network, tables=tables)
        return teacher.read_views(run.images.train_index_N, self.view_N, self.gather)


def draw_views(pair: Pair, *, num_images: int, seed: int) -> Views:
    """Views that are a function of the seed."""
    run = build_trial(pair, draw_images(num_images), batch=64, precision="float32", device="cpu")
    augment, images = Augment(run.config.augment, run.config.padding), run.images
    view_N = augment.draw(num_images, torch.Generator().manual_seed(seed))

    def gather(place_B: Tensor) -> Tensor:
        return normalise(augment.gather(images.full.image_NCHW, place_B, view_N[place_B]), images.info)

    return Views(run, view_N, gather)


def open_table(folder: Path, num_images: int) -> TeacherTable:
    """As a process that has not seen it yet."""
    info = draw_images(1).info
    return TeacherTable(folder, num_images, Augment(info.augment, info.padding).num_views, info.num_classes)


def measure(pair: Pair, folder: Path, *, num_images: int, rounds: int) -> dict[str, Timing]:
    """Seconds of an epoch's logits, by where they come from; the three take turns."""
    views, found = draw_views(pair, num_images=num_images, seed=0), {name: [] for name in COLUMNS}
    views.ask(None)
    for _ in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        for name, table in (("live", None), ("fill", open_table(folder, num_images)),
                            ("read", open_table(folder, num_images))):
            start = time.perf_counter()
            views.ask(table)
            found[name].append(time.perf_counter() - start)
    return {name: Timing.of(seconds) for name, seconds in found.items()}


def measure_readers(folder: Path, *, pair: Pair, num_images: int, readers: int, rounds: int) -> Timing:
    """Seconds of the slowest of so many processes that read an epoch at once."""
    context = multiprocessing.get_context("fork")
    views = draw_views(pair, num_images=num_images, seed=0)
    seconds = []
    for _ in range(rounds):
        ready, told = context.Barrier(readers), context.Queue()
        processes = [
            context.Process(target=_read, args=(views, folder, num_images, ready, told)) for _ in range(readers)
        ]
        for process in processes:
            process.start()
        seconds.append(max(told.get(timeout=600) for _ in processes))
        for process in processes:
            process.join()
    return Timing.of(seconds)


def _read(views: Views, folder: Path, num_images: int, ready: Any, told: Any) -> None:
    torch.set_num_threads(1)
    ready.wait()
    start = time.perf_counter()
    table = open_table(folder, num_images)
    views.ask(table)
    assert table.counts.computed == 0, "a reader had to ask the teacher"
    told.put(time.perf_counter() - start)


def write_row(pair: Pair, found: dict[str, Timing], *, num_images: int, num_bytes: int) -> str:
    """A row of Markdown."""
    live, fill, read = (found[name].median for name in COLUMNS)
    cells = [timing.show(1e6 / num_images, 1) for timing in found.values()]
    return f"| {pair} | {' | '.join(cells)} | {(fill - live) / (live - read):.3f} | {num_bytes / num_images:.0f} |"


def main(arguments: list[str] | None = None, *, pairs: tuple[Pair, ...] = PAIRS) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", type=int, choices=range(len(pairs)), default=range(len(pairs)))
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{describe_machine()}; one thread a process, {given.images} images, {given.rounds} rounds\n")
    names = " | ".join(f"{name} us | spread" for name in (*COLUMNS, f"read by {given.readers}"))
    print(f"| teacher of | {names} | break-even, epochs | bytes a cell |\n|{'---|' * 11}")
    for pair in (pairs[number] for number in given.pairs):
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "table"
            sizes = {"num_images": given.images, "rounds": given.rounds}
            found = measure(pair, folder, **sizes)
            found["readers"] = measure_readers(folder, pair=pair, readers=given.readers, **sizes)
            num_bytes = sum(path.stat().st_size for path in folder.glob("*.chunk"))
            print(write_row(pair, found, num_images=given.images, num_bytes=num_bytes), flush=True)


if __name__ == "__main__":
    main()
