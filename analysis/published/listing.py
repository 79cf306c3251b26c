"""The published results and their sources, listed and filtered."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

from analysis.answer import Answer, Field
from analysis.published.literature import Result, find_name, load, load_sources

RESULT_FIELDS = (
    Field("top1", "fraction", "top-1 as printed", "high"),
    Field("top1_sd", "fraction", "its standard deviation over runs, where printed"),
    Field("num_runs", "", "runs that it is the mean of, where known"),
    Field("gain", "difference", "top-1 above the plain student's that the source prints", "high"),
    Field("student_top1", "fraction", "the plain student's"),
    Field("teacher_top1", "fraction", "the teacher's"),
    Field("role", "text", "primary (the authors' method), reproduced (others' method, own run), quoted (a copy)"),
    Field("selection", "text", "epoch that it is of: last, best_test (maximum over epochs on test), unknown"),
    Field("note", "text", "what must be known of it"),
)

SOURCE_FIELDS = (
    Field("num_results", "", "printed numbers"),
    Field("selection", "text", "epoch that its own numbers are of"),
    Field("evidence", "text", "how that is known"),
    Field("arxiv", "text", "the paper's identity there"),
    Field("title", "text", "of the paper"),
    Field("address", "text", "repository on GitHub, commit and file"),
    Field("recipe", "text", "what its numbers were trained with"),
    Field("note", "text", "what must be known of it"),
)


def list_published(
    *,
    data: str | None = None,
    teacher: str | None = None,
    student: str | None = None,
    method: str | None = None,
    source: str | None = None,
    role: str | None = None,
) -> Answer:
    """Every published result that fits what is given, whatever its case; a method also by its label here.

    ValueError for a name that no result has, with those that some have.
    """
    given = {"data": data, "teacher": teacher, "student": student, "source": source, "role": role}
    results: Iterable[Result] = load()
    wanted = {kind: find_name(kind, name, _list_known(kind)) for kind, name in given.items() if name is not None}
    if method is not None:
        wanted["method"] = _find_method(method)
    found = [result for result in results if all(getattr(result, kind) == name for kind, name in wanted.items())]
    title = ", ".join(["Published results", *(f"{kind} {name}" for kind, name in wanted.items())])
    notes = () if found else ("each of these names is known, but no result has all of them",)
    keys = ("data", "teacher", "student", "method", "source")
    return Answer(title, keys, RESULT_FIELDS, tuple(_to_row(result) for result in found), notes)


def list_sources() -> Answer:
    """Every source: what it is, and which epoch its numbers are of."""
    counts = Counter(result.source for result in load())
    rows = [
        dataclasses.asdict(source) | {"address": source.address, "num_results": counts[name]}
        for name, source in load_sources().items()
    ]
    names = ["source", *(field.name for field in SOURCE_FIELDS)]
    return Answer("Sources of the published results", ("source",), SOURCE_FIELDS,
                  tuple({name: row[name] or None for name in names} for row in rows))


def _list_known(kind: str) -> set[str]:
    return {getattr(result, kind) for result in load()} - {None}


def _find_method(given: str) -> str:
    labels = {result.label: result.method for result in load()}
    return labels.get(given.lower()) or find_name("method", given, labels.values())


def _to_row(result: Result) -> dict[str, Any]:
    gain = None if result.student_top1 is None else result.top1 - result.student_top1
    row = dataclasses.asdict(result) | {"gain": gain, "note": result.note or None}
    return {name: row[name] for name in ("data", "teacher", "student", "method", "source", *_FIELD_NAMES)}


_FIELD_NAMES = tuple(field.name for field in RESULT_FIELDS)
