"""Two methods, pair by pair and over pairs: how far apart they lie and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis import aggregates, significance, statistics
from analysis.answer import Answer, Field
from analysis.arms import Pair
from analysis.cells import Cell
from analysis.formatting import count
from analysis.leaderboard import read_cells
from analysis.names import describe_unknown
from analysis.over_pairs import ROPE
from analysis.queries import Results

_FIELDS = (
    Field("first_mean", "fraction", "mean test top-1 of the first method", "high"),
    Field("second_mean", "fraction", "mean test top-1 of the second method", "high"),
    Field("difference", "difference", "first minus second"),
    Field("low", "difference", "lower end of the difference's 95 % Welch interval"),
    Field("high", "difference", "upper end"),
    Field("seeds_first", "", "repeats of the first method"),
    Field("seeds_second", "", "repeats of the second method"),
    Field("detectable", "fraction", "smallest difference that these seeds show at the 5 % level 4 times in 5"),
    Field("seeds_needed", "", "seeds of each method that would show this difference 4 times in 5; null where shown"),
)


def compare(results: Results, first: str, second: str, *, rope: float = ROPE) -> Answer:
    """One row per pair, and in the notes what holds over pairs. ValueError for a method that the studies lack.

    rope: half the width of the region of practical equivalence, a fraction of 1.
    """
    if not 0 <= rope < 1:
        raise ValueError(f"rope: {rope!r} is not a fraction in [0, 1)\n\nhint: 0.002 is 0.2 percentage points")
    cells, names = read_cells(results)
    labels = list(dict.fromkeys(cell.label for cell in cells))
    for label in (first, second):
        if label not in labels:
            raise ValueError(describe_unknown("method of these studies", label, labels))
    if first == second:
        raise ValueError(f"compare: {first} is given twice\n\nhint: methods here are {', '.join(labels)}")
    found = {label: {cell.pair: cell for cell in cells if cell.label == label} for label in (first, second)}
    pairs = [pair for pair in found[first] if pair in found[second]]
    couples = [(found[first][pair], found[second][pair]) for pair in pairs]
    return Answer(
        title=f"{first} against {second}",
        keys=("study", "data", "teacher", "teacher_id", "student"),
        fields=_FIELDS,
        rows=tuple(
            {"study": names.get(pair.study_id, pair.study_id), **_build_row(pair, a, b)}
            for pair, (a, b) in zip(pairs, couples, strict=True) if a.arm or b.arm
        ),
        notes=tuple(_conclude(couples, first, second, rope=rope)),
    )


def _build_row(pair: Pair, a: Cell, b: Cell) -> dict:
    low, high = significance.welch_interval(a.seeds, b.seeds) or (None, None)
    difference = statistics.gain(a.seeds, b.seeds)
    shown = low is not None and (low > 0 or high < 0)
    return {
        "data": pair.data, "teacher": pair.teacher, "teacher_id": pair.teacher_id, "student": pair.student,
        "first_mean": statistics.mean(a.seeds),
        "second_mean": statistics.mean(b.seeds),
        "difference": difference,
        "low": low,
        "high": high,
        "seeds_first": len(a.seeds),
        "seeds_second": len(b.seeds),
        "detectable": significance.smallest_detectable(a.seeds, b.seeds),
        "seeds_needed": None if shown or not difference else _count_needed(difference, a.seeds, b.seeds),
    }


def _count_needed(difference: float, a: Sequence[float], b: Sequence[float]) -> int | None:
    """From the spread of both, each weighing the same."""
    spreads = [statistics.sd(a), statistics.sd(b)]
    if None in spreads or not any(spreads):
        return None
    return significance.seeds_needed(abs(difference), math.sqrt((spreads[0] ** 2 + spreads[1] ** 2) / 2))


def _conclude(couples: Sequence[tuple[Cell, Cell]], first: str, second: str, *, rope: float) -> Iterator[str]:
    """What holds over the pairs that both have."""
    known = [(a, b) for a, b in couples if a.seeds and b.seeds]
    if not known:
        yield f"no pair has results of both {first} and {second} yet"
        return
    if len(known) < len(couples):
        yield f"{len(known)} of {len(couples)} pairs have results of both; the others are left out"
    both = list({(a.names[0], b.names[0]): (a, b) for a, b in known}.values())
    if len(both) < len(known):
        yield (f"{len(known)} pairs show {len(both)} results of {first} and {second}, which have no teacher; each "
               "counts once in what follows")
    differences = [statistics.gain(a.seeds, b.seeds) for a, b in both]
    pairs = count(len(both), "pair")
    yield f"over {pairs}: {first} lies {100 * statistics.mean(differences):+.2f} pp from {second} on average"
    improves = aggregates.probability_of_improvement(
        {a.pair: a.seeds for a, _ in both}, {b.pair: b.seeds for _, b in both})
    yield f"a seed of {first} beats one of {second} with probability {improves:.2f}"
    if significance.can_be_significant(len(both), 1):
        p = significance.wilcoxon(differences)
        yield f"Wilcoxon signed-rank over pairs: p {p:.3g}"
    else:
        yield f"Wilcoxon signed-rank: {pairs} cannot be significant at the 5 % level, whatever they show"
    posterior = significance.judge_couples(
        [(a.seeds, b.seeds) for a, b in both], names=[(a.names[0], b.names[0]) for a, b in both], rope=rope)
    yield significance.describe_posterior(first, second, posterior, rope=rope)
