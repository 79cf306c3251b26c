"""What one trial is: a frozen, complete record whose hash is the trial's identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Setting = float | int | str
_PLACE = {"identity": False}  # where a trial runs is not what it is
_LOOK = {"identity": False}   # nor is what is looked at on the way: it moves no weight and no random number


@dataclass(frozen=True)
class TrialConfig:
    """One student, one setting, one seed, one budget, on one split. A teacher is a trial without a teacher."""

    data: str                                   # file of kdtrain/data, or package.module:Name
    student: str                                # the model that is trained: `resnet8`, `resnet8(width=4)`
    method: str = "ce"                          # file of kdtrain/methods, or package.module:Name
    settings: Mapping[str, Setting] = field(default_factory=dict)  # the method's fields; defaults where absent
    teacher: str | None = None                  # model of the teacher
    teacher_id: str | None = None               # which weights, see kdtrain/teachers.py

    validation: int = 0                         # images held out of train, stratified
    split_seed: int = 0
    train_on: str = "train"                     # train, or train+validation
    train_images: int | None = None             # only so many train images, stratified; None: all
    augment: str = "none"                       # none, crop, crop_flip
    padding: int = 0                            # pixels on each side before a crop

    epochs: int = 1
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "cosine"                    # constant, step, cosine
    milestones: tuple[float, ...] = ()          # step: shares of `epochs` after which lr is multiplied by `decay`
    decay: float = 0.1
    warmup_epochs: int = 0                      # lr rises linearly from 0 over these epochs

    seed: int = 0
    epoch_rule: str = "last"                    # which epoch is the trial's result: last, best_val
    measure_test: bool = False                  # measure test once, after the last epoch
    test_curve: bool = field(default=False, metadata=_LOOK)  # and after every epoch; nothing is ever selected on it
    deterministic: bool = False                 # CUDA: deterministic kernels (slower); the CPU always is

    device: str = field(default="auto", metadata=_PLACE)              # auto, cpu, cuda, cuda:1
    data_root: str | None = field(default=None, metadata=_PLACE)      # default: $KDSWEEP_DATA
    download: bool = field(default=False, metadata=_PLACE)
    weights_dir: str | None = field(default=None, metadata=_PLACE)    # where teachers lie

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        object.__setattr__(self, "settings", dict(sorted(self.settings.items())))
        _check(self)

    def __hash__(self) -> int:
        return hash(self.trial_id)

    @property
    def trial_id(self) -> str:
        """`t` and 16 hex digits of the hash of everything but the place and what is looked at."""
        return "t" + digest(self.identity())

    def identity(self) -> dict[str, Any]:
        """The fields that define the trial, as plain JSON values."""
        return {name: value for name, value in self.to_dict().items() if name not in _list_outside()}

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain JSON values; `TrialConfig(**d)` gives the trial back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> TrialConfig:
        """The trial that a mapping describes. Raises ValueError for a key that is not a field."""
        from kdtrain.names import describe_unknown

        known = [f.name for f in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise ValueError(describe_unknown("setting", key, known))
        return cls(**given)


def digest(value: object) -> str:
    """16 hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _list_outside() -> frozenset[str]:
    """The fields that are no part of the identity."""
    return frozenset(f.name for f in dataclasses.fields(TrialConfig) if f.metadata.get("identity") is False)


_CHOICES = {
    "augment": ("none", "crop", "crop_flip"),
    "schedule": ("constant", "step", "cosine"),
    "train_on": ("train", "train+validation"),
    "epoch_rule": ("last", "best_val"),
}
_LEAST = {
    "epochs": 1, "batch_size": 2, "validation": 0, "padding": 0, "warmup_epochs": 0, "weight_decay": 0, "momentum": 0,
}


def _check(config: TrialConfig) -> None:
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"{name}: {getattr(config, name)!r} is none of {', '.join(choices)}")
    for name, least in _LEAST.items():
        if not getattr(config, name) >= least:
            raise ValueError(f"{name}: {getattr(config, name)!r} is below {least}")
    if not 0 < config.lr < float("inf"):
        raise ValueError(f"lr: {config.lr!r} is not a positive number")
    if config.epoch_rule == "best_val" and (config.train_on != "train" or not config.validation):
        raise ValueError("epoch_rule: best_val needs a validation split that is not trained on")
    if config.test_curve and not config.measure_test:
        raise ValueError("test_curve: needs measure_test: a trial that settings are selected on never sees test")
    if (config.teacher is None) != (config.teacher_id is None):
        raise ValueError("teacher and teacher_id go together: a teacher's model and which weights of it")
