"""SVHN. Netzer et al. 2011, NIPS Workshop on Deep Learning. Ten digits of house numbers, colour, 32x32."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from kdtrain.images import DataInfo, Split
from kdtrain.sources import official
from kdtrain.torchvision_data import find_class, read_both

INFO = DataInfo(
    num_classes=10,
    channels=3,
    size=(32, 32),
    mean=(0.4377, 0.4438, 0.4728),  # over the pixels of the 73,257 train images, as is usual
    std=(0.1980, 0.2010, 0.1970),
    num_train=73_257,               # without the 531,131 easier ones of `extra`
    num_test=26_032,
    validation=5_000,               # chosen by hand: as many as of CIFAR
    augment="crop",                 # no flip: a mirrored digit is another sign
    padding=4,
    source="SVHN, ufldl.stanford.edu/housenumbers: kdsweep data get svhn gets it, or its two files in ROOT/svhn",
    needs="ROOT/svhn/train_32x32.mat, ROOT/svhn/test_32x32.mat",
)


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set from ROOT/svhn. Raises ValueError where they are not there."""
    return read_both("SVHN", source=INFO.source, root=root, download=download, open_part=_open_part)


def _open_part(root: str, train: bool, download: bool) -> Split:
    """The digit 0 is label 0, as torchvision has it; the file says 10."""
    folder = str(Path(root) / "svhn")
    part = find_class("SVHN")(folder, split="train" if train else "test", download=download)
    return Split(torch.from_numpy(part.data).contiguous(), torch.from_numpy(part.labels).to(torch.int64))


SOURCES = (official(*(partial(_open_part, train=train, download=True) for train in (True, False))),)
SHA256 = None  # whenever it is read, torchvision compares the MD5 of each file with its record
