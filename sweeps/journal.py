"""The append-only event log of a study: the only state that a study has.

One JSON object a line in `journal/events.jsonl`. A line counts once its newline is there: a torn last line never was.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.tables import fsync_dir

Event = dict[str, Any]

_TRIES, _PAUSE_SECONDS = 5, 0.02  # for the lock; by hand


class Locked(ValueError):
    """Another driver is at work on the study."""


class Journal:
    """The log of one study, held by one driver at a time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "events.jsonl"
        _require_writable(directory)
        self._lock = _lock(directory / "lock")
        try:
            self.events = list(read_events(self.path))
        except ValueError:
            os.close(self._lock)
            raise
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._descriptor, _find_end(self.path))  # a torn tail must not swallow the next event
        fsync_dir(directory)

    def append(self, event: Event) -> None:
        """Writes one event and returns when it is on the disk."""
        line = json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n"
        data = line.encode()
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise OSError(f"{self.path}: wrote {written} of {len(data)} bytes of an event: is the disk full?")
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Lets another driver in."""
        os.close(self._descriptor)
        os.close(self._lock)


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log, without a torn last line. Raises ValueError for a damaged one."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f"{path}: line {number} is not an event: {line[:60]!r}\n\nhint: restore the file from a backup"
                ) from error


def _find_end(path: Path) -> int:
    data = path.read_bytes()
    return data.rfind(b"\n") + 1


def _take(descriptor: int) -> None:
    """Tries for a moment: who asks whether a driver is there holds the lock for microseconds."""
    for _ in range(_TRIES - 1):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _require_writable(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        hint = "a study that is read-only can be looked at, not gone on with or compacted: copy it first"
        raise ValueError(f"{directory}: may not be written to\n\nhint: {hint}")


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor)
    except OSError as error:
        owner = os.pread(descriptor, 200, 0).decode() or "unknown"
        os.close(descriptor)
        raise Locked(
            f"{path.parent.parent}: another driver is at work on this study ({owner})\n\n"
            f"hint: wait for it, or end that process"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"host {socket.gethostname()}, pid {os.getpid()}".encode(), 0)
    return descriptor
