"""Knowledge distillation (KD). Hinton, Vinyals, Dean 2015, arXiv:1503.02531.  B batch, C classes.

The distributions are softened by the temperature T; T^2 keeps the gradient's size as T grows (section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation, Needs
from kdtrain.paper_settings import order_by_data
from kdtrain.terms import check_setting, divergence, label_cross_entropy

_CIFAR = {"temperature": 4.0, "weight": 0.9}       # Tian et al. 2020, arXiv:1910.10699, published script, CIFAR-100
_IMAGENET = {"temperature": 1.0, "weight": 0.5}    # Yang et al. 2022, arXiv:2208.10139, published configuration


@dataclass(frozen=True)
class Method(Distillation):
    """(1 - weight) CE + weight T^2 KL(teacher^T || student^T)."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 8.0]},
        "weight": {"range": [0.1, 1.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_CIFAR, _IMAGENET]

    temperature: float = 4.0    # T: softens both distributions
    weight: float = 0.9         # share of the teacher against the label

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("weight", self.weight, least=0, most=1)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The data's own setting first."""
        return order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` (B,) and `soft` (B,)."""
        teacher_BC = (batch.teacher.logits_BC.detach() / self.temperature).log_softmax(1)
        student_BC = (batch.student.logits_BC / self.temperature).log_softmax(1)
        return {
            "label": (1 - self.weight) * label_cross_entropy(batch),
            "soft": self.weight * self.temperature**2 * divergence(teacher_BC, student_BC),
        }
