"""What a search of a given size is worth: best so far, and the best to expect of fewer trials. Higher is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
    chances = _chances_with_replacement(n, size) if biased else _chances_without_replacement(n, size)
    return float(chances @ np.sort(values))


def best_so_far(values: Sequence[float | None]) -> list[float | None]:
    """The highest value up to each place, in the order of time.

    None (a trial that failed, or has no value yet) leaves the best as it was; before the first value it is None.
    """
    best: list[float | None] = []
    for value in values:
        known = [number for number in (*best[-1:], value) if number is not None]
        best.append(max(known, default=None))
    return best


def _chances_with_replacement(n: int, size: int) -> np.ndarray:
    """The chance of each value, in ascending order, of being the best of `n` drawn from all every time."""
    return np.diff((np.arange(size + 1) / size) ** n)


def _chances_without_replacement(n: int, size: int) -> np.ndarray:
    """The same where none is drawn twice: C(i, n - 1) / C(size, n) for the value that has i below it.

    By the ratio of neighbours from the highest down, since the binomials themselves are too large for many trials.
    """
    ratios = 1 - (n - 1) / np.arange(size - 1, 0, -1)
    return n / size * np.cumprod([1.0, *ratios])[::-1]
