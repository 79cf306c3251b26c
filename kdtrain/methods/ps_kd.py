"""Progressive self-distillation (PS-KD). Kim, Ji, Yoon, Hwang 2020, arXiv:2006.12000.

The student of an epoch earlier is its own teacher, and is trusted more as training goes on. In epoch t of E:

    CE((1 - a) label + a previous, student),    a = weight t / E

`previous` is what the student said of the same image when it last met it, one epoch ago, under that epoch's
augmentation and in training mode; an image that it has not met yet counts by its label, as all do in the first epoch.
An image comes once an epoch, so that one table does, read before it is written. lgcnsai/PS-KD-Pytorch@0fda2cf: main.py.
The table is part of the method's state and of every checkpoint: 4 bytes for each image and class, 20 MB for CIFAR-100,
5 GB for ImageNet. Where labels are mixed, the mixture stands for the label, and what is kept for an image is what the
student said of its mixture (ours).
B batch, C classes, N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdtrain.method import Batch, Card, Distillation, Needs
from kdtrain.terms import check_setting, cross_entropy, label_cross_entropy, label_distribution


@dataclass(frozen=True)
class Method(Distillation):
    """(1 - a) CE + a CE(previous, student), a = weight t / E."""

    needs: ClassVar[Needs] = Needs(index=True)
    search_space: ClassVar[dict[str, dict[str, Any]]] = {"weight": {"range": [0.0, 1.0]}}
    paper_settings: ClassVar[list[dict[str, Any]]] = [{"weight": 0.8}]  # CIFAR-100 and ImageNet, published commands

    weight: float = 0.8     # a in the last epoch: share of the past prediction against the label

    def __post_init__(self) -> None:
        check_setting("weight", self.weight, least=0, most=1)

    def build(self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int) -> nn.Module:
        """The past predictions: nothing in it is trained."""
        return _Past(num_images, num_classes)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` and `soft`, each (B,)."""
        log_student_BC = batch.student.logits_BC.log_softmax(1)
        previous_BC = own.recall(batch.index_B, instead_BC=label_distribution(batch))
        own.remember(batch.index_B, log_student_BC.detach().exp())
        share = self.weight * own.measure_share(batch)
        return {
            "label": (1 - share) * label_cross_entropy(batch),
            "soft": share * cross_entropy(previous_BC, log_student_BC),
        }


class _Past(nn.Module):
    """What the student last said of each image; a row of zeros where it has said nothing."""

    def __init__(self, num_images: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("prediction_NC", torch.zeros(num_images, num_classes))
        self._epoch, self._progress = 0, 0.0  # found anew where an epoch begins, and only there is training resumed

    def recall(self, index_B: Tensor, *, instead_BC: Tensor) -> Tensor:
        """(B, C): the last predictions, `instead_BC` where there are none."""
        previous_BC = self.prediction_NC[index_B]
        return torch.where(previous_BC.sum(1, keepdim=True) == 0, instead_BC, previous_BC)

    def remember(self, index_B: Tensor, prediction_BC: Tensor) -> None:
        """Overwrites the last predictions."""
        self.prediction_NC[index_B] = prediction_BC

    def measure_share(self, batch: Batch) -> float:
        """t / E, the same throughout an epoch; 0 in the first, which has no past.

        A batch knows t and the progress, which is (t - 1) / E at the first batch of epoch t.
        """
        if batch.epoch != self._epoch:
            self._epoch, self._progress = batch.epoch, batch.progress
        return self._progress * batch.epoch / (batch.epoch - 1) if batch.epoch > 1 else 0.0
