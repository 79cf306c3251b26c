"""What a search of a given size is worth: best so far, and the best to expect of fewer trials. Higher is better."""

from __future__ import annotations

import math
from collections.abc import Sequence


def expected_best(values: Sequence[float], n: int, *, biased: bool = False) -> float | None:
    """The best value to expect of `n` random-search trials, from those of N; None where N trials cannot tell.

    Unbiased (Tang et al. 2020, arXiv:2004.13705): the mean best over all ways to leave N - n trials out, so none for
    n > N. Biased (Dodge et al. 2019, arXiv:1909.03004): the mean best of n drawn with replacement, which is low, and
    lower the nearer n is to N; Dodge et al. 2021 (arXiv:2110.00613) found that it misleads less often, since its
    spread is smaller.

    The trials must be independent draws from one distribution: true of random search, not of a search that learns from
    its trials or stops some. A failed trial is a draw too and needs a value, such as chance level.
    """
    if n < 1:
        raise ValueError(f"the best of {n} trials does not exist\n\nhint: ask for n of 1 or more")
    size = len(values)
    if not size or (n > size and not biased):
        return None
    weights = [_weigh_biased(place, n, size) if biased else _weigh_unbiased(place, n, size) for place in range(size)]
    return float(sum(weight * value for weight, value in zip(weights, sorted(values), strict=True)))


def best_so_far(values: Sequence[float | None]) -> list[float | None]:
    """The highest value up to each place, in the order of time.

    None (a trial that failed, or has no value yet) leaves the best as it was; before the first value it is None.
    """
    best: list[float | None] = []
    for value in values:
        known = [number for number in (*best[-1:], value) if number is not None]
        best.append(max(known, default=None))
    return best


def _weigh_biased(place: int, n: int, size: int) -> float:
    """The chance that the value at `place` in ascending order is the best of `n` drawn with replacement."""
    return ((place + 1) / size) ** n - (place / size) ** n


def _weigh_unbiased(place: int, n: int, size: int) -> float:
    """The chance that it is the best of `n` drawn without: the others all from the `place` below it."""
    return math.comb(place, n - 1) / math.comb(size, n)
