"""A published table as a leaderboard, with the statistics that a study of our own gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from analysis.arms import Pair
from analysis.leaderboard import Cell, Leaderboard, assemble
from analysis.published.anchors import Anchors, find_anchors
from analysis.published.literature import ROLES, Result, Source, find_name, find_source, load

STUDENT = "student"     # the plain one, which every gain is measured from
ASSUMED_SD = 0.003      # of a plain student over seeds: the largest that DIST publishes for CIFAR-100 (0.18 to 0.30 pp)

Chosen = Mapping[tuple[Pair, str], Result]


def build_board(data: str, *, source: str) -> Leaderboard:
    """What `source` publishes on `data`. ValueError if it has nothing there, or where a name is unknown.

    Only methods with the most pairs are shown, else the ranks, which need every method on a pair, would rest on few;
    the footer names the others.
    """
    origin = find_source(source)
    results = [result for result in load() if result.source == origin.source]
    name = find_name(f"data of {origin.source}", data, {result.data for result in results})
    printed = [result for result in results if result.data == name]
    chosen = _choose(printed)
    coverage = Counter(method for _, method in chosen)
    shown = {key: result for key, result in chosen.items() if coverage[key[1]] == max(coverage.values())}
    anchors = _find_pair_anchors(shown)
    choice = _describe_choice(shown, coverage=coverage, anchors=anchors, printed=printed)
    return assemble(
        list(_fill_cells(shown, anchors)),
        title=f"{name} as published by {origin.source}",
        footer=[*_describe_source(origin, shown), *choice],
        warnings=_find_warnings(shown),
        plain=STUDENT,
        plain_sd=ASSUMED_SD,
    )


def _choose(results: Sequence[Result]) -> dict[tuple[Pair, str], Result]:
    """One result per pair and method: primary before reproduced before quoted."""
    chosen: dict[tuple[Pair, str], Result] = {}
    for result in sorted(results, key=lambda result: ROLES.index(result.role)):
        chosen.setdefault((_to_pair(result), result.method), result)
    return {(_to_pair(r), r.method): chosen[_to_pair(r), r.method] for r in results}    # in the source's order


def _to_pair(result: Result) -> Pair:
    return Pair(result.source, result.data, result.teacher, None, result.student)


def _find_pair_anchors(shown: Chosen) -> dict[Pair, Anchors]:
    """The anchors that most of a pair's results have: one plain student for all, lest gains mean different things."""
    found: dict[Pair, Counter[Anchors]] = {}
    for (pair, _), result in shown.items():
        found.setdefault(pair, Counter())[find_anchors(result)] += 1
    return {pair: counts.most_common(1)[0][0] for pair, counts in found.items()}


def _fill_cells(shown: Chosen, anchors: Mapping[Pair, Anchors]) -> Iterator[Cell]:
    methods = list(dict.fromkeys(method for _, method in shown))
    for pair, (teacher, student, _) in anchors.items():
        plain = [] if student is None else [student]
        yield Cell(pair, STUDENT, plain, plain, teacher)
        for method in methods:
            result = shown.get((pair, method))
            own = find_anchors(result).teacher_top1 if result else teacher  # a method may come with its own teacher
            yield Cell(pair, method, [result.top1] if result else [], plain, own)


def _describe_source(source: Source, shown: Chosen) -> list[tuple[str, str]]:
    paper = f"{source.title}, arXiv {source.arxiv}; " if source.arxiv else ""
    evidence = f" ({source.evidence})" if source.evidence else ""
    return [
        ("published", "numbers of others, copied and not measured by this software: one per cell, without seeds"),
        ("source", f"{paper}{source.address}"),
        ("epoch", f"{_join(_group(shown, 'selection'))}{evidence}"),
        ("role", _join(_group(shown, "role"))),
    ]


def _describe_choice(
    shown: Chosen, *, coverage: Mapping[str, int], anchors: Mapping[Pair, Anchors], printed: Sequence[Result]
) -> Iterator[tuple[str, str]]:
    most = max(coverage.values())
    left_out = [f"{method} ({count} of {most} pairs)" for method, count in coverage.items() if count < most]
    if left_out:
        yield "left out", ", ".join(left_out)
    others = {found.source for found in anchors.values()} - {printed[0].source, None}
    if others:
        yield "anchors", f"teachers and plain students are those of {', '.join(others)}, since this source prints none"
    if len(printed) > sum(coverage.values()):
        yield "several values", "of one cell: primary before reproduced before quoted"
    yield "assumed", (
        f"a standard deviation of {100 * ASSUMED_SD:.2f} pp over the seeds of a plain student, the largest that DIST "
        "publishes for CIFAR-100; it decides only which gaps are too small to divide by"
    )


def _find_warnings(shown: Chosen) -> list[str]:
    groups = _group(shown, "selection")
    if "best_test" not in groups:
        return []
    if len(groups) == 1:
        return ["every value is of the best epoch on test, which is higher than that of the last one for nothing"]
    return [f"values of different epochs stand side by side, and the best epoch on test flatters: {_join(groups)}"]


def _group(shown: Chosen, attribute: str) -> dict[str, list[str]]:
    """The methods by what they have there."""
    groups: dict[str, list[str]] = {}
    for (_, method), result in shown.items():
        methods = groups.setdefault(getattr(result, attribute), [])
        if method not in methods:
            methods.append(method)
    return groups


def _join(groups: Mapping[str, Sequence[str]]) -> str:
    """`last: KD; best_test: DKD`; the name alone where all methods are in one group."""
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{name}: {', '.join(methods)}" for name, methods in groups.items())
