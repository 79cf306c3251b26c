"""Batches for testing methods: exactly what a method declares that it needs, and nothing else.

B batch, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from kdtrain.images import DataInfo
from kdtrain.method import Batch, Card, Needs, Outputs, load_method
from kdtrain.model import describe_model

STUDENT, TEACHER = "resnet8(width=2)", "resnet8(width=4)"


def make_info(num_classes: int, *, channels: int = 1, size: tuple[int, int] = (8, 8)) -> DataInfo:
    """A data set that exists only as its description."""
    mean, std = (0.5,) * channels, (0.25,) * channels
    return DataInfo(num_classes, channels, size, mean, std, 100, 100, 0, "none", 0, "made up for a test")


@cache
def make_cards(num_classes: int) -> tuple[Card, Card]:
    """Student and teacher."""
    return describe_model(STUDENT, make_info(num_classes)), describe_model(TEACHER, make_info(num_classes))


def draw_batch(needs: Needs, *, count: int = 6, num_classes: int = 5, size: float = 3.0, seed: int = 0,
               dtype: torch.dtype = torch.float32) -> Batch:
    """Normal logits of the given size, and every other thing that `needs` names."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = make_cards(num_classes)
    has_teacher = needs.teacher_logits
    return Batch(
        student=_draw_outputs(needs, student, count, size, generator, dtype),
        teacher=_draw_outputs(needs, teacher, count, size, generator, dtype) if has_teacher else None,
        label_B=torch.randint(num_classes, (count,), generator=generator),
        student_classifier=nn.Linear(student.pooled_width, num_classes, dtype=dtype) if needs.classifier else None,
        teacher_classifier=nn.Linear(teacher.pooled_width, num_classes, dtype=dtype) if needs.classifier else None,
        index_B=torch.arange(count) if needs.index else None,
        view_B=torch.zeros(count, dtype=torch.int64) if needs.index else None,
        epoch=3,
        progress=0.1,
        generator=torch.Generator().manual_seed(seed),
    )


def from_logits(student_BC: Sequence | Tensor, label_B: Sequence[int], teacher_BC: Sequence | Tensor | None = None,
                *, soft_label_BC: Sequence | Tensor | None = None, epoch: int = 1) -> Batch:
    """A batch of nothing but float64 logits and labels."""
    return Batch(
        student=_only_logits(student_BC),
        teacher=None if teacher_BC is None else _only_logits(teacher_BC),
        label_B=torch.as_tensor(label_B),
        soft_label_BC=None if soft_label_BC is None else torch.as_tensor(soft_label_BC, dtype=torch.float64),
        epoch=epoch,
    )


def with_student_logits(batch: Batch, logits_BC: Tensor) -> Batch:
    """The same batch with other student logits."""
    return dataclasses.replace(batch, student=dataclasses.replace(batch.student, logits_BC=logits_BC))


def run(name: str, batch: Batch, **settings: float) -> dict[str, Tensor]:
    """The terms of a method that has no parameters of its own."""
    return load_method(name)(**settings)(batch, None)


def _only_logits(logits_BC: Sequence | Tensor) -> Outputs:
    return Outputs(torch.as_tensor(logits_BC, dtype=torch.float64), pooled_BD=None, maps={})


def _draw_outputs(needs: Needs, card: Card, count: int, size: float, generator: torch.Generator,
                  dtype: torch.dtype) -> Outputs:
    def draw(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator, dtype=dtype)

    return Outputs(
        logits_BC=size * draw(card.num_classes),
        pooled_BD=draw(card.pooled_width) if needs.pooled else None,
        maps={name: draw(*shape) for name, shape in card.map_shapes.items()} if needs.maps else {},
    )
