"""Teacher-free KD with a virtual teacher (Tf-KD). Yuan, Tay, Li, Wang, Feng 2019, arXiv:1909.11723, section 5.

A teacher that nobody trained: it gives `confidence` a to the label and spreads the rest over the other C - 1 classes.
These probabilities u, taken as logits, are softened by the temperature:

    (1 - weight) CE  +  weight multiplier KL(softmax(u / temperature) || softmax(z / student_temperature))

Two forms were published. The paper's equation softens the student as well: student_temperature = temperature. The code
of its CIFAR-100 results does not (student_temperature 1, the default here), as its authors say in their issues 3 and
19; its gradient is then that of label smoothing with another share. No T^2 in either. A multiplier of 1 counts the
divergence as it is, summed over the classes; the published code averages over them, so that its 100 at 100 classes is
1 here, but for the networks whose parameters say batch_mean. Where labels are mixed, u is the mixture's: a on what the
label says, label by label (ours). The settings of its ImageNet results were not published. Code and settings:
yuanli2333/Teacher-free-Knowledge-Distillation@880a74e: my_loss_function.py, experiments/base_experiments/*/params.json.
B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Distillation
from kdtrain.paper_settings import plain_name, put_first
from kdtrain.terms import check_setting, divergence, label_cross_entropy, label_distribution

_RESNET18 = {"temperature": 20.0, "weight": 0.1, "multiplier": 1.0}       # published multiplier 100
_DENSENET = {"temperature": 40.0, "weight": 0.1, "multiplier": 1.0}       # DenseNet121, batch_mean
_RESNEXT = {"temperature": 40.0, "weight": 0.5, "multiplier": 1.0}        # ResNeXt29, batch_mean
_GOOGLENET = {"temperature": 40.0, "weight": 0.1, "multiplier": 0.5}      # published multiplier 50
_MOBILENET = {"temperature": 40.0, "weight": 0.95, "multiplier": 0.01}    # MobileNetV2, published multiplier 1
_SHUFFLENET = {"temperature": 10.0, "weight": 0.95, "multiplier": 0.01}   # ShuffleV2, published multiplier 1
_BY_STUDENT = {"mobilenetv2": _MOBILENET, "shufflev2": _SHUFFLENET}       # ResNet18 is the first of all


@dataclass(frozen=True)
class Method(Distillation):
    """(1 - weight) CE + weight multiplier KL(virtual teacher || student)."""

    search_space: ClassVar[dict[str, dict[str, Any]]] = {
        "temperature": {"log": [1.0, 100.0]},
        "weight": {"range": [0.05, 0.95]},
        "multiplier": {"log": [0.01, 2.0]},
    }
    paper_settings: ClassVar[list[dict[str, Any]]] = [
        _RESNET18, _DENSENET, _RESNEXT, _GOOGLENET, _MOBILENET, _SHUFFLENET,
    ]

    temperature: float = 20.0           # softens the virtual teacher
    weight: float = 0.1                 # alpha: share of the virtual teacher against the label
    multiplier: float = 1.0             # of the divergence
    confidence: float = 0.99            # a: what the virtual teacher gives to the label; published code
    student_temperature: float = 1.0    # softens the student beside it; 1 in the published code

    def __post_init__(self) -> None:
        check_setting("temperature", self.temperature, least=0, above=True)
        check_setting("weight", self.weight, least=0, most=1)
        check_setting("multiplier", self.multiplier, least=0)
        check_setting("confidence", self.confidence, least=0, most=1)
        check_setting("student_temperature", self.student_temperature, least=0, above=True)

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The student's own setting first."""
        return put_first(_BY_STUDENT.get(plain_name(student)), cls.paper_settings)

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """`label` and `virtual`, each (B,)."""
        teacher_BC = (self._draw_up_teacher(batch) / self.temperature).log_softmax(1)
        student_BC = (batch.student.logits_BC / self.student_temperature).log_softmax(1)
        return {
            "label": (1 - self.weight) * label_cross_entropy(batch),
            "virtual": self.weight * self.multiplier * divergence(teacher_BC, student_BC),
        }

    def _draw_up_teacher(self, batch: Batch) -> Tensor:
        """u of the equation, (B, C)."""
        rest = (1 - self.confidence) / (batch.student.logits_BC.shape[1] - 1)
        return rest + (self.confidence - rest) * label_distribution(batch)
