"""Distillation into a second head. Khani et al. 2024, arXiv:2408.14678.  B batch, C classes, D pooled width.

In their ranking systems the teacher's labels come from other data than the student's and bias a head that learns from
both. So the teacher trains a second linear head on the same pooled feature, the label the main head, and the second is
dropped when the student is deployed: what the teacher knows reaches it through the feature alone. All terms but the
label's see the second head's logits, and its weights where a method asks for the student's classifier. A method that
gives the label no weight leaves the main head untrained.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Card, Needs
from kdtrain.wrapper import Wrapping, replace_student_logits, take_part


@dataclass(frozen=True)
class Wrapper(Wrapping):
    """label of the main head + other terms of a second one."""

    needs: ClassVar[Needs] = Needs(pooled=True)
    wraps: ClassVar[str] = "a method with teacher_logits"
    wraps_taught: ClassVar[bool] = True

    def build_own(self, student: Card, num_classes: int) -> nn.Linear:
        """The second head, drawn as torch draws a linear layer."""
        return nn.Linear(student.pooled_width, num_classes)

    def __call__(self, batch: Batch, own: nn.ModuleDict) -> dict[str, Tensor]:
        """The method's terms."""
        head = take_part(own, "wrapper")
        seen = replace_student_logits(batch, head(batch.student.pooled_BD))
        if self.needs.classifier:
            seen = dataclasses.replace(seen, student_classifier=head)
        return self.ask(seen, own)
