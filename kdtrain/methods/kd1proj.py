"""KD through a logit projector. Chen, Wang, Liu, Xu, de Hoog, Kusy, Huang 2023, arXiv:2310.17183.

Plain KD, except that the teacher is matched by a projection of the student's logits, P z = W z + b with W of C x C,
which is trained with the student and dropped afterwards; cross-entropy sees the logits themselves:

    (1 - weight) CE  +  weight T^2 KL(teacher^T || softmax(P z / T))

The projector takes over what is peculiar to the teacher, so that the student becomes less over-confident. W and b begin
as torch's linear layers do. Source of form and setting: chenyd7/PEFD@8f2f143: scripts/run_cifar.sh, train_student.py.
B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Card, Distillation, Needs
from kdtrain.terms import check_setting, divergence, label_cross_entropy


@dataclass(frozen=True)
class Method(Distillation):
    """(1 - weight) CE + weight T^2 KL(teacher^T || projected student^T)."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 8.0]},
        "weight": {"range": [0.1, 1.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [{"temperature": 4.0, "weight": 0.9}]  # CIFAR-100, their script

    temperature: float = 4.0    # T: softens both distributions
    weight: float = 0.9         # share of the teacher against the label

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("weight", self.weight, least=0, most=1)

    def build(self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int) -> nn.Module:
        """P."""
        return nn.Linear(num_classes, num_classes)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` and `soft`, each (B,)."""
        teacher_BC = (batch.teacher.logits_BC.detach() / self.temperature).log_softmax(1)
        projected_BC = (own(batch.student.logits_BC) / self.temperature).log_softmax(1)
        return {
            "label": (1 - self.weight) * label_cross_entropy(batch),
            "soft": self.weight * self.temperature**2 * divergence(teacher_BC, projected_BC),
        }
