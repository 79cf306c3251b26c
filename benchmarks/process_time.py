"""What a command costs with all processes that come of it, Ray's among them. Linux.

`getrusage` does not tell: it counts the children that somebody waited for, and Ray's node never waits for its workers.
So /proc is looked at again and again for the command's children, their children, and so on.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_SECONDS = 0.1        # between looks: so much of a process's last moments, at most, is not seen
_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _STARTED = 1, 11, 12, 19   # of the numbers after the name in /proc/PID/stat: man 5 proc


@dataclass(frozen=True)
class Spent:
    """Of a command: when it began (seconds since 1970), and its seconds by the clock and of all processors."""

    began_at: float
    wall_seconds: float
    cpu_seconds: float


def run_command(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Spent:
    """Runs it to its end; what it prints goes to `log`. Raises ValueError where it fails."""
    began_at = time.time()
    with open(log, "w") as file:
        process = subprocess.Popen(command, env=env, cwd=cwd, stdout=file, stderr=subprocess.STDOUT)
        with Watch(process.pid) as watch:
            code = process.wait()
        wall_seconds = time.time() - began_at
    if code:
        raise ValueError(f"{' '.join(command)}: exit code {code}\n\nhint: {log} says why")
    return Spent(began_at, wall_seconds, watch.cpu_seconds)


class Watch:
    """Looks at a process and at all that come of it, for as long as it is entered."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seconds: dict[tuple[int, int], float] = {}    # (pid, when it started) -> processor seconds so far
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._seconds.values())

    def _look_often(self) -> None:
        self._look()
        while not self._ended.wait(_EVERY_SECONDS):
            self._look()
        self._look()

    def _look(self) -> None:
        there = {(pid, numbers[_STARTED]): numbers for pid, numbers in _read_processes()}
        known = {pid for pid, started in there if (pid, started) in self._seconds} | {self._root}
        for (pid, started), numbers in sorted(there.items(), key=lambda item: item[1][_STARTED]):  # parents first
            if pid in known or numbers[_PARENT] in known:
                known.add(pid)
                self._seconds[pid, started] = (numbers[_USER] + numbers[_SYSTEM]) / _TICKS


def _read_processes() -> list[tuple[int, list[int]]]:
    """Every process with the numbers of its stat, of which the first is its state and put as 0."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            text = Path("/proc", name, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        found.append((int(name), [0, *map(int, text.rpartition(")")[2].split()[1:])]))
    return found
