"""Numbers in, numbers out. None is "cannot be known from these numbers", never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

TIE_DIGITS = 9  # means of counts over images differ by more than 1e-9 or only by rounding


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return float(np.mean(values)) if len(values) else None


def sd(values: Sequence[float]) -> float | None:
    """The sample standard deviation (n - 1); None for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def standard_error(values: Sequence[float]) -> float | None:
    """The standard error of the mean; None for fewer than two values."""
    return sd(values) / math.sqrt(len(values)) if len(values) > 1 else None


def t_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Student-t interval of the mean; None for fewer than two values.

    Not the bootstrap: at 3 seeds a 95 % percentile bootstrap covers the truth 73 times in 100, this one 94 times
    (simulation, 1,500 replicates).
    """
    if len(values) < 2:
        return None
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * standard_error(values)
    return mean(values) - half, mean(values) + half


def gain(method: Sequence[float], plain: Sequence[float]) -> float | None:
    """How far the method's mean lies above plain training's."""
    if not len(method) or not len(plain):
        return None
    return mean(method) - mean(plain)


def gap(teacher: float | None, plain: Sequence[float], *, plain_sd: float | None = None) -> float | None:
    """How far the teacher lies above the plain student; None if less than two standard errors, or if that is unknown.

    The teacher is one fixed network, so the error is the student's alone. plain_sd: the spread over seeds that is
    assumed of a student with one value alone, as published ones have.
    """
    error = plain_sd if len(plain) == 1 else standard_error(plain)
    if teacher is None or error is None:
        return None
    difference = teacher - mean(plain)
    return difference if is_above(difference, 2 * error) else None


def gap_closed(
    method: Sequence[float], plain: Sequence[float], teacher: float | None, *, plain_sd: float | None = None
) -> float | None:
    """The gain as a share of the gap; None where the gap is none."""
    whole = gap(teacher, plain, plain_sd=plain_sd)
    closed = gain(method, plain)
    return None if whole is None or closed is None else closed / whole


def is_above(value: float, bound: float) -> bool:
    """Whether the value is larger by more than rounding."""
    return round(value - bound, TIE_DIGITS) > 0


def find_common(means: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The pairs that every method of {method: {pair: mean}} has, in the order of the first."""
    first, *others = means.values() or [{}]
    return [pair for pair in first if all(pair in pairs for pairs in others)]


def mean_ranks(means: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, float], list[str]]:
    """Of {method: {pair: mean}}, each method's mean rank (1 is best, ties share theirs) and the pairs ranked on.

    Ranked are the pairs that every method has; nothing is imputed. No common pair, no ranks.
    """
    common = find_common(means)
    if not common:
        return {}, []
    scores = np.array([[round(means[method][pair], TIE_DIGITS) for pair in common] for method in means])
    ranks = stats.rankdata(-scores, axis=0).mean(axis=1)
    return dict(zip(means, ranks.tolist(), strict=True)), common
