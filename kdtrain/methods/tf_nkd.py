"""Teacher-free NKD (tf-NKD). Yang et al. 2022, arXiv:2208.10139 (version 1).

The student's own confidence p = S_y, centred over the batch and added to the label's value V, stands for the teacher's:

    CE  -  weight w log p,    w = V + smoothing (p^power - mean(p^power)), without gradient

V is 1 for a hard label. A soft label counts by its two largest values V_k, each with its own p and its own mean over
the batch; a value of 0 counts for nothing. Smoothing 1, power 1, weight 1 give the paper's loss, which has no settings;
the three are this project's generalisation. Power 2 is the target part of USKD (arXiv:2303.13005). The mean of w is 1,
so this is close to twice the cross-entropy: `ce` with weight 2 is its control.  B batch, C classes, K largest labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation
from kdtrain.terms import check_setting, label_cross_entropy, self_weighed_loss


@dataclass(frozen=True)
class Method(Distillation):
    """CE + weight CE weighed by the student's own, centred confidence."""

    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "smoothing": {"range": [0.0, 2.0]},
        "power": {"choice": [1, 2]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [{"smoothing": 1.0, "power": 1}]   # every pair: it has no others

    smoothing: float = 1.0      # kappa: how much of the student's confidence enters its target
    power: float = 1.0          # q: above 1, only high confidence counts
    weight: float = 1.0         # of the second term

    def __post_init__(self) -> None:
        check_setting("smoothing", self.smoothing, least=0)
        check_setting("power", self.power, least=0, above=True)
        check_setting("weight", self.weight, least=0)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` and `soft`, each (B,)."""
        return {
            "label": label_cross_entropy(batch),
            "soft": self.weight * self_weighed_loss(batch, smoothing=self.smoothing, power=self.power),
        }
