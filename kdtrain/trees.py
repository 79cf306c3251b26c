"""Trees of image files in which a folder is a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from kdtrain.images import DataInfo, Files, describe_missing

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def read_trees(name: str, root: str | None, *, info: DataInfo, parts: tuple[str, str]) -> tuple[Files, Files]:
    """The files of two folders of ROOT/`name`, for training and for testing. Raises ValueError as users read it."""

    def read(folder: Path) -> tuple[Files, Files]:
        classes = list_classes(folder / parts[0], expected=info.num_classes)
        return read_tree(folder / parts[0], classes), read_tree(folder / parts[1], classes)

    return read_below(root, name, read, name=name, source=info.source)


def read_below(
    root: str | None, folder: str, read: Callable[[Path], tuple[Files, Files]], *, name: str, source: str
) -> tuple[Files, Files]:
    """What `read` makes of ROOT/`folder`; its errors as users read them."""
    if root is None:
        raise ValueError(describe_missing(name, root, source=source))
    try:
        return read(Path(root, folder))
    except (ValueError, OSError) as error:
        raise ValueError(describe_missing(name, root, reason=str(error), source=source)) from error


def list_classes(folder: Path, *, expected: int | None = None) -> list[str]:
    """Names of the folders in `folder`, in the order of their labels. Raises ValueError where they are not as many."""
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    if not classes:
        raise ValueError(f"no folder of a class in {folder}")
    if expected is not None and len(classes) != expected:
        raise ValueError(f"{folder}: {len(classes)} classes, not {expected}")
    return classes


def read_tree(folder: Path, classes: Sequence[str]) -> Files:
    """The image files below the class folders, sorted by class and path: the order of torchvision's ImageFolder.

    Raises ValueError where the folders are other classes, or one of them holds no image.
    """
    if (found := list_classes(folder)) != list(classes):
        odd = sorted({*found} ^ {*classes})
        raise ValueError(f"{folder}: {len(found)} classes, not {len(classes)}: {odd[0]} is in one place only")
    paths = [_list_images(folder, name) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [*map(len, paths)])
    return make_files(folder, paths=[*chain.from_iterable(paths)], labels=labels)


def make_files(folder: Path, *, paths: Sequence[str], labels: Sequence[int] | np.ndarray) -> Files:
    """Files from paths below `folder`."""
    path_N = np.array([os.fsencode(path) for path in paths])
    return Files(str(folder), path_N, torch.as_tensor(labels, dtype=torch.int64))


def _list_images(folder: Path, name: str) -> list[str]:
    """Paths below `folder` of the images of a class."""
    start = len(str(folder)) + 1
    found = [
        f"{place[start:]}/{file}"
        for place, _, files in sorted(os.walk(folder / name, followlinks=True))
        for file in sorted(files)
        if file.lower().endswith(_ENDINGS) and file[0] != "."
    ]
    if not found:
        raise ValueError(f"no image in {folder / name}")
    return found
