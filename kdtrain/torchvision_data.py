"""Reads the data sets that torchvision knows: its file formats and checksums, our error messages."""

from __future__ import annotations

import torch
from torch import Tensor

from kdtrain.images import Split
from kdtrain.torchvision_ops import torchvision

_Dataset = torchvision.datasets.VisionDataset


def read_both(dataset: type[_Dataset], *, source: str, root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set of a torchvision data set class under `root`. Raises ValueError where they are not there.

    Downloads only when `download` says so, and then only what is missing. `source`: how to get it, for the message.
    """
    name = dataset.__name__
    hint = f"set data.root, --data-root or KDSWEEP_DATA to the folder ROOT that holds it. {source}"
    if root is None:
        raise ValueError(f"data set {name}: no folder is given\n\nhint: {hint}")
    try:
        parts = [dataset(root, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise ValueError(f"data set {name}: cannot be read from {root}: {error}\n\nhint: {hint}") from error
    return _to_split(parts[0]), _to_split(parts[1])


def _to_split(part: _Dataset) -> Split:
    image = torch.as_tensor(part.data)
    return Split(_to_nchw(image), torch.as_tensor(part.targets, dtype=torch.int64))


def _to_nchw(image: Tensor) -> Tensor:
    """Grey images lie as NHW, colour images as NHWC."""
    image_NCHW = image.unsqueeze(1) if image.ndim == 3 else image.permute(0, 3, 1, 2)
    return image_NCHW.contiguous()
