"""CIFAR-sized images in one small file: what a study of a benchmark names as `benchmarks.image_file:CIFAR_SIZED`.

They are the first images of CIFAR-10, or random ones of the same shape. What training costs, the pixels do not tell.
"""

from __future__ import annotations

from pathlib import Path

import torch

from kdtrain.arrays import read_arrays, write_arrays
from kdtrain.data import cifar10
from kdtrain.images import DataInfo, Split

NUM_TRAIN, NUM_TEST = 12_288, 256   # test is measured once a repeat: few, so that training is what takes the time
_FILE = "images.npz"


class CifarSized:
    """The data set in ROOT/images.npz."""

    INFO = DataInfo(
        num_classes=10, channels=3, size=(32, 32), mean=cifar10.INFO.mean, std=cifar10.INFO.std, num_train=NUM_TRAIN,
        num_test=NUM_TEST, validation=256, augment="crop_flip", padding=4, source="written by benchmarks/sweep.py",
    )

    def load(self, root: str | None, download: bool) -> tuple[Split, Split]:
        """Train and test set. Raises ValueError where the file cannot be read."""
        if root is None:
            raise ValueError("no folder is given\n\nhint: --data-root FOLDER, which benchmarks/sweep.py wrote")
        return read_arrays(Path(root) / _FILE)


CIFAR_SIZED = CifarSized()


def write_images(folder: Path, *, cifar10_root: Path | None) -> None:
    """The file, from CIFAR-10 as `kdsweep data get cifar10` leaves it, or drawn where no root is given."""
    if cifar10_root is None:
        train, test = (_draw(count, seed=count) for count in (NUM_TRAIN, NUM_TEST))
    else:
        full, test = cifar10.load(str(cifar10_root), False)
        train, test = full.take(torch.arange(NUM_TRAIN)), test.take(torch.arange(NUM_TEST))
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / _FILE, train, test)


def _draw(count: int, *, seed: int) -> Split:
    """Every class in turn."""
    generator = torch.Generator().manual_seed(seed)
    image_NCHW = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Split(image_NCHW, torch.arange(count) % CifarSized.INFO.num_classes)
