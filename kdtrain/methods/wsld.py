"""Weighted soft labels (WSLD). Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang 2021, arXiv:2102.00650.

A soft label regularises: it lowers the variance of what is learned and raises its bias. Samples that the student knows
better than the teacher gain nothing from it, so each sample's soft loss is weighed by how far the student is behind:

    CE  +  weight T^2 w CE(teacher^T, student^T),    w = 1 - exp(-CE_student / CE_teacher), without gradient

CE_student and CE_teacher are the two networks' losses against the label at temperature 1. The soft loss is the whole
cross-entropy, not the divergence: its gradient is the same, its value larger by w times the teacher's entropy. The
equation and 1e-7 beside CE_teacher are those of bellymonster/Weighted-Soft-Label-Distillation@4ecf930:
knowledge_distiller.py. Where labels are mixed, both losses are taken against the mixture (ours: the paper mixes none).
B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation, Needs
from kdtrain.paper_settings import order_by_data
from kdtrain.terms import check_setting, cross_entropy, label_cross_entropy, label_distribution

_CIFAR = {"temperature": 4.0, "weight": 2.25}      # section 5; the authors' issue 2 confirms it
_IMAGENET = {"temperature": 2.0, "weight": 2.5}    # published code


@dataclass(frozen=True)
class Method(Distillation):
    """CE + weight T^2 w CE(teacher^T, student^T)."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 8.0]},
        "weight": {"log": [0.25, 10.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_CIFAR, _IMAGENET]

    temperature: float = 4.0    # T: softens both distributions of the soft loss
    weight: float = 2.25        # alpha: of the soft loss, beside cross-entropy at weight 1

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("weight", self.weight, least=0)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The data's own setting first."""
        return order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` and `soft`, each (B,)."""
        teacher_BC = (batch.teacher.logits_BC.detach() / self.temperature).softmax(1)
        student_BC = (batch.student.logits_BC / self.temperature).log_softmax(1)
        scale = self.weight * self.temperature**2
        return {
            "label": label_cross_entropy(batch),
            "soft": scale * _weigh(batch) * cross_entropy(teacher_BC, student_BC),
        }


def _weigh(batch: Batch) -> Tensor:
    """w of the equation, (B,), in [0, 1): 0 where the student is certain of the label, near 1 where it lags far behind.

    Written as -expm1, which keeps its digits where the student is far ahead and w is small.
    """
    label_BC = label_distribution(batch)
    student_B = cross_entropy(label_BC, batch.student.logits_BC.detach().log_softmax(1))
    teacher_B = cross_entropy(label_BC, batch.teacher.logits_BC.detach().log_softmax(1))
    return -(-student_B / (teacher_B + 1e-7)).expm1()
