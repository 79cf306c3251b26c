"""Plain training with cross-entropy, no teacher.  B batch.

Source: the label alone. With weight 2 it is the control for methods that add a second cross-entropy, such as tf-NKD
(Yang et al. 2022, arXiv:2208.10139): a gain over weight 1 alone may be a gain in effective learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation
from kdtrain.terms import check_setting, label_cross_entropy


@dataclass(frozen=True)
class Method(Distillation):
    """weight CE."""

    weight: float = 1.0     # of the cross-entropy

    def __post_init__(self) -> None:
        check_setting("weight", self.weight, least=0, above=True)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` (B,)."""
        return {"label": self.weight * label_cross_entropy(batch)}
