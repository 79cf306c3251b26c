"""Methods that end their trial in ways a method should not. Markers in $KILLER_FOLDER say what has happened already."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from kdtrain.methods.ce import Method as CrossEntropy


def _has_happened(what):
    marker = Path(os.environ["KILLER_FOLDER"]) / what
    if marker.exists():
        return True
    marker.touch()
    return False


@dataclass(frozen=True)
class KillsItsWorkerOnce(CrossEntropy):
    """Plain training; in the second epoch of the first trial that gets there the process dies."""

    def __call__(self, batch, own):
        if batch.epoch == 2 and not _has_happened("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch, own)


@dataclass(frozen=True)
class Raises(CrossEntropy):
    """Fails in the second epoch, always."""

    def __call__(self, batch, own):
        if batch.epoch == 2:
            raise RuntimeError("this method cannot count to two")
        return super().__call__(batch, own)


@dataclass(frozen=True)
class RunsOutOfMemoryOnce(CrossEntropy):
    def __call__(self, batch, own):
        if batch.epoch == 2 and not _has_happened("out of memory"):
            raise MemoryError("no room")
        return super().__call__(batch, own)


@dataclass(frozen=True)
class AlwaysOutOfMemory(CrossEntropy):
    def __call__(self, batch, own):
        raise MemoryError("no room")
