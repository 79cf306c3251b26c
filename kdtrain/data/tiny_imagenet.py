"""Tiny ImageNet. Le, Yang 2015, Stanford CS 231N. 200 of ImageNet's classes, colour, 64x64."""

from __future__ import annotations

import csv
from pathlib import Path

from kdtrain.images import DataInfo, Files
from kdtrain.trees import list_classes, make_files, read_below, read_tree

INFO = DataInfo(
    num_classes=200,
    channels=3,
    size=(64, 64),
    mean=(0.4802, 0.4481, 0.3975),  # over the pixels of the 100,000 train images, as is usual
    std=(0.2770, 0.2691, 0.2821),
    num_train=100_000,
    num_test=10_000,                # the official validation images: the labels of the test images are not public
    validation=10_000,              # chosen by hand: as many as are tested on
    augment="crop_flip",
    padding=8,                      # an eighth of the side, as at CIFAR
    source="Tiny-ImageNet, cs231n.stanford.edu/tiny-imagenet-200.zip: unpacked into ROOT/tiny-imagenet-200",
    needs="ROOT/tiny-imagenet-200/train/<wnid>/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt",
)


def load(root: str | None, download: bool) -> tuple[Files, Files]:
    """The files of ROOT/tiny-imagenet-200. Raises ValueError where they are not there."""
    return read_below(root, "tiny-imagenet-200", _read, name="tiny_imagenet", source=INFO.source)


def _read(folder: Path) -> tuple[Files, Files]:
    classes = list_classes(folder / "train", expected=INFO.num_classes)
    return read_tree(folder / "train", classes), _read_val(folder / "val", classes)


def _read_val(folder: Path, classes: list[str]) -> Files:
    """A line of val_annotations.txt is a file, its class, and a box around the thing, separated by tabs."""
    with open(folder / "val_annotations.txt") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    label_of = {name: label for label, name in enumerate(classes)}
    if odd := {row[1] for row in rows} - {*classes}:
        raise ValueError(f"{folder / 'val_annotations.txt'}: {min(odd)} is no class of the train images")
    return make_files(folder / "images", paths=[row[0] for row in rows], labels=[label_of[row[1]] for row in rows])
