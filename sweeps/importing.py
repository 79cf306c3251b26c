"""Puts a study's imported teachers on the shelf before its first job; after that their files are not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdtrain.imports import complete_teacher, import_teacher, read_library
from kdtrain.teachers import has_teacher
from kdtrain.weights_file import read_weights
from sweeps.study import Study, Teacher


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
