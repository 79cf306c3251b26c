"""Reads the data sets that torchvision knows: its file formats and checksums, our error messages.

torchvision takes a second or two to import, so its classes go by name until one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdtrain.images import Split, describe_missing

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

_OpenPart = Callable[[str, bool, bool], Split]  # root, whether it is the train set, whether to download

_OFFER = "download=True"    # of torchvision, where files are missing or are others than its checksums say


def read_both(
    name: str, *, source: str, root: str | None, download: bool, open_part: _OpenPart | None = None
) -> tuple[Split, Split]:
    """Train and test set of the torchvision data set `name` under `root`. Raises ValueError where they are not there.

    Downloads only when `download` says so, and then only what is missing. `source`: how to get it, for the message.
    `open_part`: for classes that are called or laid out in their own way.
    """
    if root is None:
        raise ValueError(describe_missing(name, root, source=source))
    read = open_part or partial(_open_part, name)
    try:
        return read(root, True, download), read(root, False, download)
    except (RuntimeError, OSError) as error:
        if _OFFER not in str(error):
            raise ValueError(describe_missing(name, root, reason=str(error), source=source)) from error
        more = "" if download else "; or write data: {download: true}, which gets it when a study runs"
        reason = "its files are not there or not whole"
        raise ValueError(describe_missing(name, root, reason=reason, source=f"{source}{more}")) from error


def fetch(name: str, root: str) -> None:
    """Gets the files of both parts."""
    find_class(name)(root, download=True)


def find_class(name: str) -> type[VisionDataset]:
    """torchvision's class of a data set."""
    from kdtrain.torchvision_ops import torchvision

    return getattr(torchvision.datasets, name)


def _open_part(name: str, root: str, train: bool, download: bool) -> Split:
    part = find_class(name)(root, train=train, download=download)
    return Split(_to_nchw(torch.as_tensor(part.data)), torch.as_tensor(part.targets, dtype=torch.int64))


def _to_nchw(image: Tensor) -> Tensor:
    """Grey images lie as NHW, colour images as NHWC."""
    image_NCHW = image.unsqueeze(1) if image.ndim == 3 else image.permute(0, 3, 1, 2)
    return image_NCHW.contiguous()
