"""Methods that a user might write, good and bad, for tests of what is wrapped and of what fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from kdtrain.method import Distillation, Needs
from kdtrain.terms import label_cross_entropy


@dataclass(frozen=True)
class Mean(Distillation):
    """CE + weight (mean squared difference of the logits)."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True)
    weight: float = 0.5

    def __call__(self, batch, own):
        """`label` and `mean`, each (B,)."""
        difference_BC = batch.student.logits_BC - batch.teacher.logits_BC
        return {"label": label_cross_entropy(batch), "mean": self.weight * difference_BC.square().mean(1)}


class WholeBatch(Mean):
    """The same averaged."""

    def __call__(self, batch, own):
        terms = super().__call__(batch, own)
        return {"label": terms["label"], "mean": terms["mean"].mean()}


class OwnLabel(Mean):
    """Takes the label's cross-entropy of the logits that it sees."""

    def __call__(self, batch, own):
        label_B = nn.functional.cross_entropy(batch.student.logits_BC, batch.label_B, reduction="none")
        return {**super().__call__(batch, own), "label": label_B}


@dataclass(frozen=True)
class Share(Mean):
    """Has a setting that a wrapper has too."""

    share: float = 0.5


class ReadsClassifier(Mean):
    """Reads the weights of both last layers."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True, classifier=True)


class ReadsMaps(Mean):
    """Reads maps of several stages."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True, maps=True)


class TwoViews(Mean):
    """Asks for what the loop does not give."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True, views=2)


class WideStudents(Mean):
    """Refuses a student that is narrower than its teacher."""

    def build(self, student, teacher, num_classes, *, num_images):
        if student.pooled_width < teacher.pooled_width:
            raise ValueError(f"width {student.pooled_width} of the student is below {teacher.pooled_width}")


@dataclass(frozen=True)
class Ordered(Mean):
    """Has settings that are good each by itself."""

    low: float = 1.0
    high: float = 9.0

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")


class Counts(Mean):
    """Has a state that changes when it is asked, and a label's weight that depends on it."""

    def build(self, student, teacher, num_classes, *, num_images):
        return nn.BatchNorm1d(num_classes)

    def __call__(self, batch, own):
        own(batch.student.logits_BC)
        terms = super().__call__(batch, None)
        return {**terms, "label": int(own.num_batches_tracked) * terms["label"]}


def not_a_method() -> None:
    """A function."""
