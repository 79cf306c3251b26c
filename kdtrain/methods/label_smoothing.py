"""Label smoothing, no teacher. Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, arXiv:1512.00567, section 7.

Cross-entropy against (1 - smoothing) label + smoothing / C, split into the label's part and the uniform part.
B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation
from kdtrain.terms import check_setting, label_cross_entropy


@dataclass(frozen=True)
class Method(Distillation):
    """(1 - smoothing) CE + smoothing CE(uniform, student)."""

    search_space: ClassVar[dict[str, dict[str, Any]]] = {"smoothing": {"range": [0.0, 0.3]}}
    paper_settings: ClassVar[list[dict[str, Any]]] = [{"smoothing": 0.1}]

    smoothing: float = 0.1      # share of the uniform distribution

    def __post_init__(self) -> None:
        check_setting("smoothing", self.smoothing, least=0, most=1)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` (B,) and `uniform` (B,)."""
        uniform_B = -batch.student.logits_BC.log_softmax(1).mean(1)
        return {
            "label": (1 - self.smoothing) * label_cross_entropy(batch),
            "uniform": self.smoothing * uniform_B,
        }
