"""Puts a study's imported teachers on the shelf before its first job; after that their files are not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdtrain.images import DataInfo
from kdtrain.imports import complete_teacher, import_teacher, read_library
from kdtrain.teachers import has_teacher
from kdtrain.weights_file import read_weights
from sweeps.figures import format_share
from sweeps.study import Study, Teacher

# The odds of a right answer against those of a guess: a share of 1.5 / (C + 0.5) of C classes, 0.143 of 10 and 0.6 of
# 2, where 1.5 / C would doubt anybody below three quarters. Chosen by hand: a network whose classes are shuffled is
# right on those that stay in their place, none or one in three of four shuffles.
_ODDS = 1.5


def import_teachers(study: Study, weights_dir: Path) -> Iterator[dict[str, Any]]:
    """Imports and measures the study's teachers from elsewhere, those that are stored but for what their cards lack.

    Yields a card each. Raises ValueError where a file is missing, is another one, or does not fit its model.
    """
    for teacher in study.teachers:
        if teacher.origin is not None:
            yield _import(teacher, weights_dir)


def _import(teacher: Teacher, weights_dir: Path) -> dict[str, Any]:
    origin = teacher.origin
    if has_teacher(weights_dir, teacher.teacher_id):
        return complete_teacher(weights_dir, teacher.teacher_id, teacher.config, held_out=origin.held_out)
    if origin.path is None:
        return import_teacher(weights_dir, teacher.config, read_library(teacher.config))
    file = read_weights(origin.path)
    if file.sha256 != origin.sha256:
        raise ValueError(f"{origin.path}: changed while it was read\n\nhint: try again")
    return import_teacher(weights_dir, teacher.config, file, held_out=origin.held_out)


def find_doubt(card: Mapping[str, Any], info: DataInfo) -> str | None:
    """The sentence that an imported teacher guesses, if it was measured and does. info: the data set's."""
    name = "test_top1" if card["val_top1"] is None else "val_top1"
    if card[name] is None or card[name] > _ODDS / (info.num_classes - 1 + _ODDS):
        return None
    return (
        f"teacher {card['model']} guesses: its {name.removesuffix('_top1')} top-1 on {card['data']} is "
        f"{format_share(card[name])} of {info.num_classes:,} classes; look whether it was trained on other data, on "
        "another order of the classes, or on images that were standardised otherwise"
    )
