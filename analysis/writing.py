"""A text as a file: there whole or not there, whatever happens on the way."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from analysis import tables


def write_whole(path: Path, text: str) -> None:
    """Writes the file, replacing what was there; after return it survives a power cut."""
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
