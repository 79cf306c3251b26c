"""Samples weighed by how far the student is from the teacher. Li et al. 2022, arXiv:2112.04840.  B batch, C classes.

Their prediction-guided feature imitation (PFI) lets a detector imitate its teacher's features most at the places where
the two predict differently: a place's loss is multiplied by the mean squared difference of its class scores. Here a
place is an image, and what is weighed is any term of the method but the label's:

    w_b = d_b / mean(d),    d_b = mean_c (softmax(teacher)_bc - softmax(student)_bc)^2, without gradient

The division by the batch's mean is this project's: d is at most 2 / C and falls as the student learns, so that without
it the method's own weights would mean something else for each number of classes and in each epoch. With it the weights
have mean 1; where teacher and student agree on all samples, all are 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from kdtrain.method import Batch, Needs
from kdtrain.wrapper import Wrapping


@dataclass(frozen=True)
class Wrapper(Wrapping):
    """label + w (other terms), w the sample's share in the batch's discrepancy, times B."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    wraps: ClassVar[str] = "a method whose terms are per sample"

    def __call__(self, batch: Batch, own: nn.ModuleDict | None) -> dict[str, Tensor]:
        """The method's terms."""
        return self.weigh(self.ask(batch, own), _measure_discrepancy(batch))


@torch.no_grad()
def _measure_discrepancy(batch: Batch) -> Tensor:
    """w_B of the equation."""
    difference_BC = batch.teacher.logits_BC.softmax(1) - batch.student.logits_BC.softmax(1)
    discrepancy_B = difference_BC.square().mean(1)
    mean = discrepancy_B.mean()
    return torch.where(mean > 0, discrepancy_B / mean, torch.ones_like(discrepancy_B))
