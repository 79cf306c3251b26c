"""Universal self-distillation (USKD), no teacher. Yang, Zeng, Li, Zhang, Yuan, Li 2023, arXiv:2303.13005.

Both of NKD's losses with soft labels that the student makes itself:

    CE  -  alpha w log S_y  -  beta sum_{i != y} Z_i log M_i  +  mu CE(smoothed label, W),    w, Z without gradient

Target: w = 1 + S_y^2 - mean(S_y^2) over the batch, tf-NKD's weight with power 2. Others: M is the softmax of the
non-target logits, Z follows Zipf's law: classes are ranked by S_i / (1 - S_y) + W_i / (1 - W_y), the r-th of all C gets
1 / r, then the target is left out and the rest is scaled to sum to one. W is the softmax of a linear head on the mean
of the second-last map, trained by the last term against 0.9 label + 0.1 / C, and dropped afterwards; that term reaches
the student's earlier stages too. A mixed label has two targets, its largest values, as in tf-NKD; Z leaves out both.

What the paper leaves open follows yzd-v/cls_KD@87a7197: mmcls/distillation/losses/uskd.py and
distillers/classification_distiller.py. Its later version (@1c2c0ff) ranks by log S in place of S, against the paper:
not here. S_i / (1 - S_y) is computed as exp(s_i - log sum_{j != y} exp s_j), which is exact where S_y is near 1.
B batch, C classes, D channels, K targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdtrain.method import Batch, Card, Distillation, Needs
from kdtrain.paper_settings import order_by_data
from kdtrain.terms import (
    check_setting,
    cross_entropy,
    label_cross_entropy,
    label_distribution,
    largest_labels,
    self_weighed_loss,
)

_SMOOTHING = 0.1    # of the weak head's label; published code
_FAR_BELOW = -1e30  # in place of a target's logit: finite, so that a row of nothing but targets gives 0 and not NaN
_IMAGENET = {"alpha": 1.0, "beta": 0.1, "mu": 0.005}    # published configurations, every network
_CIFAR = {"alpha": 0.1, "beta": 0.1, "mu": 0.1}         # published configuration, CIFAR-100, ResNet18


@dataclass(frozen=True)
class Method(Distillation):
    """CE + alpha target + beta non-target + mu weak head."""

    needs: ClassVar[Needs] = Needs(maps=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "alpha": {"log": [0.05, 2.0]},
        "beta": {"log": [0.01, 1.0]},
        "mu": {"log": [0.001, 0.5]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [_IMAGENET, _CIFAR]

    alpha: float = 1.0      # weight of the target's loss
    beta: float = 0.1       # weight of the other classes' loss
    mu: float = 0.005       # weight of the weak head's loss

    def __post_init__(self) -> None:
        check_setting("alpha", self.alpha, least=0)
        check_setting("beta", self.beta, least=0)
        check_setting("mu", self.mu, least=0)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The data's own setting first."""
        return order_by_data(cls.paper_settings, data, cifar=_CIFAR, imagenet=_IMAGENET)

    def build(self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int) -> nn.Module:
        """The weak head. Raises ValueError for a student that offers fewer than two maps."""
        if len(student.map_shapes) < 2:
            raise ValueError(
                f"method uskd: student {student.name} offers {len(student.map_shapes)} feature maps; uskd reads the "
                "second-last\n\nhint: give `outputs` of the model a map for each stage"
            )
        channels, _, _ = list(student.map_shapes.values())[-2]
        return nn.Linear(channels, num_classes)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label`, `target`, `nontarget` and `weak`, each (B,)."""
        map_BDHW = list(batch.student.maps.values())[-2]
        weak_BC = own(map_BDHW.mean(dim=(2, 3)))
        student_BC, is_target_BC = batch.student.logits_BC, _find_targets(batch)
        zipf_BC = _rank(student_BC.detach(), weak_BC.detach(), is_target_BC)
        label_BC = (1 - _SMOOTHING) * label_distribution(batch) + _SMOOTHING / student_BC.shape[1]
        return {
            "label": label_cross_entropy(batch),
            "target": self.alpha * self_weighed_loss(batch, smoothing=1.0, power=2.0),
            "nontarget": self.beta * cross_entropy(zipf_BC, _log_against_others(student_BC, is_target_BC)),
            "weak": self.mu * cross_entropy(label_BC, weak_BC.log_softmax(1)),
        }


def _find_targets(batch: Batch) -> Tensor:
    """(B, C): true at the label, or at the one or two largest values of a soft label that are not 0."""
    label_BK, value_BK = largest_labels(batch)
    return torch.zeros_like(batch.student.logits_BC, dtype=torch.bool).scatter(1, label_BK, value_BK > 0)


def _log_against_others(logits_BC: Tensor, is_target_BC: Tensor) -> Tensor:
    """(B, C): log of p_i over the sum of p of all that are no target; at these themselves, log M."""
    return logits_BC - logits_BC.masked_fill(is_target_BC, _FAR_BELOW).logsumexp(1, keepdim=True)


def _rank(student_BC: Tensor, weak_BC: Tensor, is_target_BC: Tensor) -> Tensor:
    """Z of the equation, 0 at the targets."""
    score_BC = sum(_log_against_others(logits_BC, is_target_BC).exp() for logits_BC in (student_BC, weak_BC))
    place_BC = score_BC.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    zipf_BC = (1 / (1.0 + place_BC.to(student_BC.dtype))).masked_fill(is_target_BC, 0)
    return zipf_BC / zipf_BC.sum(1, keepdim=True).clamp_min(torch.finfo(zipf_BC.dtype).tiny)
