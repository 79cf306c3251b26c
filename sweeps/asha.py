"""Rungs of one arm: which trials go on. ASHA as in Li et al. 2020, arXiv:1810.05934, in its promoting form.

A trial pauses at a rung and goes on when it is among the best 1/eta of those that reached it. Of n trials at a rung at
most floor(n / eta) ever go on, so every arm of a study spends nearly the same number of epochs whatever the order in
which its trials arrive. Values are validation scores, higher is better; NaN is worst and never goes on; ties go to the
lower trial number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set


def list_rungs(grace: int, eta: int, epochs: int) -> tuple[int, ...]:
    """The epochs at which trials pause: grace, grace * eta, ... below `epochs`."""
    rungs = []
    epoch = grace
    while epoch < epochs:
        rungs.append(epoch)
        epoch *= eta
    return tuple(rungs)


def is_immune(number: int, share: float) -> bool:
    """Whether the trial of this number runs to the end whatever its values: every 1/share-th one."""
    return math.floor((number + 1) * share + 1e-9) > math.floor(number * share + 1e-9)


def find_promotable(values: Mapping[int, float], promoted: Set[int], eta: int) -> int | None:
    """The best trial number at a rung that may go on now, or None. `values`: trial number -> value at this rung."""
    allowed = len(values) // eta
    if len(promoted) >= allowed:
        return None
    for number in rank(values)[:allowed]:
        if number not in promoted:
            return number
    return None


def find_best_left(values: Mapping[int, float], promoted: Set[int]) -> int | None:
    """The best trial number at a rung that has not gone on, or None where only NaN is left."""
    left = {number: value for number, value in values.items() if number not in promoted}
    return next(iter(rank(left)), None)


def passes(number: int, values: Mapping[int, float], eta: int) -> bool:
    """The stopping rule: whether a trial is in the best 1/eta of those at its rung now, itself among them.

    A stop is final, so where the ones that passed diverge or fail later, an arm may end without a winner; pausing does
    not have that flaw.
    """
    return number in rank(values)[: max(1, len(values) // eta)]


def would_pass(value: float, values: Mapping[int, float], eta: int) -> bool:
    """Whether a trial that is not at a rung would be in its best 1/eta: what ASHA would have left of an immune one."""
    return passes(-1, {**values, -1: value}, eta)


def rank(values: Mapping[int, float]) -> list[int]:
    """Trial numbers with a finite value, best first."""
    finite = [(-value, number) for number, value in values.items() if math.isfinite(value)]
    return [number for _, number in sorted(finite)]
