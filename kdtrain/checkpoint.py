"""The exact state of a trial on disk: weights, optimizer, the rows so far. Written atomically, read as data only.

There is no random state to keep: every draw is a function of (seed, epoch, purpose).
"""

from __future__ import annotations

import json
import os
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

_HISTORIES = ("rows", "test_curve")  # written as one text: pickle would take each of their numbers for itself


class Writer:
    """Writes checkpoints one after another while the trial goes on."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None

    @property
    def is_writing(self) -> bool:
        """Whether there is a checkpoint of which nobody knows yet that it is whole."""
        return self._last is not None

    def begin(self, path: Path, state: dict[str, Any]) -> None:
        """Begins to write what `state` is now, once the checkpoint before is whole; what happens to it later does not
        matter. Raises what writing that one raised."""
        self.finish()
        self._last = self._thread.submit(save, path, _freeze(state))

    def finish(self) -> None:
        """Returns when the last checkpoint is whole. Raises what writing it raised."""
        if self._last is not None:
            last, self._last = self._last, None
            last.result()

    def close(self) -> None:
        """The same, for a trial that is at its end in whatever way: what writing raised is not told any more."""
        self._thread.shutdown(wait=True)


def _freeze(value: Any) -> Any:
    """A copy that no training step can reach, its tensors on the CPU."""
    if isinstance(value, dict):
        return {name: _freeze(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_freeze(item) for item in value]
    return value.detach().cpu().clone() if torch.is_tensor(value) else value


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes `state` (tensors and plain values) so that `path` holds either the old file or the whole new one."""
    state = {name: json.dumps(value) if name in _HISTORIES else value for name, value in state.items()}
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
    return {name: json.loads(value) if name in _HISTORIES and isinstance(value, str) else value
            for name, value in state.items()}


def sync_directory(path: Path) -> None:
    """Makes a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
