"""Reads the data sets that torchvision knows: its file formats and checksums, our error messages."""

from __future__ import annotations

import torch
from torch import Tensor

from kdtrain.images import Split
from kdtrain.torchvision_ops import torchvision

_Dataset = torchvision.datasets.VisionDataset


def read_both(dataset: type[_Dataset], *, root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set of a torchvision data set class under `root`. Raises ValueError where they are not there.

    Downloads only when `download` says so, and then only what is missing.
    """
    name = dataset.__name__
    if root is None:
        raise ValueError(f"data set {name}: no folder is given\n\nhint: set data.root in the study, or KDSWEEP_DATA")
    try:
        parts = [dataset(root, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise ValueError(f"data set {name}: cannot be read from {root}: {error}\n\nhint: {_hint(name)}") from error
    return _to_split(parts[0]), _to_split(parts[1])


def _hint(name: str) -> str:
    return f"set data.download: true, or put torchvision's {name} files there, or name the right folder in data.root"


def _to_split(part: _Dataset) -> Split:
    image = torch.as_tensor(part.data)
    return Split(_to_nchw(image), torch.as_tensor(part.targets, dtype=torch.int64))


def _to_nchw(image: Tensor) -> Tensor:
    """Grey images lie as NHW, colour images as NHWC."""
    image_NCHW = image.unsqueeze(1) if image.ndim == 3 else image.permute(0, 3, 1, 2)
    return image_NCHW.contiguous()
