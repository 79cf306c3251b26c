"""The teacher table: what a frozen teacher says of each view of each image, computed once and kept on disk.

A cell is (image, view) -> float32 logits. Cells lie in chunks: files that appear whole or not at all, each with a
checksum and named by the cells it holds. So any number of processes on any number of nodes fill and read at once
without a lock; one that is killed loses the chunk it was computing; a damaged chunk is computed again; a full disk
costs the next reader a pass of the teacher, and nobody a wrong number.

N cells asked for at once (an epoch's), M cells of a chunk, B batch, C classes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import socket
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdtrain.config import digest

Ask = Callable[[Tensor], Iterator[Tensor]]
"""Places among the cells asked for, int64 (N,) -> the teacher's logits of their views, float32 (B, C), in batches."""

_CHUNK_CELLS = 2048        # computed and published together, at most; chosen by hand: seconds of a large teacher's work
_CHUNKS = 16               # of a small epoch, or fewer: trials that need the same cells share the work; chosen by hand
_STALE_SECONDS = 60.0      # a claim not renewed for so long is a dead process's; a batch of a large teacher takes 10 s
_POLL_SECONDS = 0.02       # between looks for a chunk that another process computes
_LEFT_FREE_BYTES = 10**9   # of the disk: checkpoints need it more; chosen by hand
_MAGIC = b"kdtable1"
_HEAD = np.dtype([("magic", "S8"), ("cells", "<i8"), ("classes", "<i8"), ("crc", "<u8")])


@dataclass
class Counts:
    """What has become of the cells that this process asked for."""

    read: int = 0
    computed: int = 0
    unwritten: int = 0          # of those computed: not stored, for want of room
    damaged: int = 0            # chunks whose checksum was wrong


@dataclass
class TeacherTable:
    """The cells of one teacher, data set, set of views and arithmetic. All who share it share `folder`."""

    folder: Path
    num_images: int
    num_views: int
    num_classes: int
    max_bytes: int | None = None                # nothing is stored beyond; None: while the disk has room
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._row_of = np.full(self.num_images * self.num_views, -1, dtype=np.int32)  # cell -> its row in all chunks
        self._chunks: list[np.ndarray] = []     # memory-mapped logits, (M, C)
        self._starts: list[int] = []            # the first row of each
        self._known: set[str] = set()
        self._num_rows = 0

    @property
    def stored_bytes(self) -> int:
        """What the chunks that this process knows of take on disk."""
        return _HEAD.itemsize * len(self._chunks) + self._num_rows * self._cell_bytes

    def fetch(self, index_N: Tensor, view_N: Tensor, ask: Ask, *, batch_size: int) -> Tensor:
        """logits_NC, float32, on the CPU: what is stored is read; the rest is asked of the teacher, and stored.

        No cell may be asked for twice at once. batch_size: cells that `ask` answers at once.
        """
        cell_N = (index_N.cpu() * self.num_views + view_N.cpu()).numpy()
        self._look_for_chunks()
        is_stored = self._row_of[cell_N] >= 0
        logits_NC = np.empty((len(cell_N), self.num_classes), dtype=np.float32)
        self._read(cell_N, np.flatnonzero(is_stored), logits_NC)
        groups = list(_group(cell_N, is_stored, batch_size=batch_size))
        while groups:
            left = [places for places in groups if not self._fill(cell_N, places, logits_NC, ask)]
            if len(left) == len(groups):  # others compute all of these
                time.sleep(_POLL_SECONDS)
            groups = left
        return torch.from_numpy(logits_NC)

    def _fill(self, cell_N: np.ndarray, places: np.ndarray, logits_NC: np.ndarray, ask: Ask) -> bool:
        """Gets a group of cells from their chunk, or computes them and stores it. False: another process is at it."""
        name = hashlib.sha256(cell_N[places].tobytes()).hexdigest()[:24]
        path = self.folder / f"{name}.chunk"
        claim = _Claim(self.folder / "claims" / name)
        if self._read_chunk(path, cell_N, places, logits_NC):
            return True
        if not claim.take():
            return False
        try:
            if self._read_chunk(path, cell_N, places, logits_NC):  # who held the claim has just finished
                return True
            done = 0
            for logits_BC in ask(torch.from_numpy(places)):
                logits_NC[places[done : done + len(logits_BC)]] = logits_BC.cpu().numpy()
                done += len(logits_BC)
                claim.renew()
            self.counts.computed += len(places)
            self._store(path, cell_N[places], logits_NC[places])
        finally:
            claim.give_back()
        return True

    def _read_chunk(self, path: Path, cell_N: np.ndarray, places: np.ndarray, logits_NC: np.ndarray) -> bool:
        """Whether the cells' chunk is there; then they are copied to their places."""
        if not (path.exists() and self._load(path)):
            return False
        self._read(cell_N, places, logits_NC)
        return True

    def _read(self, cell_N: np.ndarray, places: np.ndarray, logits_NC: np.ndarray) -> None:
        """Copies stored cells to their places, chunk by chunk."""
        if not len(places):
            return
        row = self._row_of[cell_N[places]]
        order = np.argsort(row)
        places, row = places[order], row[order]
        chunk = np.searchsorted(self._starts, row, side="right") - 1
        which, first = np.unique(chunk, return_index=True)
        for number, start, end in zip(which, first, [*first[1:], len(chunk)], strict=True):
            logits_NC[places[start:end]] = self._chunks[number][row[start:end] - self._starts[number]]
        self.counts.read += len(places)

    def _look_for_chunks(self) -> None:
        with suppress(FileNotFoundError):  # nobody has stored anything yet
            for entry in os.scandir(self.folder):
                if entry.name.endswith(".chunk"):
                    self._load(Path(entry.path))

    def _load(self, path: Path) -> bool:
        """Takes a chunk in. False, and the file is gone, where it is damaged."""
        if path.name in self._known:
            return True
        found = _map_chunk(path, num_classes=self.num_classes)
        if found is None:
            path.unlink(missing_ok=True)
            self.counts.damaged += 1
            return False
        cell_M, logits_MC = found
        self._row_of[cell_M] = np.arange(self._num_rows, self._num_rows + len(cell_M), dtype=np.int32)
        self._chunks.append(logits_MC)
        self._starts.append(self._num_rows)
        self._known.add(path.name)
        self._num_rows += len(cell_M)
        return True

    def _store(self, path: Path, cell_M: np.ndarray, logits_MC: np.ndarray) -> None:
        """Writes the chunk beside, and renames it. Without room the cells stay unwritten: the trial has them all the
        same, and whoever needs them next asks the teacher again."""
        body = _encode(cell_M, logits_MC)
        if not self._has_room(len(body)):
            self.counts.unwritten += len(cell_M)
            return
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            part.write_bytes(body)
            os.replace(part, path)
        except OSError:  # a full disk, a quota, a folder that nobody may write to, or one that was removed
            with suppress(OSError):
                part.unlink()
            self.counts.unwritten += len(cell_M)
            return
        self._load(path)

    def _has_room(self, num_bytes: int) -> bool:
        if self.max_bytes is not None and self.stored_bytes + num_bytes > self.max_bytes:
            return False
        try:
            return shutil.disk_usage(self.folder).free - num_bytes > _LEFT_FREE_BYTES
        except OSError:
            return False

    @property
    def _cell_bytes(self) -> int:
        return 8 + 4 * self.num_classes


def open_table(
    tables_dir: Path, key: Mapping[str, Any], *, num_images: int, num_views: int, num_classes: int,
    max_bytes: int | None = None,
) -> TeacherTable:
    """The table of everything that `key` says, in a folder named by its hash. One process opens it once."""
    folder = tables_dir / ("v" + digest(key))
    _describe(folder, {**key, "num_images": num_images, "num_views": num_views, "num_classes": num_classes})
    return _open_once(folder, num_images, num_views, num_classes, max_bytes)


@lru_cache(maxsize=4)
def _open_once(
    folder: Path, num_images: int, num_views: int, num_classes: int, max_bytes: int | None
) -> TeacherTable:
    return TeacherTable(folder, num_images, num_views, num_classes, max_bytes)


def _describe(folder: Path, key: Mapping[str, Any]) -> None:
    """Says in the folder what the table is of, for people and for who tidies up."""
    path = folder / "table.json"
    if path.exists():
        return
    part = folder / f".table.{uuid.uuid4().hex}.part"
    with suppress(OSError):  # without room or permission there is no table either
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(dict(key), indent=1))
        os.replace(part, path)


class _Claim:
    """Says to other processes that a chunk is being computed. Losing it costs work done twice, never a wrong number."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> bool:
        """Whether this process is to compute the chunk: nobody has claimed it, or who has is dead."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "x") as file:
                file.write(f"{os.getpid()} {socket.gethostname()}")
        except FileExistsError:
            if not self._is_abandoned():
                return False
            with suppress(OSError):
                self._path.unlink()
            return self.take()
        except OSError:  # nothing can be written here: everyone computes for himself
            return True
        return True

    def renew(self) -> None:
        """Says that the work goes on."""
        with suppress(OSError):
            os.utime(self._path)

    def give_back(self) -> None:
        with suppress(OSError):
            self._path.unlink()

    def _is_abandoned(self) -> bool:
        """Not renewed for long; or of a process of this host that is no more."""
        try:
            pid, _, host = self._path.read_text().partition(" ")
            if time.time() - self._path.stat().st_mtime > _STALE_SECONDS:
                return True
        except OSError:  # given back a moment ago: taking it will tell
            return False
        return host == socket.gethostname() and not Path("/proc", pid).exists()


def _group(cell_N: np.ndarray, is_stored: np.ndarray, *, batch_size: int) -> Iterator[np.ndarray]:
    """Places of the cells that are not stored, in groups, cells rising. A group begins and ends at the same cells for
    all who ask for these N, whatever is stored by then: so they want the same chunks and share the work."""
    num_batches = math.ceil(min(len(cell_N) / _CHUNKS, _CHUNK_CELLS) / batch_size)
    size = max(num_batches, 1) * batch_size
    order = np.argsort(cell_N)
    parts: list[np.ndarray] = []
    for start in range(0, len(order), size):
        places = order[start : start + size]
        parts.append(places[~is_stored[places]])
        if sum(map(len, parts)) >= size:  # where few are missing, groups together: not a file for each
            yield np.concatenate(parts)
            parts = []
    if sum(map(len, parts)):
        yield np.concatenate(parts)


def _encode(cell_M: np.ndarray, logits_MC: np.ndarray) -> bytes:
    body = cell_M.astype("<i8").tobytes() + logits_MC.astype("<f4").tobytes()
    head = np.array([(_MAGIC, len(cell_M), logits_MC.shape[1], zlib.crc32(body))], dtype=_HEAD)
    return head.tobytes() + body


def _map_chunk(path: Path, *, num_classes: int) -> tuple[np.ndarray, np.ndarray] | None:
    """cell_M and the memory-mapped logits_MC of a chunk, or None where it is not what was written."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError):  # gone, or empty
        return None
    if len(data) < _HEAD.itemsize:
        return None
    head, body = data[: _HEAD.itemsize].view(_HEAD)[0], data[_HEAD.itemsize :]
    cells = int(head["cells"])
    if head["magic"] != _MAGIC or head["classes"] != num_classes or len(body) != cells * (8 + 4 * num_classes):
        return None
    if zlib.crc32(body) != head["crc"]:
        return None
    return body[: 8 * cells].view("<i8"), body[8 * cells :].view("<f4").reshape(cells, num_classes)
