"""A text as a file: there whole or not there, whatever happens on the way."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from analysis import tables


def write_whole(path: Path, text: str) -> None:
    """Writes the file, replacing what was there; after return it survives a power cut.

    ValueError where the path is a directory, or lies in none that may be written to.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a directory\n\nhint: name a file in it")
    require_writable(path.parent)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # only there if something above failed
    tables.fsync_dir(path.parent)


def require_writable(folder: Path) -> None:
    """ValueError where nothing can be written into the directory, or it is none."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such directory\n\nhint: make it first, or name another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: may not be written to\n\nhint: name another directory")
