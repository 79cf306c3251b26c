"""Distillation on a selected part of each batch. Tavor et al. 2026, arXiv:2602.01395.  B batch, C classes.

Their SE-KD lets a language model learn from its teacher where the student is least certain: at the 20 % of a text's
places with the largest entropy of the student, the loss a mean over these. Here a place is an image and the text the
batch. Of B samples the k = ceil(share B) with the largest criterion are selected (of equal ones the first); their terms
are multiplied by B / k, all others by 0, so that the mean over the batch is the mean over the selected. The label is
learned from all samples, where SE-KD has none.

Criteria, all at temperature 1 and without gradient, with p the teacher's distribution and q the student's:

    student_entropy    H(q), their choice
    teacher_entropy    H(p)
    divergence         KL(p || q)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdtrain.method import Batch, asks_teacher
from kdtrain.names import describe_unknown
from kdtrain.terms import check_setting, divergence
from kdtrain.wrapper import Settings, Wrapping

_CRITERIA = ("student_entropy", "teacher_entropy", "divergence")


@dataclass(frozen=True)
class Wrapper(Wrapping):
    """label + B / k (other terms of the k selected samples)."""

    wraps: ClassVar[str] = "a method whose terms are per sample"
    search_space: ClassVar[dict[str, dict[str, Any]]] = {"share": {"range": [0.1, 1.0]}}
    paper_settings: ClassVar[list[Settings]] = [{"share": 0.2}]

    share: float = 0.2                      # of the batch that is selected
    criterion: str = "student_entropy"      # the largest are selected

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting("share", self.share, least=0, most=1, above=True)
        if self.criterion not in _CRITERIA:
            raise ValueError(describe_unknown("criterion", str(self.criterion), _CRITERIA))
        if self.criterion != "student_entropy" and not asks_teacher(self.needs):
            raise ValueError(f"criterion: {self.criterion} needs a teacher, which `{self.inner_name}` has not")

    def __call__(self, batch: Batch, own: nn.ModuleDict | None) -> dict[str, Tensor]:
        """The method's terms."""
        return self.weigh(self.ask(batch, own), self._select(batch))

    @torch.no_grad()
    def _select(self, batch: Batch) -> Tensor:
        """weight_B: B / k for the selected, else 0."""
        criterion_B = self._measure(batch)
        num_selected = math.ceil(round(self.share * len(criterion_B), 9))  # 0.07 of 100 is 7, not 7.000000000000001
        first = criterion_B.argsort(descending=True, stable=True)[:num_selected]
        weight_B = torch.zeros_like(criterion_B)
        weight_B[first] = len(criterion_B) / num_selected
        return weight_B

    def _measure(self, batch: Batch) -> Tensor:
        if self.criterion == "student_entropy":
            return _entropy(batch.student.logits_BC)
        if self.criterion == "teacher_entropy":
            return _entropy(batch.teacher.logits_BC)
        return divergence(batch.teacher.logits_BC.log_softmax(1), batch.student.logits_BC.log_softmax(1))


def _entropy(logits_BC: Tensor) -> Tensor:
    log_p_BC = logits_BC.log_softmax(1)
    return -(log_p_BC.exp() * log_p_BC).sum(1)
