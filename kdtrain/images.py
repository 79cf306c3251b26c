"""Images in memory: a data set by name, cut into train, validation and test.

N images, C channels, H and W height and width. Images stay uint8; kdtrain/augment.py turns a batch into floats.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kdtrain.config import TrialConfig, digest
from kdtrain.names import list_modules, load_named, load_own


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before it is read."""

    num_classes: int
    channels: int
    size: tuple[int, int]                   # height, width
    mean: tuple[float, ...]                 # of each channel, pixels scaled to [0, 1]
    std: tuple[float, ...]
    num_train: int                          # images that may be trained on, validation among them
    num_test: int
    validation: int                         # held out of train unless the study says otherwise
    augment: str                            # none, crop or crop_flip, unless the study says otherwise
    padding: int                            # pixels on each side before a crop
    source: str                             # what it is, where it is from, how to get it


@dataclass(frozen=True)
class Split:
    """Images and their labels."""

    image_NCHW: Tensor                      # uint8
    label_N: Tensor                         # int64

    def __len__(self) -> int:
        return len(self.label_N)


@dataclass(frozen=True)
class Images:
    """What a trial trains on, is selected on, and is measured on."""

    info: DataInfo
    train: Split
    val: Split | None                       # None where nothing is held out
    test: Split
    split_hash: str                         # of the held-out images' positions in the original train set
    train_index_N: Tensor                   # int64, position of each train image in the original train set


class _DataSet(Protocol):
    """A file of kdtrain/data, or a user's own object."""

    INFO: DataInfo

    def load(self, root: str | None, download: bool) -> tuple[Split, Split]: ...


def list_data() -> list[str]:
    """The names that a study file may use."""
    return list_modules("kdtrain.data")


def load_info(name: str) -> DataInfo:
    """What is known of the data set `name`, without reading it. Raises ValueError for an unknown name."""
    return _find(name).INFO


def load_images(config: TrialConfig) -> Images:
    """The trial's images. Raises ValueError where the data set is missing or too small for what is asked of it."""
    info = load_info(config.data)
    full, test = _load_once(config.data, config.data_root or os.environ.get("KDSWEEP_DATA"), config.download)
    _check_sizes(config, num_train=len(full), num_classes=info.num_classes)
    order_N = order_by_class(full.label_N, seed=config.split_seed)
    held, rest = order_N[: config.validation], order_N[config.validation :]
    chosen = rest if config.train_images is None else rest[: config.train_images]
    if config.train_on == "train+validation":
        chosen, val = torch.cat([held, chosen]), None
    else:
        val = select(full, held.sort().values) if config.validation else None
    train_index_N = chosen.sort().values
    return Images(
        info=info,
        train=select(full, train_index_N),
        val=val,
        test=test,
        split_hash=digest(held.sort().values.tolist()),
        train_index_N=train_index_N,
    )


def select(split: Split, index_N: Tensor) -> Split:
    """The images at these positions."""
    return Split(split.image_NCHW[index_N], split.label_N[index_N])


def order_by_class(label_N: Tensor, *, seed: int) -> Tensor:
    """Every position once, int64, so ordered that each prefix and each stretch holds the classes in proportion.

    A class of n images places its j-th, in seeded random order, at (j + 1/2) / n: Sainte-Lague's apportionment. Unlike
    largest remainders, a shorter cut is always contained in a longer one.
    """
    # NEP 19 freezes the streams of SeedSequence, MT19937 and RandomState: a split stays the same in every later numpy
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    shuffled_N = generator.permutation(len(label_N))
    label_N = label_N.numpy()
    place_N = np.empty(len(label_N))
    for label in np.unique(label_N):
        members = shuffled_N[label_N[shuffled_N] == label]
        place_N[members] = (np.arange(len(members)) + 0.5) / len(members)
    return torch.from_numpy(np.lexsort((label_N, place_N)))


@lru_cache(maxsize=4)
def _load_once(name: str, root: str | None, download: bool) -> tuple[Split, Split]:
    """The data set as it lies on disk; the many trials of one worker share it, and none writes to it."""
    return _find(name).load(root, download)


def _find(name: str) -> _DataSet:
    return load_own("data set", name) if ":" in name else load_named("data set", name, room="kdtrain.data")


def _check_sizes(config: TrialConfig, *, num_train: int, num_classes: int) -> None:
    """Raises ValueError where a cut could not hold every class."""
    where = f"data {config.data}"
    if config.validation >= num_train:
        raise ValueError(
            f"{where}: validation {config.validation} leaves none of {num_train} images to train on\n\n"
            f"hint: hold out fewer than {num_train}"
        )
    if 0 < config.validation < num_classes:
        raise ValueError(
            f"{where}: validation {config.validation} is fewer than one image of each of {num_classes} classes\n\n"
            f"hint: hold out at least {num_classes}, or 0"
        )
    left = num_train - config.validation
    if config.train_images is not None and not num_classes <= config.train_images <= left:
        raise ValueError(
            f"{where}: train_images {config.train_images} is not between {num_classes} and {left}\n\n"
            f"hint: each of {num_classes} classes needs one, and {config.validation} of {num_train} are validation"
        )
