"""Getting a data set: its sources are tried in order, and what comes is checked before it appears under ROOT.

A file of kdtrain/data that can be got has SOURCES and SHA256. N images.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import textwrap
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from kdtrain.images import DataInfo, Split, find_data, list_data

# no network, no such command, another size or checksum; and what a cut or altered archive makes its readers raise
_FAILURES = (OSError, ValueError, EOFError, tarfile.TarError, zlib.error)
_LINE = 200  # characters of an error that are shown, chosen by hand


@dataclass(frozen=True)
class Source:
    """One way to get a data set."""

    name: str                               # what a person reads
    fetch: Callable[[Path], None]           # fills an empty folder as if it were ROOT, or raises


class Obtainable(Protocol):
    """A file of kdtrain/data that can be got."""

    INFO: DataInfo
    SOURCES: Sequence[Source]
    SHA256: str | None                      # of what hash_splits sees; None where load() compares checksums itself

    def load(self, root: str | None, download: bool) -> tuple[Split, Split]: ...


def list_obtainable() -> list[str]:
    """The names that `get_data` knows what to do with."""
    found = {name: find_data(name, None) for name in list_data() if "<" not in name}
    return [name for name, module in found.items() if hasattr(module, "SOURCES") or not module.INFO.needs]


def get_data(name: str, root: Path, *, say: Callable[[str], None]) -> None:
    """Puts the data set under `root`, from the first source that has it; `say` hears a line for each step.

    Raises ValueError where no source has it, where something else lies in its place, and for what cannot be got.
    """
    module = find_data(name, str(root))
    if not module.INFO.needs:
        say(f"{name} needs nothing: {module.INFO.source}")
    elif not hasattr(module, "SOURCES"):
        hint = f"{module.INFO.source}. Known: {', '.join(list_obtainable())}"
        raise ValueError(f"data set {name} cannot be got by this command\n\nhint: {hint}")
    else:
        obtain(module, name, root, say=say)


def obtain(data: Obtainable, name: str, root: Path, *, say: Callable[[str], None]) -> None:
    """The same for a data set at hand."""
    if _is_there(data, name, root):
        say(f"{name} is there already: {root}")
        return
    root.mkdir(parents=True, exist_ok=True)
    for source in data.SOURCES:
        say(f"{name}: trying {source.name}")
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}.", suffix=".part") as folder:
            try:
                source.fetch(Path(folder))
                check_data(data, Path(folder))
            except _FAILURES as error:
                say(f"{name}: not from {source.name}: {_shorten(error)}")
                continue
            placed = _publish(Path(folder), root)
        say(f"{name}: {describe_counts(data.INFO)}, checksums as expected, in {placed}")
        return
    raise ValueError(f"data set {name}: none of its {len(data.SOURCES)} sources gives it\n\nhint: {data.INFO.source}")


def check_data(data: Obtainable, root: Path) -> None:
    """Raises ValueError unless what lies under `root` is the data set, to the last pixel and label."""
    splits = data.load(str(root), download=False)
    found, expected = tuple(len(split) for split in splits), (data.INFO.num_train, data.INFO.num_test)
    if found != expected:
        raise ValueError("{} images to train on and {} to test, not {} and {}".format(*found, *expected))
    if data.SHA256 is not None and (found := hash_splits(*splits)) != data.SHA256:
        raise ValueError(f"other pixels or labels: SHA-256 {found[:12]}..., not {data.SHA256[:12]}...")


def hash_splits(*splits: Split) -> str:
    """SHA-256 over every image in order, as its label and then its planes row by row, a byte each.

    This is CIFAR-10's official binary format, so that its files can be compared too.
    """
    digest = hashlib.sha256()
    for split in splits:
        label_N1 = split.label_N.numpy().astype(np.uint8)[:, None]
        digest.update(np.hstack([label_N1, split.image_NCHW.flatten(1).numpy()]).tobytes())
    return digest.hexdigest()


def describe_counts(info: DataInfo) -> str:
    return f"{info.num_train:,} images to train on and {info.num_test:,} to test"


def _is_there(data: Obtainable, name: str, root: Path) -> bool:
    """Whether the data set is there. Raises ValueError where it can be read but is another one."""
    try:
        data.load(str(root), download=False)
    except ValueError:
        return False
    try:
        check_data(data, root)
    except ValueError as error:
        hint = "move it away, or give another --root"
        raise ValueError(f"data set {name}: something else is in {root}: {error}\n\nhint: {hint}") from error
    return True


def _publish(folder: Path, root: Path) -> str:
    """Moves the one thing in `folder` to `root`, whole or not at all. Raises ValueError where its place is taken."""
    (entry,) = folder.iterdir()
    place = root / entry.name
    if place.exists():
        raise ValueError(f"{place} is there but cannot be read\n\nhint: move it away, or give another --root")
    _sync(entry)
    os.rename(entry, place)
    return str(place)


def _sync(entry: Path) -> None:
    for file in [entry] if entry.is_file() else [found for found in entry.rglob("*") if found.is_file()]:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())


def _shorten(error: Exception) -> str:
    """What went wrong, in one line."""
    return textwrap.shorten(str(error) or type(error).__name__, width=_LINE, placeholder=" ...")
