"""CIFAR-100. Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". 100 classes, colour, 32x32."""

from __future__ import annotations

from functools import partial

from kdtrain.images import DataInfo, Split
from kdtrain.sources import official
from kdtrain.torchvision_data import fetch, read_both

INFO = DataInfo(
    num_classes=100,
    channels=3,
    size=(32, 32),
    mean=(0.5071, 0.4867, 0.4408),  # as in the distillation literature since Tian et al. 2020, arXiv:1910.10699
    std=(0.2675, 0.2565, 0.2761),
    num_train=50_000,
    num_test=10_000,
    validation=5_000,
    augment="crop_flip",
    padding=4,
    source="CIFAR-100, www.cs.toronto.edu/~kriz/cifar.html: kdsweep data get cifar100 gets it, or the python version "
    "unpacked into ROOT/cifar-100-python",
    needs="ROOT/cifar-100-python/train, test, meta",
)

SOURCES = (official(partial(fetch, "CIFAR100")),)
SHA256 = None  # whenever it is read, torchvision compares the MD5 of each file with the authors'


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set from ROOT/cifar-100-python. Raises ValueError where they are not there."""
    return read_both("CIFAR100", source=INFO.source, root=root, download=download)
