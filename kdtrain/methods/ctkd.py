"""Curriculum temperature (CTKD). Li, Li, Yang, Zhao, Song, Luo, Li, Yang 2022, arXiv:2211.16231, global version.

KD at a temperature that is trained against the student, to make the task harder as the student learns:

    label_weight CE  +  weight T^2 KL(teacher^T || student^T),    T = lowest + span sigmoid(p)

The student descends this loss, while p ascends it: its gradient is multiplied by -lambda, which follows a cosine from
0 to 1 over the first epochs, lambda = (1 - cos(pi min(epoch / curriculum_epochs, 1))) / 2, epoch from 1. p begins at 1,
so that T begins at 15.6, and is trained as the student's weights are, weight decay included. zhengli97/CTKD@8ca3ce8:
train_student.py, helper/loops.py (T and lambda; they call the span t_end), scripts/*.sh (settings). The start of p is
read from copies of their models/temp_global.py. The paper's other version, a temperature for each sample, is not here.
B batch, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdtrain.method import Batch, Card, Distillation, Needs
from kdtrain.paper_settings import order_by_data
from kdtrain.terms import check_setting, divergence, label_cross_entropy

_CIFAR = {"label_weight": 0.1, "weight": 0.9, "curriculum_epochs": 10}
_IMAGENET = {"label_weight": 1.0, "weight": 1.0, "curriculum_epochs": 5}


@dataclass(frozen=True)
class Method(Distillation):
    """label_weight CE + weight T^2 KL(teacher^T || student^T), T trained to raise it."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    in_epochs: ClassVar[tuple[str, ...]] = ("curriculum_epochs",)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "label_weight": {"range": [0.0, 1.0]},
        "weight": {"range": [0.1, 1.0]},
        "curriculum_epochs": {"int": [1, 40]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_CIFAR, _IMAGENET]

    label_weight: float = 0.1       # of cross-entropy
    weight: float = 0.9             # of the teacher
    curriculum_epochs: int = 10     # until the temperature's gradient counts in full
    lowest: float = 1.0             # least temperature; 1 throughout the published scripts
    span: float = 20.0              # from the least to the highest temperature; 20 throughout

    def __post_init__(self) -> None:
        check_setting("label_weight", self.label_weight, least=0)
        check_setting("weight", self.weight, least=0)
        check_setting("curriculum_epochs", self.curriculum_epochs, least=1)
        check_setting("lowest", self.lowest, least=0, above=True)
        check_setting("span", self.span, least=0)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The data's own setting first."""
        return order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)

    def build(self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int) -> nn.Module:
        """p."""
        return _Position()

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` and `soft`, each (B,)."""
        position = _Reversal.apply(own.position, self._reversal(batch.epoch))
        temperature = self.lowest + self.span * position.sigmoid()
        teacher_BC = (batch.teacher.logits_BC.detach() / temperature).log_softmax(1)
        student_BC = (batch.student.logits_BC / temperature).log_softmax(1)
        return {
            "label": self.label_weight * label_cross_entropy(batch),
            "soft": self.weight * temperature**2 * divergence(teacher_BC, student_BC),
        }

    def _reversal(self, epoch: int) -> float:
        """lambda of the equation."""
        return 0.5 * (1 - math.cos(math.pi * min(epoch / self.curriculum_epochs, 1)))


class _Position(nn.Module):
    """Where the temperature lies between its ends, before the sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.ones(()))


class _Reversal(torch.autograd.Function):
    """The value as it is; its gradient times -strength. Ganin, Lempitsky 2014, arXiv:1409.7495."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None
