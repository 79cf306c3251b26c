"""Whether a study's methods fit its models, asked for every arm before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

from kdtrain.fit import find_mismatch
from kdtrain.images import DataInfo
from kdtrain.method import Card, build_method
from kdtrain.model import describe_model
from sweeps.arms import LabelledMethod, Pair
from sweeps.problems import Problems
from sweeps.space import Value


def refuse_misfits(
    pairs: Sequence[Pair], methods: Sequence[LabelledMethod], *, info: DataInfo, image_size: int | None,
    problems: Problems,
) -> None:
    """A method that cannot train a pair's student goes to `problems`, once where it asks for no teacher."""
    if image_size is not None:
        info = dataclasses.replace(info, size=(image_size, image_size))
    seen = set()
    for place, pair in enumerate(pairs):
        for number, method in enumerate(methods):
            teacher = pair.teacher if method.needs_teacher else None
            if (number, pair.student, teacher) in seen:
                continue
            seen.add((number, pair.student, teacher))
            with problems.collect(f"pairs[{place}] x methods[{number}] ({method.label}): "):
                fixed = tuple(sorted(method.fixed.items()))
                if sentence := _find_mismatch(method.name, fixed, pair.student, teacher, info):
                    raise ValueError(sentence)


@cache
def _find_mismatch(
    name: str, fixed: tuple[tuple[str, Value], ...], student: str, teacher: str | None, info: DataInfo
) -> str | None:
    try:
        method = build_method(name, dict(fixed))
    except ValueError as error:  # settings that are good each by itself need not go together
        return str(error)
    return find_mismatch(method, _describe(student, info), None if teacher is None else _describe(teacher, info))


@cache
def _describe(model: str, info: DataInfo) -> Card:
    return describe_model(model, info)
