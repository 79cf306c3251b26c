"""Trials on random images for benchmarks: CIFAR-sized, 100 classes, nothing to download, as many as are asked for.

N images, C classes, B batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdtrain.config import TrialConfig
from kdtrain.feed import Fed, build_feed
from kdtrain.images import DataInfo, Images, Split
from kdtrain.model import build_model
from kdtrain.run import Run, assemble_run

_INFO = DataInfo(
    num_classes=100, channels=3, size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), num_train=50_000,
    num_test=200, validation=0, augment="crop_flip", padding=4, source="random numbers",
)


@dataclass(frozen=True)
class RandomData:
    """A data set as a study may name it: `benchmarks.random_trials:CIFAR_SIZED`."""

    num_train: int

    @property
    def INFO(self) -> DataInfo:  # noqa: N802 - what every data set calls it
        return replace(_INFO, num_train=self.num_train)

    def load(self, root: str | None = None, download: bool = False) -> tuple[Split, Split]:
        """Train and test set, the same whenever asked."""
        generator = torch.Generator().manual_seed(0)
        return _draw(self.num_train, generator), _draw(_INFO.num_test, generator)


CIFAR_SIZED, SMALL, TINY = RandomData(50_000), RandomData(16_384), RandomData(200)


@dataclass(frozen=True)
class Pair:
    """A teacher's model and a student's."""

    teacher: str
    student: str

    def __str__(self) -> str:
        return f"{self.teacher} -> {self.student}"


PAIRS = (
    Pair("resnet32x4", "resnet8x4"),
    Pair("resnet56", "resnet20"),
    Pair("wrn_40_2", "wrn_16_2"),
    Pair("resnet32x4", "ShuffleV2"),
    Pair("ResNet50", "MobileNetV2"),
)
TINY_PAIR = Pair("resnet8(width=2)", "resnet8(width=1)")


def draw_images(count: int) -> Images:
    """So many train images, none held out."""
    data = RandomData(count)
    train, test = data.load()
    return Images(info=data.INFO, full=train, test=test, split_hash="", train_index_N=torch.arange(count))


def build_trial(pair: Pair, images: Images, *, batch: int, precision: str, device: str) -> Run:
    """A trial of `kd` on these images before its first step. Its teacher, of random weights, is asked in every step."""
    config = TrialConfig(
        data="random", method="kd", student=pair.student, teacher=pair.teacher, teacher_id="random",
        augment="crop_flip", padding=4, batch_size=batch, precision=precision, device=device,
        lr=1e-3,  # small, so that weights stay ordinary numbers however long random labels are trained on
    )
    torch.manual_seed(0)
    teacher = build_model(pair.teacher, images.info.num_classes, images.info.channels)
    run = assemble_run(config, images, teacher=teacher.eval().requires_grad_(False))
    run.student.train()
    return replace(run, feed=build_feed(run.images, config, run.device))


def recall_teacher(run: Run) -> Run:
    """The same trial with the teacher's logits of an epoch at hand, random ones; student and optimizer are shared."""
    logits_NC = torch.randn(len(run.images.train), run.images.info.num_classes, device=run.device)
    return replace(run, feed=build_feed(run.images, run.config, run.device, Recalled(logits_NC)))


class Recalled:
    """What a feed asks of a teacher whose table is full and lies on the device."""

    is_by_epoch = True

    def __init__(self, logits_NC: Tensor) -> None:
        self._logits_NC = logits_NC

    def read_views(self, index_N: Tensor, view_N: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
        """logits_NC."""
        return self._logits_NC


def read_endlessly(run: Run) -> Iterator[Fed]:
    """The trial's whole batches, epoch after epoch; without the last of an epoch, where it is a smaller one."""
    for epoch in itertools.count(1):
        for _, fed in run.feed.read_epoch(epoch):
            if len(fed.label_B) == run.config.batch_size:
                yield fed


def _draw(count: int, generator: torch.Generator) -> Split:
    """Every class in turn, so that any cut of a hundred images and more holds all."""
    image_NCHW = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Split(image_NCHW, torch.arange(count) % _INFO.num_classes)
