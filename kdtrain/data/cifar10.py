"""CIFAR-10. Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". Ten classes, colour, 32x32."""

from __future__ import annotations

from kdtrain.images import DataInfo, Split
from kdtrain.torchvision_data import read_both
from kdtrain.torchvision_ops import torchvision

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
    source="CIFAR-10, www.cs.toronto.edu/~kriz/cifar.html: data.download: true gets it, or the python version "
    "unpacked into ROOT/cifar-10-batches-py",
)


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set from ROOT/cifar-10-batches-py. Raises ValueError where they are not there."""
    return read_both(torchvision.datasets.CIFAR10, source=INFO.source, root=root, download=download)
