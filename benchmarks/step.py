"""An epoch of ours beside the floor under it and beside the usual way to write it, on one CPU thread.

    python benchmarks/step.py [--pairs 0 1 2 3 4] [--images 512] [--rounds 5]

Random images of CIFAR's size, 100 classes, batches of 64, KD, one thread. Side by side, in turn:
`floor`: forward, backward and optimizer of the student alone on one resident batch, as many steps as an epoch has.
`table`: our whole epoch (draws, gathers, loss, sums) with a teacher table on disk that holds every view of it.
`live`: the same epoch, the teacher asked anew. `usual`: benchmarks/usual.py, a DataLoader over PIL images in the same
process and the teacher in every step. Figures are microseconds per image, and the ratio to the floor.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import usual
from benchmarks.gpu import describe_machine
from benchmarks.gpu_steps import build_floor
from benchmarks.random_trials import PAIRS, Pair, build_trial, draw_images
from benchmarks.rounds import Call, Timing, time_in_turn
from kdtrain.augment import Augment
from kdtrain.feed import build_feed
from kdtrain.images import Images
from kdtrain.model import build_model
from kdtrain.run import Run
from kdtrain.teacher_pass import TeacherPass
from kdtrain.teacher_table import TeacherTable
from kdtrain.train import train_one_epoch

BATCH = 64
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Epochs:
    """One pair's epochs, each a call, and how many images one sees."""

    calls: dict[str, Call]
    num_images: int


def build_epochs(pair: Pair, *, num_images: int, folder: Path) -> Epochs:
    """The four sides of a pair; the table is filled by the first call of `table`, which nobody times."""
    images = draw_images(num_images)
    tabled, live = (build_trial(pair, images, batch=BATCH, precision="float32", device="cpu") for _ in range(2))
    live = replace(live, feed=build_feed(images, live.config, CPU, live.teacher))
    floor = build_floor(tabled)
    return Epochs(
        calls={
            "floor": lambda: [floor() for _ in range(num_images // BATCH)],
            "table": _build_tabled(tabled, images, folder),
            "live": lambda: train_one_epoch(live, 1),
            "usual": _build_usual(tabled, images),
        },
        num_images=num_images,
    )


def _build_tabled(run: Run, images: Images, folder: Path) -> Call:
    """Epochs of which each finds its views in the table: it is the first epoch again and again."""
    augment, info = Augment(run.config.augment, run.config.padding), images.info
    table = TeacherTable(folder, len(images.train), augment.num_views, info.num_classes)
    teacher = TeacherPass(run.config, images, CPU, load=_refuse, tables={"float32": table})
    teacher.network = _Answers(info.num_classes)
    run = replace(run, teacher=teacher, feed=build_feed(images, run.config, CPU, teacher))
    return lambda: train_one_epoch(run, 1)


def _build_usual(run: Run, images: Images) -> Call:
    config, info = replace(run.config, settings={"temperature": 4.0, "weight": 0.9}), images.info
    loader = usual.build_loaders(config, images, workers=0)["train"]
    student, teacher = (build_model(name, info.num_classes, info.channels) for name in (config.student, config.teacher))
    optimizer = usual.build_optimizer(student, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    how = {"teacher": teacher.eval().requires_grad_(False), "optimizer": optimizer, "scheduler": scheduler}
    return lambda: usual.train_one_epoch(config, loader, student, **how)


class _Answers(torch.nn.Module):
    """Fills a table at once: what a teacher says makes no difference to the time of reading it."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._num_classes = num_classes

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return torch.randn(len(image_BCHW), self._num_classes)


def _refuse() -> torch.nn.Module:
    raise AssertionError("the table is filled by other means")


def write_rows(pair: Pair, timings: dict[str, Timing], *, num_images: int) -> Iterator[str]:
    """A row of Markdown for each side."""
    for name, timing in timings.items():
        ratio = timing.median / timings["floor"].median
        yield f"| {pair} | {name} | {timing.show(1e6 / num_images, 0)} | {ratio:.2f} |"


def main(arguments: list[str] | None = None, *, pairs: tuple[Pair, ...] = PAIRS) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", type=int, choices=range(len(pairs)), default=range(len(pairs)))
    parser.add_argument("--images", type=int, default=512, help="of an epoch; a multiple of 64")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{describe_machine()}; one thread, {given.images} images, {given.rounds} rounds\n")
    print("| pair | side | us per image, median | spread | / floor |\n|---|---|---|---|---|")
    for pair in (pairs[number] for number in given.pairs):
        with tempfile.TemporaryDirectory() as folder:
            epochs = build_epochs(pair, num_images=given.images, folder=Path(folder))
            timings = time_in_turn(epochs.calls, device=CPU, rounds=given.rounds, repeats=1)
        for row in write_rows(pair, timings, num_images=given.images):
            print(row, flush=True)


if __name__ == "__main__":
    main()
