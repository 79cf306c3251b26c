"""What a distillation method is: its settings, what it needs, and the loss terms it returns for a batch.

B batch, C classes, D pooled width. Logits arrive in float32. A term is per sample, shape (B,), wherever its
definition is a mean over samples, so that it can be selected or weighed; the loop averages and adds. The term named
`label` is the cross-entropy against the label; the method owns its weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdtrain.names import describe_unknown, list_modules, load_named, load_own


@dataclass(frozen=True)
class Needs:
    """What a method asks of the loop beyond the student's logits and the label."""

    teacher_logits: bool = False
    pooled: bool = False                    # penultimate features of student (and teacher, where there is one)
    maps: bool = False                      # feature maps of every stage, shallow to deep
    classifier: bool = False                # weights of both last layers
    views: int = 1                          # augmented views of each image in a batch; the loop gives one so far
    index: bool = False                     # each sample's index in the train set


def asks_teacher(needs: Needs) -> bool:
    """Whether a method cannot train without a teacher."""
    return needs.teacher_logits


@dataclass(frozen=True)
class Card:
    """What a model offers, measured on one image of the data set."""

    name: str
    num_classes: int
    params: int
    macs: int                               # multiply-adds of one image, convolutions and matrix products
    pooled_width: int
    map_shapes: Mapping[str, tuple[int, int, int]]   # name -> (channels, height, width), shallow to deep
    has_classifier: bool = True             # its last layer is linear and open to methods


@dataclass(frozen=True)
class Outputs:
    """What a model says of a batch."""

    logits_BC: Tensor
    pooled_BD: Tensor
    maps: Mapping[str, Tensor]              # name -> (B, channels, height, width), shallow to deep


@dataclass(frozen=True)
class Batch:
    """What a method sees. The teacher's fields are None where the method did not ask for a teacher."""

    student: Outputs
    label_B: Tensor                         # int64
    teacher: Outputs | None = None
    soft_label_BC: Tensor | None = None     # a mixed label, rows sum to one; label_B is then its argmax
    label_smoothing: float = 0.0            # of the label's cross-entropy alone: see kdtrain/terms.py
    label_logits_BC: Tensor | None = None   # what this cross-entropy is of, where a wrapper changed student.logits_BC
    student_classifier: nn.Linear | None = None
    teacher_classifier: nn.Linear | None = None
    index_B: Tensor | None = None           # int64 position in the data set's own train set
    view_B: Tensor | None = None            # int64 number of the augmented view, where views are finite
    epoch: int = 1                          # from 1
    progress: float = 0.0                   # share of the training done, in [0, 1]
    generator: torch.Generator | None = field(default=None, compare=False)


class Distillation:
    """What most methods leave as it is. A method is a frozen dataclass; its fields are its settings."""

    needs: ClassVar[Needs] = Needs()
    search_space: ClassVar[dict[str, dict[str, Any]]] = {}       # setting -> range, as in a study file
    paper_settings: ClassVar[list[dict[str, Any]]] = []          # tried first
    in_epochs: ClassVar[tuple[str, ...]] = ()                    # settings that count epochs, and shrink with them

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[dict[str, Any]]:
        """The settings to try first for a pair: `paper_settings`, unless the paper has some for this very pair."""
        return cls.paper_settings

    def build(
        self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int
    ) -> nn.Module | None:
        """The method's own trained parameters and state, or None. `num_images`: what `Batch.index_B` stays below."""
        return None

    def __call__(self, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
        """Named, weighted terms; each (B,) or ()."""
        raise NotImplementedError(type(self).__name__)

    def deployed(self, student: nn.Module, own: nn.Module | None) -> nn.Module:
        """The network that is measured and shipped: the student, unless the method replaces a part of it."""
        return student


def list_methods() -> list[str]:
    """The names that a study file may use."""
    return list_modules("kdtrain.methods")


def load_method(name: str) -> type[Distillation]:
    """The class `Method` of kdtrain/methods/`name`.py, a user's own `package.module:Name`, or `wrapper(method)`.

    Raises ValueError.
    """
    if "(" in name or ")" in name:
        from kdtrain.wrapper import load_wrapped  # which builds on this file

        return load_wrapped(name)
    if ":" in name:
        return _load_own_method(name)
    if name in list_modules("kdtrain.wrappers"):
        raise ValueError(f"`{name}` is a wrapper, and needs a method\n\nhint: write {name}(kd)")
    return load_named("method", name, room="kdtrain.methods").Method


def _load_own_method(name: str) -> type[Distillation]:
    found = load_own("method", name)
    if isinstance(found, type) and issubclass(found, Distillation) and dataclasses.is_dataclass(found):
        return found
    raise ValueError(f"`{name}` is not a method\n\nhint: a method is a frozen dataclass derived from Distillation")


def build_method(name: str, settings: Mapping[str, Any]) -> Distillation:
    """The method with its settings. Raises ValueError for a setting that the method does not have."""
    method = load_method(name)
    known = [found.name for found in dataclasses.fields(method)]
    for setting in settings:
        if setting not in known:
            raise ValueError(describe_unknown(f"setting of method {name}", setting, known or ["(none)"]))
    return method(**settings)
