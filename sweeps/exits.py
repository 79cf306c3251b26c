"""How `kdsweep` ends, as a number for the program that called it."""

from __future__ import annotations

from sweeps.interrupt import EXIT_INTERRUPTED, Interrupted
from sweeps.journal import Locked

WRONG = 2         # the study file or the arguments
SOME_FAILED = 3   # finished, some trials failed
GIVEN_UP = 4      # too many trials failed
LOCKED = 5        # by another driver
CHANGED = 6       # the study, since it began


class StudyChanged(ValueError):
    """study.yaml is not any more what the study began as."""


def find_exit_code(error: ValueError | Interrupted) -> int:
    """The code that an error which is not the program's leaves with."""
    codes = {Interrupted: EXIT_INTERRUPTED, Locked: LOCKED, StudyChanged: CHANGED}
    return codes.get(type(error), WRONG)
