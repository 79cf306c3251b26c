"""Where in a study file a training field was written: what is wrong with it is told of that key, whoever trains by it.

A teacher's training is put together from up to three sections: `teachers.<model>`, `teachers`, and `fix` where neither
names a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping

from kdtrain.recipes import load_recipe
from sweeps.schema import Teachers, Training

Sections = Mapping[str, Training]
"""The key of a section -> what is written there; one that stands earlier goes before those that follow."""


def list_sections(teachers: Teachers, model: str, *, student: Training) -> Sections:
    """The sections by which a teacher is trained. student: what `fix` says."""
    own = {f"teachers.{model}": teachers.by_model[model]} if model in teachers.by_model else {}
    sections = {**own, "teachers": teachers}
    names_recipe = any(written.recipe is not None for written in sections.values())
    return sections if names_recipe else {**sections, "fix": student}


def find_section(name: str, sections: Sections, *, model: str) -> str:
    """The key of the section that gives the field its value, itself or by its recipe; the first where none does."""
    for where, written in sections.items():
        if getattr(written, name, None) is not None:
            return where
    for where, written in sections.items():
        if written.recipe is not None:  # a recipe in a section that follows is not looked at
            return where if name in load_recipe(written.recipe, model) else next(iter(sections))
    return next(iter(sections))


def locate(problem: str, sections: Sections, *, model: str) -> str:
    """What is wrong with a field, `lr: 0 is ...`, told of the key where it was written: `fix.lr: 0 is ...`."""
    name, first = problem.partition(":")[0], next(iter(sections))
    where = find_section(name, sections, model=model)
    if where == first:
        return f"{where}.{problem}"
    sentence, _, hint = problem.partition("\n\nhint: ")
    own = f"write {name} under {first} too, which has it from {where}"
    return f"{where}.{sentence} in the training of {first}\n\nhint: {f'{hint}; or ' if hint else ''}{own}"
