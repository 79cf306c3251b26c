"""A data set by name, cut into train, validation and test: images in memory, or files that are read batch by batch.

N images, C channels, H and W height and width. Images stay uint8; kdtrain/feed.py turns a batch into floats.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kdtrain.config import TrialConfig, digest
from kdtrain.names import describe_unknown, list_modules, load_named, load_own

_FOLDER = "folder/<path>"


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before it is read."""

    num_classes: int
    channels: int
    size: tuple[int, int]                   # height, width, as networks see it
    mean: tuple[float, ...]                 # of each channel, pixels scaled to [0, 1]
    std: tuple[float, ...]
    num_train: int                          # images that may be trained on, validation among them
    num_test: int
    validation: int                         # held out of train unless the study says otherwise
    augment: str                            # as in TrialConfig, unless the study says otherwise
    padding: int                            # pixels on each side before a crop
    source: str                             # what it is, where it is from, how to get it
    needs: str = ""                         # the files that must be there, under ROOT
    kept: float = 1.0                       # share of the shorter side that measuring keeps, in the middle


@dataclass(frozen=True)
class Split:
    """Images in memory, all of one size, and their labels."""

    image_NCHW: Tensor                      # uint8
    label_N: Tensor                         # int64

    def __len__(self) -> int:
        return len(self.label_N)

    def to(self, device: torch.device) -> Split:
        """The same on the device."""
        return Split(self.image_NCHW.to(device), self.label_N.to(device))

    def take(self, index_N: Tensor) -> Split:
        """The images at these positions."""
        return Split(self.image_NCHW[index_N], self.label_N[index_N])


@dataclass(frozen=True)
class Files:
    """Images that stay on disk, of any size and kind, and their labels."""

    folder: str
    path_N: np.ndarray                      # bytes, below the folder: a million of them are one block of memory
    label_N: Tensor                         # int64

    def __len__(self) -> int:
        return len(self.label_N)

    def to(self, device: torch.device) -> Files:
        """These files: only a batch of what is in them ever is on a device."""
        return self

    def take(self, index_N: Tensor) -> Files:
        """The files at these positions."""
        return Files(self.folder, self.path_N[index_N.numpy()], self.label_N[index_N])

    def locate(self, position: int) -> Path:
        """Where the image lies."""
        return Path(self.folder, os.fsdecode(self.path_N[position]))


@dataclass(frozen=True)
class Images:
    """What a trial trains on, is selected on, and is measured on."""

    info: DataInfo
    full: Split | Files                     # the original train set, of which train and val are parts
    test: Split | Files
    split_hash: str                         # of the held-out images' positions in the original train set
    train_index_N: Tensor                   # int64, position of each train image in the original train set
    val_index_N: Tensor | None = None       # the same of the held-out images; None where nothing is held out

    @cached_property
    def train(self) -> Split | Files:
        """The train images: a copy of them, where they are in memory."""
        return self.full.take(self.train_index_N)

    @cached_property
    def val(self) -> Split | Files | None:
        """The held-out images, copied too; None where nothing is held out."""
        return None if self.val_index_N is None else self.full.take(self.val_index_N)

    def to(self, device: torch.device) -> Images:
        """The same on the device, but for what lies in files."""
        return replace(self, full=self.full.to(device), test=self.test.to(device))


class DataSet(Protocol):
    """A file of kdtrain/data, or a user's own object."""

    INFO: DataInfo

    def load(self, root: str | None, download: bool) -> tuple[Split, Split] | tuple[Files, Files]: ...


def list_data() -> list[str]:
    """The names that a study file may use; one of them stands for any folder."""
    return sorted(_FOLDER if name == "folder" else name for name in list_modules("kdtrain.data"))


def find_data(name: str, root: str | None) -> DataSet:
    """The file of kdtrain/data, the folder, or the user's own object of that name. Raises ValueError."""
    if ":" in name and not name.startswith("folder/"):
        return load_own("data set", name)
    if name.startswith("folder/"):
        return load_named("data set", "folder", room="kdtrain.data").find_folder(name, root)
    if name not in list_data():
        raise ValueError(describe_unknown("data set", name, list_data()))
    return load_named("data set", name, room="kdtrain.data")


def load_info(name: str, root: str | None = None) -> DataInfo:
    """What is known of the data set `name`; only a folder's classes and files are counted, under `root` or
    $KDSWEEP_DATA. Raises ValueError for an unknown name.
    """
    return find_data(name, _find_root(root)).INFO


def load_info_of(config: TrialConfig) -> DataInfo:
    """What is known of the trial's images, at the size that its networks see."""
    info = load_info(config.data, config.data_root)
    return info if config.image_size is None else replace(info, size=(config.image_size, config.image_size))


def load_images(config: TrialConfig) -> Images:
    """The trial's images. Raises ValueError where the data set is missing or too small for what is asked of it."""
    info = load_info_of(config)
    full, test = _load_once(config.data, _find_root(config.data_root), config.download)
    _check_sizes(config, num_train=len(full), num_classes=info.num_classes)
    order_N = order_by_class(full.label_N, seed=config.split_seed)
    held, rest = order_N[: config.validation], order_N[config.validation :]
    chosen = rest if config.train_images is None else rest[: config.train_images]
    val_index_N = None
    if config.train_on == "train+validation":
        chosen = torch.cat([held, chosen])
    elif config.validation:
        val_index_N = held.sort().values
    train_index_N = chosen.sort().values
    return Images(
        info=info,
        full=full,
        test=test,
        split_hash=digest(held.sort().values.tolist()),
        train_index_N=train_index_N,
        val_index_N=val_index_N,
    )


def fingerprint_data(config: TrialConfig) -> tuple[str, int, int]:
    """The hash of a data set that is in memory, every pixel and label of it, and how many train and test images it has.

    Two data sets under one name, such as a user's own before and after a change, have different ones.
    """
    return _fingerprint_once(config.data, _find_root(config.data_root), config.download)


def describe_missing(
    name: str, root: str | None, *, source: str, reason: str = "", by: str = "data.root, --data-root or KDSWEEP_DATA"
) -> str:
    """That a data set cannot be read, why, and how to get it. by: what names the folder that holds it."""
    where = "no folder is given" if root is None else f"cannot be read from {root}: {reason}"
    hint = f"set {by} to the folder ROOT that holds it. {source}"
    return f"data set {name}: {where}\n\nhint: {hint}"


def order_by_class(label_N: Tensor, *, seed: int) -> Tensor:
    """Every position once, int64, so ordered that each prefix and each stretch holds the classes in proportion.

    A class of n images places its j-th, in seeded random order, at (j + 1/2) / n: Sainte-Lague's apportionment. Unlike
    largest remainders, a shorter cut is always contained in a longer one.
    """
    # NEP 19 freezes the streams of SeedSequence, MT19937 and RandomState: a split stays the same in every later numpy
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    shuffled_N = generator.permutation(len(label_N))
    label_N = label_N.numpy()
    grouped_N = shuffled_N[np.argsort(label_N[shuffled_N], kind="stable")]  # by class, each in its shuffled order
    _, first, count = np.unique(label_N[grouped_N], return_index=True, return_counts=True)
    place_N = np.empty(len(label_N))
    place_N[grouped_N] = (np.arange(len(label_N)) - np.repeat(first, count) + 0.5) / np.repeat(count, count)
    return torch.from_numpy(np.lexsort((label_N, place_N)))


@lru_cache(maxsize=4)
def _load_once(name: str, root: str | None, download: bool) -> tuple[Split, Split] | tuple[Files, Files]:
    """The data set as it lies on disk; the many trials of one worker share it, and none writes to it."""
    return find_data(name, root).load(root, download)


@lru_cache(maxsize=4)
def _fingerprint_once(name: str, root: str | None, download: bool) -> tuple[str, int, int]:
    splits = _load_once(name, root, download)
    found = hashlib.blake2b(digest_size=16)
    for split in splits:
        for part in (split.image_NCHW, split.label_N):
            found.update(str(tuple(part.shape)).encode())
            found.update(part.contiguous().numpy())
    return found.hexdigest(), *map(len, splits)


def _find_root(root: str | None) -> str | None:
    return root or os.environ.get("KDSWEEP_DATA")


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
