"""Miniature data sets in the formats of the real ones, so that reading is tested without a download."""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kdtrain.torchvision_ops import torchvision

NUM_TRAIN, NUM_TEST = 400, 200  # four and two images of each of 100 classes


def write_fashion_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four idx files."""
    write_idx(root / "FashionMNIST" / "raw")


def write_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four idx files."""
    write_idx(root / "MNIST" / "raw")


def write_idx(raw: Path) -> None:
    """Images and labels of both parts: a magic number, the sizes as big-endian int32, the bytes."""
    raw.mkdir(parents=True)
    for part, count in (("train", NUM_TRAIN), ("t10k", NUM_TEST)):
        image_NHW, label_N = draw_images(count, 28, 28), _draw_labels(count, 10)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + image_NHW.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + label_N.tobytes())


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five train batches, a test batch and the names, each a pickled dictionary with its checksum on record."""
    _write_cifar(root, monkeypatch, torchvision.datasets.CIFAR10, num_classes=10, label_key="labels")


def write_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One train batch, a test batch and the names."""
    _write_cifar(root, monkeypatch, torchvision.datasets.CIFAR100, num_classes=100, label_key="fine_labels")


WRITERS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "fashion_mnist": write_fashion_mnist,
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
}


def draw_images(count: int, *shape: int) -> np.ndarray:
    """uint8, the same in every call of the same shape."""
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def _draw_labels(count: int, num_classes: int) -> np.ndarray:
    return (np.arange(count) % num_classes).astype(np.uint8)


def _write_cifar(
    root: Path, monkeypatch: pytest.MonkeyPatch, dataset: type, *, num_classes: int, label_key: str
) -> None:
    """The batches, and their checksums in the place of the real ones."""
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)

    def write(name: str, entry: dict) -> list[str]:
        content = pickle.dumps(entry)
        (folder / name).write_bytes(content)
        return [name, hashlib.md5(content).hexdigest()]

    def write_batches(batches: list, count: int) -> list[list[str]]:
        image_NX = draw_images(count, 3 * 32 * 32)
        label_N = _draw_labels(count, num_classes)
        parts = zip(np.split(image_NX, len(batches)), np.split(label_N, len(batches)), batches, strict=True)
        return [write(name, {"data": data, label_key: label.tolist()}) for data, label, (name, _) in parts]

    monkeypatch.setattr(dataset, "train_list", write_batches(dataset.train_list, NUM_TRAIN))
    monkeypatch.setattr(dataset, "test_list", write_batches(dataset.test_list, NUM_TEST))
    names = {dataset.meta["key"]: [f"class {number}" for number in range(num_classes)]}
    _, md5 = write(dataset.meta["filename"], names)
    monkeypatch.setattr(dataset, "meta", dataset.meta | {"md5": md5})
