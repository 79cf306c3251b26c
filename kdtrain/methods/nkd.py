"""Normalised knowledge distillation (NKD). Yang et al. 2022, arXiv:2208.10139 (version 1).

Temperature-1 KD is -sum_i T_i log S_i. Its target term has the form of a cross-entropy with the teacher's confidence
T_y in place of the label: it is kept. Its non-target terms compare two distributions with different sums, 1 - T_y and
1 - S_y, which cannot be made equal: NKD first normalises both.

    CE  -  T_y log S_y  -  gamma T^2 sum_{i != y} N_i log M_i

S and T are the softmax of student and teacher at temperature 1; N and M are the softmax of the teacher's and the
student's non-target logits at `temperature`. A soft label counts in full in CE and by its argmax y elsewhere. The paper
calls gamma alpha. The last part has the gradient of DKD's NCKD; its value differs by a constant, the entropy of N.
B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation, Needs
from kdtrain.paper_settings import order_by_data
from kdtrain.terms import check_setting, cross_entropy, drop_target, label_cross_entropy

_IMAGENET = {"temperature": 1.0, "gamma": 1.5}     # published configuration, every pair
_CIFAR = {"temperature": 3.0, "gamma": 3.5}        # published configuration, CIFAR-100, ResNet34 to ResNet18


@dataclass(frozen=True)
class Method(Distillation):
    """CE + soft loss of the target + normalised distributed loss."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 8.0]},
        "gamma": {"log": [0.1, 10.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_IMAGENET, _CIFAR]

    temperature: float = 1.0    # T: softens the non-target distributions only
    gamma: float = 1.5          # weight of the distributed loss

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("gamma", self.gamma, least=0)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The data's own setting first."""
        return order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label`, `soft` and `distributed`, each (B,)."""
        teacher_BC, student_BC = batch.teacher.logits_BC.detach(), batch.student.logits_BC
        return {
            "label": label_cross_entropy(batch),
            "soft": _target_loss(teacher_BC, student_BC, batch.label_B),
            "distributed": self.gamma * self.temperature**2 * self._distributed(teacher_BC, student_BC, batch.label_B),
        }

    def _distributed(self, teacher_BC: Tensor, student_BC: Tensor, label_B: Tensor) -> Tensor:
        teacher_BD = (drop_target(teacher_BC, label_B) / self.temperature).softmax(1)
        student_BD = (drop_target(student_BC, label_B) / self.temperature).log_softmax(1)
        return cross_entropy(teacher_BD, student_BD)


def _target_loss(teacher_BC: Tensor, student_BC: Tensor, label_B: Tensor) -> Tensor:
    confidence_B1 = teacher_BC.softmax(1).gather(1, label_B[:, None])
    return -(confidence_B1 * student_BC.log_softmax(1).gather(1, label_B[:, None])).squeeze(1)
