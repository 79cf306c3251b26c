"""Ctrl-C and SIGTERM: the first ends the running jobs at their last checkpoint, the second leaves at once.

Nothing has to be saved on the way out: every decision is in the journal before it takes effect.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 75
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The person or the cluster asked the study to stop. No Exception: a trial must not take it for its own failure."""


class Interruption:
    """Whether a signal came. `immediate`: it is raised where the program stands, except inside `deferred`."""

    def __init__(self, *, immediate: bool) -> None:
        self.requested = False
        self._raise_at_once = immediate
        self._deferred = False

    def check(self) -> None:
        """Raises Interrupted if a signal came."""
        if self.requested:
            raise Interrupted

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Holds a signal back until the block has ended."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(EXIT_INTERRUPTED)
        self.requested = True
        if self._raise_at_once and not self._deferred:
            raise Interrupted


@contextmanager
def catch_signals(*, immediate: bool) -> Iterator[Interruption]:
    """Handles SIGINT and SIGTERM inside the block and puts the old handlers back. Only in the main thread."""
    interruption = Interruption(immediate=immediate)
    old = {number: signal.signal(number, interruption.handle) for number in _SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
