"""Logit standardisation. Sun, Ren, Li, Wang, Cao 2024, arXiv:2403.01427.  B batch, C classes.

A teacher's logits and a student's have scales of their own, which one shared temperature cannot serve. Before the
method softens them, each row of both is put to mean 0 and standard deviation 1:

    z -> (z - mean z) / (s + 1e-7),    s^2 = sum_c (z_c - mean z)^2 / (C - 1)

s and 1e-7 as in the published code (sunshangquan/logit-standardization-KD@6083e2de:mdistiller/distillers/KD.py). The
label's cross-entropy is of the student's logits as they are. `scale` multiplies every other term, since the paper's sum
is not convex: kd with weight 0.9, temperature 2 and scale 10 is its 0.1 CE + 9 T^2 KL.

Around nkd, on which nothing is published: its target term has no temperature, so the teacher's confidence T_y in it is
that of a row of deviation 1. A row's largest z is (C - 1) / sqrt(C), which needs all other logits to be equal; usual
rows stay far below, their T_y far below the teacher's real confidence, and the term is weak. With two classes a row is
its sign alone, (0.71, -0.71), and hands no gradient on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Card
from kdtrain.paper_settings import plain_name
from kdtrain.terms import check_setting
from kdtrain.wrapper import Settings, Wrapping, replace_student_logits

# CIFAR-100, from the names of the published logs (logs/KD and logs/DKD of the same repository), which give temperature,
# weight of the teacher's part and DKD's beta (8 where a name has none). The weight of CE is 0.1 with kd, 1 with dkd.
# Models as kdtrain/paper_settings.py compares them.
_KD = {
    ("resnet32x4", "resnet8x4"): (2, 9),
    ("vgg13", "vgg8"): (3, 9),
    ("wrn402", "wrn401"): (2, 9),
    ("wrn402", "wrn162"): (2, 9),
    ("resnet56", "resnet20"): (2, 9),
    ("resnet110", "resnet32"): (2, 9),
    ("resnet110", "resnet20"): (4, 12),
    ("resnet32x4", "shufflev2"): (2, 9),
    ("resnet32x4", "wrn162"): (3, 9),
    ("resnet32x4", "wrn402"): (3, 9),
    ("wrn402", "resnet8x4"): (2, 9),
    ("wrn402", "mobilenetv2"): (3, 9),
    ("vgg13", "mobilenetv2"): (3, 9),
    ("resnet50", "mobilenetv2"): (3, 1),
}
_DKD = {
    ("resnet32x4", "resnet8x4"): (2, 9, 8),
    ("vgg13", "vgg8"): (2, 15, 2),
    ("wrn402", "wrn401"): (2, 12, 2),
    ("wrn402", "wrn162"): (2, 12, 2),
    ("resnet56", "resnet20"): (3, 12, 2),
    ("resnet110", "resnet32"): (2, 15, 2),
    ("resnet110", "resnet20"): (2, 15, 2),
    ("resnet32x4", "shufflev2"): (2, 9, 8),
    ("resnet32x4", "wrn162"): (2, 9, 2),
    ("resnet32x4", "wrn402"): (2, 9, 8),
    ("wrn402", "resnet8x4"): (2, 18, 2),
    ("wrn402", "mobilenetv2"): (2, 15, 2),
    ("vgg13", "mobilenetv2"): (3, 9, 2),
    ("resnet50", "mobilenetv2"): (2, 15, 2),
}
_SHARE = 0.9    # kd's `weight`: it leaves the paper's 0.1 to CE


def _to_kd(temperature: float, weight: float) -> Settings:
    return {"scale": weight / _SHARE, "temperature": float(temperature), "weight": _SHARE}


def _to_dkd(temperature: float, weight: float, beta: float) -> Settings:
    return {"scale": float(weight), "temperature": float(temperature), "beta": float(beta)}


_WHOLE = {
    "kd": {pair: _to_kd(*values) for pair, values in _KD.items()},
    "dkd": {pair: _to_dkd(*values) for pair, values in _DKD.items()},
}


@dataclass(frozen=True)
class Wrapper(Wrapping):
    """label + scale (other terms of logits with mean 0 and deviation 1 in each row)."""

    wraps: ClassVar[str] = "a method with teacher_logits and without parameters of its own"
    wraps_taught: ClassVar[bool] = True
    search_space: ClassVar[dict[str, dict[str, Any]]] = {"scale": {"log": [1.0, 20.0]}}
    paper_settings: ClassVar[list[Settings]] = [{"scale": 9.0}]     # its usual weight, CIFAR-100

    scale: float = 9.0      # of all terms but the label's

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting("scale", self.scale, least=0, above=True)

    @classmethod
    def list_whole_settings(
        cls, inner: str, *, data: str | None = None, teacher: str | None = None, student: str | None = None
    ) -> list[Settings] | None:
        """For kd and dkd: a pair's of CIFAR-100, elsewhere those of its first pair."""
        if inner not in _WHOLE:
            return None
        by_pair = _WHOLE[inner]
        first = by_pair["resnet32x4", "resnet8x4"]
        return [by_pair.get((plain_name(teacher), plain_name(student)), first) if data == "cifar100" else first]

    def build(self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int) -> None:
        """None. Raises ValueError for a method with parameters, which would be made for logits as they are."""
        if super().build(student, teacher, num_classes, num_images=num_images) is not None:
            hint = f"standardize wraps {self.wraps}"
            raise ValueError(f"{self.spec}: `{self.inner_name}` has parameters of its own\n\nhint: {hint}")

    def __call__(self, batch: Batch, own: nn.ModuleDict | None) -> dict[str, Tensor]:
        """The method's terms."""
        teacher = dataclasses.replace(batch.teacher, logits_BC=_standardize(batch.teacher.logits_BC.detach()))
        seen = replace_student_logits(batch, _standardize(batch.student.logits_BC))
        terms = self.ask(dataclasses.replace(seen, teacher=teacher), own)
        return {name: term if name == "label" else self.scale * term for name, term in terms.items()}


def _standardize(logits_BC: Tensor) -> Tensor:
    deviation_B1 = logits_BC.std(1, keepdim=True)
    return (logits_BC - logits_BC.mean(1, keepdim=True)) / (deviation_B1 + 1e-7)
