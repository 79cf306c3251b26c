"""Distillation from a stronger teacher (DIST). Huang, You, Wang, Qian, Xu 2022, arXiv:2205.10536.

A strong teacher's probabilities are too far from a small student's to be matched exactly, so only their relations are:
Pearson's correlation rho, which no shift and no positive scale changes, between the softened distributions S and T of
each sample (inter: how classes relate in a row), and between those of each class over the batch (intra: how samples
relate in a column).

    CE  +  beta T^2 mean_b(1 - rho(S_b, T_b))  +  gamma T^2 mean_c(1 - rho(S_c, T_c))

The intra term is one number for a batch and depends on who is in it. Equation, 1e-8 beside the norms and settings:
hunto/LocalMamba@45dbff7, which holds the classification code that hunto/DIST_KD names: lib/models/losses/dist_kd.py,
configs/strategies/distill/{dist_cifar,resnet_dist}.yaml; there beta = gamma = 1 under a common weight of 2.
B batch, C classes, R rows of K numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation, Needs
from kdtrain.paper_settings import order_by_data
from kdtrain.terms import check_setting, label_cross_entropy

_CIFAR = {"temperature": 4.0, "beta": 2.0, "gamma": 2.0}
_IMAGENET = {"temperature": 1.0, "beta": 2.0, "gamma": 2.0}


@dataclass(frozen=True)
class Method(Distillation):
    """CE + T^2 (beta inter-class + gamma intra-class distance), 1 - Pearson's correlation each."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 8.0]},
        "beta": {"log": [0.25, 16.0]},
        "gamma": {"log": [0.25, 16.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_CIFAR, _IMAGENET]

    temperature: float = 4.0    # T: softens both distributions
    beta: float = 2.0           # weight of the distance between rows
    gamma: float = 2.0          # weight of the distance between columns

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("beta", self.beta, least=0)
        check_setting("gamma", self.gamma, least=0)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The data's own setting first."""
        return order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` (B,), `inter` (B,) and `intra` ()."""
        teacher_BC = (batch.teacher.logits_BC.detach() / self.temperature).softmax(1)
        student_BC = (batch.student.logits_BC / self.temperature).softmax(1)
        scale = self.temperature**2
        return {
            "label": label_cross_entropy(batch),
            "inter": scale * self.beta * (1 - _correlate(student_BC, teacher_BC)),
            "intra": scale * self.gamma * (1 - _correlate(student_BC.T, teacher_BC.T)).mean(),
        }


def _correlate(one_RK: Tensor, other_RK: Tensor) -> Tensor:
    """Pearson's correlation of each row, (R,); 0 where a row does not vary."""
    one_RK, other_RK = (rows_RK - rows_RK.mean(1, keepdim=True) for rows_RK in (one_RK, other_RK))
    return (one_RK * other_RK).sum(1) / (one_RK.norm(dim=1) * other_RK.norm(dim=1) + 1e-8)
