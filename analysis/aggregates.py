"""Many pairs, one number: a method against plain training, and one method against another.

Interquartile mean, probability of improvement, performance profile and the bootstrap stratified by pair are those of
Agarwal et al. 2021, arXiv:2108.13264. The choice of aggregate can decide a ranking, so a board shows more than one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis import statistics

Interval = tuple[float, float]  # low, high


@dataclass(frozen=True)
class Sample:
    """What one pair says of a method: accuracies as fractions, one per seed."""

    method: Sequence[float]
    plain: Sequence[float]      # the same student trained without a teacher
    teacher: float | None
    # What was trained: samples of one name show the same seeds, as pairs of one student do, so share their luck.
    method_name: Hashable = None
    plain_name: Hashable = None

    @property
    def compared(self) -> bool:
        return len(self.method) > 0 and len(self.plain) > 0

    @property
    def gain(self) -> float:
        return statistics.gain(self.method, self.plain)


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of three aggregates; None where the seeds cannot tell."""

    pooled_gap_closed: Interval | None
    mean_gain: Interval | None
    iqm_gain: Interval | None


def pooled_gap_closed(samples: Sequence[Sample], *, plain_sd: float | None = None) -> float | None:
    """Sum of gains over sum of gaps: how much of the way from plain student to teacher the method goes.

    Pairs with a small gap stay in, which is what makes the denominator steady; a pair that lacks method, plain student,
    its error or teacher is left out. `plain_sd` is the standard deviation over seeds to assume where there is one
    seed, as in published tables. None if the summed gap is at most two standard errors, the errors added as if the
    pairs shared a student.
    """
    usable = [sample for sample in samples if is_pooled(sample, plain_sd=plain_sd)]
    gap = sum(sample.teacher - statistics.mean(sample.plain) for sample in usable)
    error = sum(_plain_error(sample, plain_sd) for sample in usable)
    return sum(sample.gain for sample in usable) / gap if statistics.is_above(gap, 2 * error) else None


def is_pooled(sample: Sample, *, plain_sd: float | None = None) -> bool:
    """Whether `pooled_gap_closed` counts the pair: everything is known that it takes, however small the gap."""
    return sample.compared and sample.teacher is not None and _plain_error(sample, plain_sd) is not None


def mean_gain(samples: Sequence[Sample]) -> float | None:
    """The mean over pairs of the gain, each pair weighing the same; None without a pair that has both students."""
    return statistics.mean([sample.gain for sample in samples if sample.compared])


def iqm_gain(samples: Sequence[Sample]) -> float | None:
    """The interquartile mean of every seed's gain, those of all pairs together; None without any."""
    return interquartile_mean([gain for sample in samples for gain in seed_gains(sample)])


def seed_gains(sample: Sample) -> list[float]:
    """How far each seed lies above the mean of its pair's plain student; empty where there is none."""
    if not sample.compared:
        return []
    return [value - statistics.mean(sample.plain) for value in sample.method]


def interquartile_mean(values: Sequence[float]) -> float | None:
    """The mean of the middle half: a quarter of the values, rounded down, is cut at each end. None of nothing."""
    return float(_interquartile_means(np.array(values, dtype=float))) if len(values) else None


def bootstrap_intervals(
    samples: Sequence[Sample], *, seed: int = 0, repetitions: int = 2000, level: float = 0.95
) -> Intervals:
    """Percentile intervals, from resampling the seeds of method and plain student within each pair.

    The pairs and the teachers stay as they are: the interval is about new seeds, not about other networks. Seeds that
    several samples show, by their names, are drawn once for all of them: drawn apart, the plain student of six pairs
    made an interval of 95 % hold the truth 60 times in 100 instead of 90 (simulation as below, 5 seeds). None unless
    every pair with both students has two seeds of each, since a lone seed would pass for one without error.

    Few seeds make them too narrow. An interval of 95 % held the truth so often, the three aggregates within 0.02 of
    another (4,000 simulated boards each, normal seeds with an sd of 0.25 pp, gains of 1 +- 0.6 pp, 1,000 repetitions):

        seeds       2      3      5      10
        12 pairs    0.81   0.87   0.91   0.94
        4 pairs     0.79   0.87   0.91   0.93
        1 pair      0.65   0.80   0.88   0.91
    """
    compared = [sample for sample in samples if sample.compared]
    if not _has_two_seeds([sample.method for sample in compared] + [sample.plain for sample in compared]):
        return Intervals(None, None, None)
    rng = np.random.default_rng(seed)
    methods = _resample_named([(s.method, s.method_name) for s in compared], rng, repetitions)
    plains = _resample_named([(s.plain, s.plain_name) for s in compared], rng, repetitions)
    plains = [plain.mean(axis=1, keepdims=True) for plain in plains]
    gains = [method - plain for method, plain in zip(methods, plains, strict=True)]
    pair_gains = np.stack([gain.mean(axis=1) for gain in gains])
    return Intervals(
        pooled_gap_closed=_pooled_interval(compared, pair_gains, np.hstack(plains).T, level),
        mean_gain=_percentiles(pair_gains.mean(axis=0), level),
        iqm_gain=_percentiles(_interquartile_means(np.hstack(gains)), level),
    )


def probability_of_improvement(a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]) -> float | None:
    """The probability that a seed of `a` beats a seed of `b` on the same pair, each given as {pair: seeds}.

    A tie counts one half; the mean over the pairs that both have, None without any.
    """
    return statistics.mean([_wins(a[pair], b[pair]).mean() for pair in _shared(a, b)])


def improvement_interval(
    a: Mapping[str, Sequence[float]],
    b: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    repetitions: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """Percentile interval of `probability_of_improvement`, from resampling the seeds of both within each pair.

    None without a common pair, or where one of them has fewer than two seeds on either side. Where every seed of one
    beats every seed of the other, resampling cannot show otherwise and the interval has no width.
    """
    shared = _shared(a, b)
    if not _has_two_seeds([side[pair] for pair in shared for side in (a, b)]):
        return None
    rng = np.random.default_rng(seed)
    pairs = [_resample_wins(_wins(a[pair], b[pair]), rng, repetitions) for pair in shared]
    return _percentiles(np.mean(pairs, axis=0), level)


def performance_profile(scores: Mapping[str, Sequence[float]], thresholds: Sequence[float]) -> list[float] | None:
    """For each threshold, the share of all seeds of all pairs that score above it; None without a score.

    Seeds are counted, so a pair with more of them weighs more.
    """
    every = np.array([value for seeds in scores.values() for value in seeds])
    return [float((every > threshold).mean()) for threshold in thresholds] if len(every) else None


def _plain_error(sample: Sample, plain_sd: float | None) -> float | None:
    return plain_sd if len(sample.plain) == 1 else statistics.standard_error(sample.plain)


def _has_two_seeds(groups: Sequence[Sequence[float]]) -> bool:
    return len(groups) > 0 and all(len(seeds) > 1 for seeds in groups)


def _shared(a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]) -> list[str]:
    return [pair for pair in a if len(a[pair]) and len(b.get(pair, ()))]


def _wins(a: Sequence[float], b: Sequence[float]) -> np.ndarray:
    """1, 1/2 or 0 for every seed of `a` (rows) against every seed of `b` (columns)."""
    return (np.sign(np.round(np.subtract.outer(a, b), statistics.TIE_DIGITS)) + 1) / 2


def _resample(seeds: Sequence[float], rng: np.random.Generator, repetitions: int) -> np.ndarray:
    """`repetitions` rows of as many seeds, drawn with replacement."""
    return np.array(seeds)[rng.integers(len(seeds), size=(repetitions, len(seeds)))]


def _resample_named(
    groups: Sequence[tuple[Sequence[float], Hashable]], rng: np.random.Generator, repetitions: int
) -> list[np.ndarray]:
    """`_resample` of every (seeds, name), those of one name once; those named None each by themselves."""
    drawn: dict[Hashable, np.ndarray] = {}
    keys = [object() if name is None else name for _, name in groups]
    for key, (seeds, _) in zip(keys, groups, strict=True):
        if key not in drawn:
            drawn[key] = _resample(seeds, rng, repetitions)
    return [drawn[key] for key in keys]


def _resample_wins(wins: np.ndarray, rng: np.random.Generator, repetitions: int) -> np.ndarray:
    """The mean of `wins`, once per repetition, rows and columns drawn with replacement."""
    rows, columns = (rng.integers(size, size=(repetitions, size)) for size in wins.shape)
    return wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))


def _interquartile_means(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def _pooled_interval(
    samples: Sequence[Sample], gains: np.ndarray, plains: np.ndarray, level: float
) -> Interval | None:
    """`gains` and `plains` are (pair, repetition). None where there is no ratio, or its denominator may be none."""
    if pooled_gap_closed(samples) is None:
        return None
    known = [place for place, sample in enumerate(samples) if sample.teacher is not None]
    teachers = np.array([samples[place].teacher for place in known])
    gap = (teachers[:, None] - plains[known]).sum(axis=0)
    return _percentiles(gains[known].sum(axis=0) / gap, level) if statistics.is_above(gap.min(), 0) else None


def _percentiles(values: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
