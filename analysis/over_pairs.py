"""What the methods come to over all pairs: several aggregates side by side, and what may be concluded from them.

One aggregate alone can decide who wins, so none stands alone: gap closed pooled weighs pairs by their gap, the mean
gain by nothing, the interquartile mean ignores outliers, ranks ignore distances.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis import aggregates, significance, statistics
from analysis.arms import Pair
from analysis.cells import Cell, Column
from analysis.formatting import count

ROPE = 0.002        # region of practical equivalence, 0.2 pp: what seeds alone move on CIFAR-100. Chosen by hand
_PROFILE_STEPS = 60
_NONE = aggregates.Intervals(None, None, None)

Means = Mapping[str, Mapping[Pair, float]]     # label -> pair -> mean test top-1


@dataclass(frozen=True)
class Summary:
    """One method over all pairs."""

    label: str
    cells: Sequence[Cell]               # one per pair
    rank: float | None
    is_plain: bool                      # the reference: every gain is measured from it

    @property
    def covered(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.seeds]

    @cached_property
    def gains(self) -> list[float]:
        return [cell.gain for cell in self.cells if cell.gain is not None]

    @cached_property
    def gap_closed_pooled(self) -> float | None:
        plain_sd = self.cells[0].plain_sd if self.cells else None
        return aggregates.pooled_gap_closed([cell.sample for cell in self.cells], plain_sd=plain_sd)

    @cached_property
    def gain_iqm(self) -> float | None:
        """0 for the reference by definition, as its mean gain is."""
        if self.is_plain:
            return 0.0 if self.gains else None
        return aggregates.iqm_gain([cell.sample for cell in self.cells])

    @cached_property
    def intervals(self) -> aggregates.Intervals:
        """By bootstrap over the seeds of each pair; none for the reference itself."""
        return _NONE if self.is_plain else aggregates.bootstrap_intervals([cell.sample for cell in self.cells])

    def total(self, name: str) -> float | None:
        """Sum over the method's arms, each counted once however many pairs show it; None where there is no arm."""
        arms = {(c.arm.pair.study_id, c.arm.arm_id): c.arm for c in self.cells if c.arm}
        return sum(arm.measured.get(name) or 0 for arm in arms.values()) if arms else None


def _end(name: str, end: int) -> Any:
    return lambda method: (getattr(method.intervals, name) or (None, None))[end]


SUMMARY_COLUMNS = (
    Column("gap_closed_pooled", lambda method: method.gap_closed_pooled, "fraction",
           "sum of gains over sum of gaps", "high"),
    Column("gap_closed_pooled_low", _end("pooled_gap_closed", 0), "fraction", "lower end of its 95 % interval"),
    Column("gap_closed_pooled_high", _end("pooled_gap_closed", 1), "fraction", "upper end of its 95 % interval"),
    Column("gain_mean", lambda method: statistics.mean(method.gains), "difference", "mean gain over the pairs", "high"),
    Column("gain_mean_low", _end("mean_gain", 0), "difference", "lower end of its 95 % interval"),
    Column("gain_mean_high", _end("mean_gain", 1), "difference", "upper end of its 95 % interval"),
    Column("gain_iqm", lambda method: method.gain_iqm, "difference",
           "interquartile mean of every seed's gain over its pair's plain mean", "high"),
    Column("gain_iqm_low", _end("iqm_gain", 0), "difference", "lower end of its 95 % interval"),
    Column("gain_iqm_high", _end("iqm_gain", 1), "difference", "upper end of its 95 % interval"),
    Column("rank_mean", lambda method: method.rank, "rank", "mean rank on the pairs that every method has", "low"),
    Column("num_pairs", lambda method: len(method.covered), "", "pairs with a result"),
    Column("trials", lambda method: method.total("trials"), "", "trials searched"),
    Column("epochs", lambda method: method.total("epochs"), "", "epochs spent on the search"),
    Column("seconds", lambda method: method.total("seconds"), "s", "seconds spent on the search"),
)

VERDICT_COLUMNS = (
    Column("num_pairs", lambda verdict: verdict.comparison.num_pairs, "",
           "pairs that both have; those that show one result, once"),
    Column("improves", lambda verdict: verdict.improves, "share",
           "probability that a seed of the method beats one of plain training, ties one half", "high"),
    Column("p_wilcoxon", lambda verdict: verdict.comparison.p, "p", "two-sided Wilcoxon signed-rank over pairs",
           detail=True),
    Column("p_holm", lambda verdict: verdict.comparison.p_holm, "p", "the same, adjusted by Holm for all methods here"),
    Column("can_be_significant", lambda verdict: verdict.comparison.possible, "",
           "whether so many pairs can reach the 5 % level at all", detail=True),
    Column("worse", lambda verdict: verdict.posterior and verdict.posterior.worse, "share",
           "probability of being worse by more than the region of practical equivalence", detail=True),
    Column("equal", lambda verdict: verdict.posterior and verdict.posterior.equal, "share",
           "probability of lying within that region", detail=True),
    Column("better", lambda verdict: verdict.posterior and verdict.posterior.better, "share",
           "probability of being better by more than that region", detail=True),
    Column("verdict", lambda verdict: verdict.sentence, "text", "what that comes to", detail=True),
)


@dataclass(frozen=True)
class Verdict:
    """A method against plain training, on the pairs that both have."""

    label: str
    comparison: significance.Comparison
    improves: float | None
    posterior: significance.Posterior | None
    sentence: str


def summarise(cells: Sequence[Cell], *, plain: str) -> list[Summary]:
    """Methods: plain training as the reference, then full coverage before partial, then by pooled gap closed."""
    labels = list(dict.fromkeys(cell.label for cell in cells))
    ranks, _ = statistics.mean_ranks(average(cells))
    summaries = [
        Summary(label, [c for c in cells if c.label == label], ranks.get(label), label == plain) for label in labels
    ]
    return sorted(summaries, key=_order)


def average(cells: Sequence[Cell]) -> dict[str, dict[Pair, float]]:
    """Means by label and pair; a method without any result is left out, or no pair would be common to all."""
    means: dict[str, dict[Pair, float]] = {}
    for cell in cells:
        if cell.seeds:
            means.setdefault(cell.label, {})[cell.pair] = statistics.mean(cell.seeds)
    return means


def judge(cells: Sequence[Cell], summaries: Sequence[Summary], *, plain: str) -> list[Verdict]:
    """Every method against plain training, in the summaries' order; none where nothing was trained plainly.

    Pairs of one student show the same result of a method without a teacher, against the same plain student: it is one
    result and counts once, or copies of it would make a difference significant.
    """
    references = [cell for cell in cells if cell.label == plain]
    others = count_once([cell for cell in cells if cell.label != plain])
    means = average([*references, *others])
    if plain not in means:
        return []
    compared = {comparison.b: comparison for comparison in significance.compare_with(plain, means)}
    return [_judge(count_once(s.cells), compared[s.label], plain=plain) for s in summaries if s.label in compared]


def count_once(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without those that show a method's very arm, against the very plain student, once more."""
    distinct: dict[Hashable, Cell] = {}
    for cell in cells:
        distinct.setdefault((cell.label, *cell.names), cell)
    return list(distinct.values())


def _judge(cells: Sequence[Cell], comparison: significance.Comparison, *, plain: str) -> Verdict:
    label = cells[0].label
    both = [cell for cell in cells if cell.gain is not None]
    couples = [(cell.seeds, cell.plain) for cell in both]
    posterior = significance.judge_couples(couples, names=[cell.names for cell in both], rope=ROPE)
    improves = aggregates.probability_of_improvement(
        {cell.pair: cell.seeds for cell in cells if cell.seeds},
        {cell.pair: cell.plain for cell in cells if cell.plain},
    )
    sentence = significance.describe_posterior(label, plain, posterior, rope=ROPE)
    told = f"{sentence} ({count(len(both), 'pair')})" if posterior else ""
    return Verdict(label, comparison, improves, posterior, told)


def draw_profiles(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Rows of the performance profiles: the share of (pair, seed) whose gain lies above each threshold."""
    gains = {s.label: {cell.pair: aggregates.seed_gains(cell.sample) for cell in s.covered} for s in summaries}
    known = [gain for pairs in gains.values() for found in pairs.values() for gain in found]
    if not known or min(known) == max(known):
        return []
    thresholds = np.linspace(min(known), max(known), _PROFILE_STEPS + 1).tolist()
    return [
        {"method": label, "gain": threshold, "share": share}
        for label, found in gains.items() if any(found.values())
        for threshold, share in zip(thresholds, aggregates.performance_profile(found, thresholds), strict=True)
    ]


def find_disagreement(summaries: Sequence[Summary]) -> str | None:
    """A sentence where the aggregates name different winners among the methods that have every pair."""
    full = [s for s in summaries if s.covered and len(s.covered) == len(s.cells) and s.rank is not None]
    if len(full) < 2 or len(full[0].cells) < 2:
        return None
    winners = {
        "gap closed pooled": _find_best(full, lambda s: s.gap_closed_pooled),
        "mean gain": _find_best(full, lambda s: statistics.mean(s.gains)),
        "interquartile mean": _find_best(full, lambda s: s.gain_iqm),
        "mean rank": _find_best(full, lambda s: -s.rank),
    }
    told = {word: names for word, names in winners.items() if names}
    if not told or set.intersection(*map(set, told.values())):
        return None
    said = "; ".join(f"{word}: {' and '.join(names)}" for word, names in told.items())
    return f"the aggregates disagree on the best method: {said}"


def describe_gaps(cells: Sequence[Cell], *, plain: str) -> Iterator[str]:
    """What the reader of a pooled gap closed must know of the pairs' gaps."""
    trained = [cell for cell in cells if cell.label == plain and cell.seeds]
    pooled = [cell for cell in trained if aggregates.is_pooled(cell.sample, plain_sd=cell.plain_sd)]
    if 0 < len(pooled) < len(trained):
        yield (f"gap closed pooled is over {len(pooled)} of {len(trained)} pairs: of the others the teacher's test "
               "top-1, or the spread of the plain student, is not known")
    if below := sum(not statistics.is_above(cell.teacher_top1, statistics.mean(cell.plain)) for cell in pooled):
        yield (f"on {below} of {len(trained)} pairs the teacher is no better than the plain student; gap closed pooled "
               "takes these gaps off the others, so go by the gains")


def _find_best(summaries: Sequence[Summary], value: Any) -> list[str]:
    values = {s.label: value(s) for s in summaries}
    known = {label: round(found, statistics.TIE_DIGITS) for label, found in values.items() if found is not None}
    return [label for label, found in known.items() if found == max(known.values())]


def _order(summary: Summary) -> tuple[bool, int, float, float]:
    gain = statistics.mean(summary.gains)
    worst = float("inf")
    return (
        not summary.is_plain,
        -len(summary.covered),
        worst if summary.gap_closed_pooled is None else -summary.gap_closed_pooled,
        worst if gain is None else -gain,
    )
