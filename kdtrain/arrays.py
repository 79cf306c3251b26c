"""Images and labels in one .npz file: plain arrays, nothing pickled, with a checksum of each.

N images, C channels, H and W height and width.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from kdtrain.images import Split

_PARTS = ("train", "test")


def write_arrays(file: Path, train: Split, test: Split) -> None:
    """Four uncompressed arrays: the images of both parts (uint8, NCHW) and their labels (int64)."""
    arrays = {}
    for part, split in zip(_PARTS, (train, test), strict=True):
        arrays |= {f"{part}_image": split.image_NCHW.numpy(), f"{part}_label": split.label_N.numpy()}
    np.savez(file, allow_pickle=False, **arrays)


def read_arrays(file: Path) -> tuple[Split, Split]:
    """Train and test set. Raises ValueError where the file is cut short, altered or another one."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            parts = [[torch.from_numpy(arrays[f"{part}_{kind}"]) for kind in ("image", "label")] for part in _PARTS]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: cannot be read: {error}\n\nhint: remove it and get the data set again") from error
    train, test = (Split(image_NCHW, label_N) for image_NCHW, label_N in parts)
    return train, test
