"""Images and labels in one .npz file: plain arrays, nothing pickled, with a checksum of each. Images are mapped, so
that the processes of a machine share one copy of them in memory.

N images, C channels, H and W height and width.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdtrain.images import Split

_PARTS = ("train", "test")
_READ_AT_ONCE = 2**20    # bytes
_ZIP_HEAD = struct.Struct("<26xHH")     # of a member: its name and an extra field follow, of these lengths


def write_arrays(file: Path, train: Split, test: Split) -> None:
    """Four uncompressed arrays: the images of both parts (uint8, NCHW) and their labels (int64)."""
    arrays = {}
    for part, split in zip(_PARTS, (train, test), strict=True):
        arrays |= {f"{part}_image": split.image_NCHW.numpy(), f"{part}_label": split.label_N.numpy()}
    np.savez(file, allow_pickle=False, **arrays)


def read_arrays(file: Path) -> tuple[Split, Split]:
    """Train and test set. Raises ValueError where the file is cut short, altered or another one."""
    try:
        with zipfile.ZipFile(file) as archive:
            train, test = (
                Split(_map_array(file, archive, f"{part}_image.npy"), _read_array(archive, f"{part}_label.npy"))
                for part in _PARTS
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: cannot be read: {error}\n\nhint: remove it and get the data set again") from error
    return train, test


def _read_array(archive: zipfile.ZipFile, name: str) -> Tensor:
    with archive.open(name) as stream:
        return torch.from_numpy(np.lib.format.read_array(stream))


def _map_array(file: Path, archive: zipfile.ZipFile, name: str) -> Tensor:
    """An array of bytes that lies in the archive as it is. Who writes to it changes a copy of his own."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(name) as stream:
        while stream.read(_READ_AT_ONCE):  # to the end, where its checksum is compared
            pass
    with file.open("rb") as stream:
        stream.seek(archive.getinfo(name).header_offset)
        stream.seek(sum(_ZIP_HEAD.unpack(stream.read(_ZIP_HEAD.size))), 1)
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"{name} is of version {version}, not (1, 0)")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype != np.uint8 or by_columns:
            raise ValueError(f"{name} is pickled, by columns, or not of bytes")
        return torch.from_numpy(np.memmap(file, dtype, mode="c", offset=stream.tell(), shape=shape))
