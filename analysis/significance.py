"""Is the difference real? Tests over pairs, a posterior that speaks of practical size, and what seeds can show.

Over pairs each method has one number per pair. Compared are two methods at a time (Wilcoxon with Holm's correction):
a verdict from mean ranks depends on which other methods are on the board (Benavoli et al. 2015, arXiv:1505.02288).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis import statistics

PRIOR_WEIGHT = 0.5  # of a pair; the prior's one pseudo-observation of no difference, as baycomp 1.0.3 has it
DECIDED = 0.95      # posterior probability that is called an answer; chosen by hand, 0.9 misleads where seeds are few

_MEANS_AT_ONCE = 2_000_000  # 16 MB a copy; chosen by hand
_LEVEL = 0.05       # of `Comparison.possible`
_MANY = 1e9         # degrees of freedom that are as good as infinitely many
_NONE = 1e-6        # standard errors that are as good as none; at 0 itself scipy 1.17's tail is negative

Means = Mapping[str, Mapping[str, float]]   # method: pair: mean over seeds


@dataclass(frozen=True)
class Friedman:
    """Friedman's test that all methods rank alike; p from the chi-squared limit, so rough for few pairs."""

    statistic: float
    p: float
    num_pairs: int
    num_methods: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on their common pairs, by Wilcoxon's signed-rank test."""

    a: str
    b: str
    num_pairs: int
    p: float | None         # two-sided; None without a common pair
    p_holm: float | None    # corrected for all comparisons made together
    possible: bool          # whether so few pairs could have come out significant at 0.05 at all


@dataclass(frozen=True)
class Posterior:
    """The probabilities that one method is worse, practically equal or better; they sum to 1."""

    worse: float
    equal: float
    better: float


def friedman(means: Means) -> Friedman | None:
    """The test on the pairs that every method has; None for fewer than three methods or two such pairs.

    Ties share their ranks and the statistic is corrected for them. Methods that tie everywhere give p = 1.
    """
    common = statistics.find_common(means)
    if len(means) < 3 or len(common) < 2:
        return None
    scores = np.round([[pairs[pair] for pair in common] for pairs in means.values()], statistics.TIE_DIGITS)
    if (scores == scores[0]).all():
        return Friedman(0.0, 1.0, len(common), len(means))
    statistic, p = stats.friedmanchisquare(*scores)
    return Friedman(float(statistic), float(p), len(common), len(means))


def wilcoxon(differences: Sequence[float]) -> float | None:
    """The two-sided p of Wilcoxon's signed-rank test that the differences lie evenly about 0; None of none.

    Exact for any number of pairs, ties included: the chance over all signs that the ranks could have had. A difference
    of zero is ranked with the others and then left out (Pratt 1959): dropped before, pairs without any difference could
    make a result significant.
    """
    if not len(differences):
        return None
    rounded = np.round(differences, statistics.TIE_DIGITS)
    ranks = (2 * stats.rankdata(np.abs(rounded))).astype(int)   # doubled, so that shared ranks are whole
    smaller = min(ranks[rounded > 0].sum(), ranks[rounded < 0].sum())
    chances = _distribute_sums(ranks[rounded != 0])
    return min(1.0, float(2 * chances[: smaller + 1].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for being many (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, number in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def can_be_significant(num_pairs: int, num_comparisons: int, *, level: float = 0.05) -> bool:
    """Whether the clearest result that so many pairs can give would pass Wilcoxon's test with Holm's correction."""
    return num_comparisons * _smallest_p(num_pairs) <= level


def compare_with(reference: str, means: Means) -> list[Comparison]:
    """The reference against each other method, in their order, corrected for these comparisons."""
    if reference not in means:
        raise ValueError(f"no method `{reference}`. Known: {', '.join(means)}")
    return _compare([(reference, other) for other in means if other != reference], means)


def compare_all(means: Means) -> list[Comparison]:
    """Every two methods, in their order, corrected for all of these comparisons."""
    return _compare(itertools.combinations(means, 2), means)


def bayesian_signed_rank(
    differences: Sequence[float] | np.ndarray, *, rope: float = 0.002, seed: int = 0, draws: int = 50_000
) -> Posterior | None:
    """What the differences of one method to another, one per pair, say of pairs at large; None of fewer than two.

    The Bayesian signed-rank test (Benavoli, Corani, Demsar, Zaffalon 2017, JMLR 18(77), arXiv:1606.04316): each
    draw gives Dirichlet weights to the pairs and to a pseudo-pair without difference, and weighs the means of every two
    that lie below, within and above +-rope; a mean on the edge counts half to either side. A probability is the share
    of draws in which that weight is the largest.

    differences: (pairs,), taken as exact; or (draws, pairs), one guess of each per draw, see `draw_differences`, which
    takes the place of `draws`.

    The prior is weak: where all differences lie beyond the rope, 0.96 comes of two pairs and 0.99 of three. So say how
    many there were.
    """
    guesses = np.atleast_2d(np.asarray(differences, dtype=float))
    if guesses.shape[1] < 2:
        return None
    draws = max(draws, 1) if len(guesses) == 1 else len(guesses)
    values = np.hstack([np.zeros((len(guesses), 1)), guesses])
    priors = np.concatenate([[PRIOR_WEIGHT], np.ones(guesses.shape[1])])
    weights = np.random.default_rng(seed).dirichlet(priors, size=draws)
    worse, better = _weigh_sides(values, weights, rope=rope)
    masses = np.stack([worse, 1 - worse - better, better])
    largest = masses == masses.max(axis=0)
    return Posterior(*(largest / largest.sum(axis=0)).mean(axis=1).tolist())


def judge_couples(
    couples: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    rope: float,
    names: Sequence[tuple[Hashable, Hashable]] | None = None,
) -> Posterior | None:
    """The posterior of the first sides minus the second, given their seeds, a couple per pair; see `draw_differences`.

    None of fewer than two pairs. Where some side has one seed alone, nothing is known of its spread and the pairs must
    show it: None where so few of them could not be significant either.
    """
    lone = any(len(side) == 1 for couple in couples for side in couple)
    if lone and not can_be_significant(len(couples), 1):
        return None
    return bayesian_signed_rank(draw_differences(couples, names=names), rope=rope)


def draw_differences(
    couples: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    names: Sequence[tuple[Hashable, Hashable]] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> np.ndarray:
    """What the true difference of each couple's means may be, given its seeds: (draws, couples).

    Of normal values with unknown spread and a flat prior (Jeffreys), a mean lies around theirs as Student's t with
    n - 1 degrees of freedom. A lone value, of which no spread is known, is taken as exact.

    names: of both sides of each couple, what was trained; what several couples show is drawn once for all of them, as
    the plain student of several teachers. None: nothing is shared.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[Hashable, np.ndarray] = {}
    for couple, keys in zip(couples, named := names or _name_apart(len(couples)), strict=True):
        for side, key in zip(couple, keys, strict=True):
            if key not in drawn:
                drawn[key] = _draw_mean(side, rng, draws)
    differences = [drawn[a] - drawn[b] for a, b in named]
    return np.stack(differences, axis=1) if differences else np.empty((draws, 0))


def describe_posterior(a: str, b: str, posterior: Posterior | None, *, rope: float) -> str:
    """What the posterior of `a` minus `b` says, in one sentence; "cannot tell" where nothing reaches DECIDED."""
    if posterior is None:
        return f"cannot tell {a} from {b}: fewer than two pairs have both, or fewer than six with one seed somewhere"
    margin = f"{100 * rope:g} pp"
    outcomes = {
        f"{a} is better than {b} by more than {margin}": posterior.better,
        f"{a} and {b} are practically equal (within {margin})": posterior.equal,
        f"{a} is worse than {b} by more than {margin}": posterior.worse,
    }
    for sentence, probability in outcomes.items():
        if probability >= DECIDED:
            return f"{sentence} with probability {_show(probability)}"
    better, equal, worse = map(_show, outcomes.values())
    return f"cannot tell {a} from {b}: better {better}, practically equal (within {margin}) {equal}, worse {worse}"


def welch_interval(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Welch's interval of mean(a) - mean(b), spreads not assumed equal; None for fewer than two values on a side."""
    if min(len(a), len(b)) < 2:
        return None
    difference = statistics.mean(a) - statistics.mean(b)
    squares = [statistics.standard_error(side) ** 2 for side in (a, b)]
    if not round(math.sqrt(sum(squares)), statistics.TIE_DIGITS):
        return (round(difference, statistics.TIE_DIGITS),) * 2
    freedom = sum(squares) ** 2 / sum(square**2 / (len(side) - 1) for square, side in zip(squares, (a, b), strict=True))
    half = stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(sum(squares))
    return float(difference - half), float(difference + half)


def seeds_needed(delta: float, sd: float, *, power: float = 0.8, level: float = 0.05) -> int | None:
    """Seeds that each of two methods needs for a two-sided t test to see a true difference `delta` with `power`.

    Both spread by `sd`, so that Welch's test has 2n - 2 degrees of freedom. None for no difference but rounding, which
    no number of seeds shows.
    """
    if not round(delta, statistics.TIE_DIGITS):
        return None
    size = abs(delta) / sd if sd else math.inf
    # The limit of many seeds, where the test knows sd, needs the fewest; a t test a few more.
    seeds = max(2, math.floor(2 * (_noncentrality(_MANY, power, level) / size) ** 2))
    while size * math.sqrt(seeds / 2) < _noncentrality(2 * seeds - 2, power, level):
        seeds += 1
    return seeds


def smallest_detectable(
    a: Sequence[float], b: Sequence[float], *, power: float = 0.8, level: float = 0.05
) -> float | None:
    """The true difference that two such samples would show with `power`, from their pooled sd and their sizes.

    None for fewer than two values on a side.
    """
    if min(len(a), len(b)) < 2:
        return None
    freedom = len(a) + len(b) - 2
    variance = sum((len(side) - 1) * statistics.sd(side) ** 2 for side in (a, b)) / freedom
    return _noncentrality(freedom, power, level) * math.sqrt(variance * (1 / len(a) + 1 / len(b)))


def _compare(couples: Iterable[tuple[str, str]], means: Means) -> list[Comparison]:
    """A comparison per couple. `possible` is what Holm leaves if each came out as clearly as its pairs allow."""
    couples = list(couples)
    differences = [_subtract(means[a], means[b]) for a, b in couples]
    p_values = [wilcoxon(values) for values in differences]
    known = [number for number, p in enumerate(p_values) if p is not None]
    corrected = dict(zip(known, holm([p_values[number] for number in known]), strict=True))
    clearest = dict(zip(known, holm([_smallest_p(len(differences[number])) for number in known]), strict=True))
    return [
        Comparison(a, b, len(differences[number]), p_values[number], corrected.get(number),
                   clearest.get(number, 1.0) <= _LEVEL)
        for number, (a, b) in enumerate(couples)
    ]


def _subtract(a: Mapping[str, float], b: Mapping[str, float]) -> list[float]:
    return [a[pair] - b[pair] for pair in a if pair in b]


def _smallest_p(num_pairs: int) -> float:
    """Wilcoxon's two-sided p where all differences have one sign: two of the 2^n ways to set the signs."""
    return 2 / 2**num_pairs


def _distribute_sums(ranks: np.ndarray) -> np.ndarray:
    """The chance of each sum, 0 to all, of ranks that are each taken or left by the toss of a coin."""
    chances = np.zeros(ranks.sum() + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances = (chances + np.roll(chances, rank)) / 2    # no sum is yet within `rank` of the end, so none wraps
    return chances


def _weigh_sides(values: np.ndarray, weights: np.ndarray, *, rope: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each draw, the weight of the means of two that lie below -rope, and above it.

    values: (1 or draws, n), weights: (draws, n). In parts: every draw of 100 pairs has 10,000 such means.
    """
    step = max(1, _MEANS_AT_ONCE // values.shape[1] ** 2)
    sides: tuple[list[np.ndarray], ...] = ([], [])
    for begin in range(0, len(weights), step):
        some = weights[begin:begin + step]
        mine = values if len(values) == 1 else values[begin:begin + step]
        means = np.round((mine[:, :, None] + mine[:, None, :]) / 2, statistics.TIE_DIGITS)
        for sign, found in zip((-1, 1), sides, strict=True):
            marks = np.heaviside(sign * means - rope, 0.5)
            found.append((np.matmul(marks, some[:, :, None])[:, :, 0] * some).sum(axis=1))
    return np.concatenate(sides[0]), np.concatenate(sides[1])


def _name_apart(num_couples: int) -> list[tuple[Hashable, Hashable]]:
    return [((place, "a"), (place, "b")) for place in range(num_couples)]


def _draw_mean(seeds: Sequence[float], rng: np.random.Generator, draws: int) -> np.ndarray:
    error = statistics.standard_error(seeds)
    return statistics.mean(seeds) + (error * rng.standard_t(len(seeds) - 1, size=draws) if error else np.zeros(draws))


def _show(probability: float) -> str:
    """Two digits, never certain, and never rounded up to what would be an answer."""
    if probability > 0.99:
        return "above 0.99"
    if probability < 0.01:
        return "below 0.01"
    rounded = round(probability, 2)
    return f"{rounded if probability >= DECIDED or rounded < DECIDED else math.floor(100 * probability) / 100:.2f}"


def _noncentrality(freedom: int, power: float, level: float) -> float:
    """How many standard errors a true difference must be for a two-sided t test to see it with `power` > `level`.

    t squared is F: its upper tail holds both tails of t, and scipy's stays finite where its noncentral t gives nan.
    """
    critical = stats.f.isf(level, 1, freedom)

    def exceed(errors: float) -> float:
        return stats.ncf.sf(critical, 1, freedom, errors**2) - power

    high = 1.0
    while exceed(high) < 0:
        high *= 2
    return float(optimize.brentq(exceed, _NONE, high))
