"""Decoupled knowledge distillation (DKD). Zhao, Cui, Song, Qiu, Liang 2022, arXiv:2203.08679.

KD's divergence falls into a binary part, target against the rest (TCKD), and a part among the non-target classes
(NCKD), which KD scales by the teacher's 1 - p_y. DKD gives each its own weight:

    CE + min(epoch / warmup_epochs, 1) T^2 [alpha KL(b_teacher || b_student) + beta KL(n_teacher || n_student)]

with b = (p_y, 1 - p_y) and n = p_i / (1 - p_y), i != y, all softened by the temperature T. A soft label counts by its
argmax y in both parts. On ImageNet the published runs warm up over 1 epoch: fix `warmup_epochs: 1` there, it is not
searched.  B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation, Needs
from kdtrain.paper_settings import order_by_data, plain_name, put_first
from kdtrain.terms import check_setting, divergence, drop_target, label_cross_entropy, log_target_or_not

# megvii-research/mdistiller@e8c5bb3 and @fae6658: mdistiller/engine/cfg.py (T 4, beta 8), configs/cifar100/dkd,
# configs/imagenet/*/dkd.yaml (T 1)
_CIFAR = {"temperature": 4.0, "beta": 8.0}
_IMAGENET = {"temperature": 1.0, "beta": 0.5}
_BETA = {
    "cifar100": {
        ("resnet56", "resnet20"): 2.0,
        ("resnet110", "resnet32"): 2.0,
        ("vgg13", "vgg8"): 6.0,
        ("vgg13", "mobilenetv2"): 6.0,
        ("wrn402", "wrn162"): 6.0,
        ("wrn402", "wrn401"): 6.0,
    },
    "imagenet": {
        ("resnet50", "mobilenetv1"): 2.0,
        ("resnet50", "mobilenetv2"): 2.0,
    },
}


@dataclass(frozen=True)
class Method(Distillation):
    """CE + warm-up T^2 (alpha TCKD + beta NCKD)."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    in_epochs: ClassVar[tuple[str, ...]] = ("warmup_epochs",)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 8.0]},
        "beta": {"log": [0.25, 16.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_CIFAR, _IMAGENET]

    temperature: float = 4.0    # T: softens both distributions
    alpha: float = 1.0          # weight of the binary part; 1 throughout the paper
    beta: float = 8.0           # weight of the non-target part
    warmup_epochs: int = 20     # both parts rise linearly from 0 over these epochs; 0: none

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("alpha", self.alpha, least=0)
        check_setting("beta", self.beta, least=0)
        check_setting("warmup_epochs", self.warmup_epochs, least=0)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The pair's own setting first, then the data's."""
        settings = order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)
        beta = _BETA.get(data, {}).get((plain_name(teacher), plain_name(student)))
        return settings if beta is None else put_first(settings[0] | {"beta": beta}, settings)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label`, `target` (TCKD) and `nontarget` (NCKD), each (B,)."""
        teacher_BC = batch.teacher.logits_BC.detach() / self.temperature
        student_BC = batch.student.logits_BC / self.temperature
        scale = self._warmup(batch.epoch) * self.temperature**2
        return {
            "label": label_cross_entropy(batch),
            "target": scale * self.alpha * _binary_divergence(teacher_BC, student_BC, batch.label_B),
            "nontarget": scale * self.beta * _nontarget_divergence(teacher_BC, student_BC, batch.label_B),
        }

    def _warmup(self, epoch: int) -> float:
        return min(epoch / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0


def _binary_divergence(teacher_BC: Tensor, student_BC: Tensor, label_B: Tensor) -> Tensor:
    return divergence(log_target_or_not(teacher_BC, label_B), log_target_or_not(student_BC, label_B))


def _nontarget_divergence(teacher_BC: Tensor, student_BC: Tensor, label_B: Tensor) -> Tensor:
    return divergence(drop_target(teacher_BC, label_B).log_softmax(1), drop_target(student_BC, label_B).log_softmax(1))
