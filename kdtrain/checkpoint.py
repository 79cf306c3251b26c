"""The exact state of a trial on disk: weights, optimizer, the rows so far. Written atomically, read as data only.

There is no random state to keep: every draw is a function of (seed, epoch, purpose).
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes `state` (tensors and plain values) so that `path` holds either the old file or the whole new one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_directory(path.parent)


def load(path: Path, *, trial_id: str | None = None) -> dict[str, Any]:
    """The state that `save` wrote. Raises ValueError for a file that is torn, holds code, or is another trial's."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        hint = "remove the file to start this trial again"
        raise ValueError(f"{path}: not a checkpoint: {error}\n\nhint: {hint}") from error
    if trial_id is not None and state.get("trial_id") != trial_id:
        raise ValueError(f"{path}: checkpoint of trial {state.get('trial_id')}, not of {trial_id}")
    return state


def sync_directory(path: Path) -> None:
    """Makes a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
