"""Miniature data sets in the formats of the real ones, so that reading is tested without a download."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

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


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two MATLAB files with their checksums on record: images HWCN, labels from 1, the digit 0 as 10."""
    folder, record = root / "svhn", dict(torchvision.datasets.SVHN.split_list)
    folder.mkdir(parents=True)
    for part, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        label_N1 = np.where(label_N := _draw_labels(count, 10), label_N, 10)[:, None].astype(np.uint8)
        file = folder / f"{part}_32x32.mat"
        scipy.io.savemat(file, {"X": draw_images(count, 32, 32, 3).transpose(1, 2, 3, 0), "y": label_N1})
        record[part] = [record[part][0], file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", record)


def write_imagenet(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for each of 1,000 classes, of train and of val, with JPEG files of several sizes in it."""
    drawn = _write_drawn(root)
    for number in range(1_000):
        _link(drawn, root / "imagenet/train" / f"n{number:08}", [f"n{number:08}_{image}.JPEG" for image in range(2)])
        _link(drawn, root / "imagenet/val" / f"n{number:08}", [f"ILSVRC2012_val_{number:08}.JPEG"])


def write_tiny_imagenet(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train images in a folder for each of 200 classes, with boxes beside it; val images in one, with their classes."""
    drawn, tiny = _write_drawn(root, sides=(64, 64)), root / "tiny-imagenet-200"
    names, lines = [f"n{number:08}" for number in range(200)], []
    for number, name in enumerate(names):
        _link(drawn, tiny / "train" / name / "images", [f"{name}_{image}.JPEG" for image in range(3)])
        (tiny / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
        lines.append(f"val_{number}.JPEG\t{names[-1 - number]}\t0\t0\t63\t63\n")
    _link(drawn, tiny / "val" / "images", [line.partition("\t")[0] for line in lines])
    (tiny / "val" / "val_annotations.txt").write_text("".join(lines))


def write_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three classes of eight and four images, grey and in colour, of several formats."""
    image_NHWC = draw_images(36, 40, 30, 3)
    for number, pixels in enumerate(image_NHWC):
        part, ending = "train" if number < 24 else "test", ("jpg", "png", "webp")[number % 4 % 3]
        folder = root / "pets" / part / ("cat", "dog", "owl")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if number % 5 else pixels[:, :, 0]).save(folder / f"{number}.{ending}")


WRITERS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "fashion_mnist": write_fashion_mnist,
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "imagenet": write_imagenet,
    "tiny_imagenet": write_tiny_imagenet,
    "folder/pets": write_folder,
}


def draw_images(count: int, *shape: int) -> np.ndarray:
    """uint8, the same in every call of the same shape."""
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def _draw_labels(count: int, num_classes: int) -> np.ndarray:
    return (np.arange(count) % num_classes).astype(np.uint8)


def _write_drawn(root: Path, sides: tuple[int, int] | None = None) -> list[Path]:
    """Four JPEG files, to be linked to wherever an image is wanted."""
    folder = root / "drawn"
    folder.mkdir(parents=True)
    for number, pixels in enumerate(draw_images(4, 64, 64, 3)):
        height, width = sides or (40 + 8 * number, 64 - 8 * number)
        Image.fromarray(pixels[:height, :width]).save(folder / f"{number}.jpg", format="JPEG")
    return sorted(folder.iterdir())


def _link(drawn: list[Path], folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        os.link(drawn[number % len(drawn)], folder / name)


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
