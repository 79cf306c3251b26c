"""What one trial is: a frozen, complete record whose hash is the trial's identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Setting = float | int | str
_PLACE = {"identity": False}  # where a trial runs is not what it is
_LOOK = {"identity": False}   # nor is what is looked at on the way: it moves no weight and no random number
_LATER = {"later": True}      # came after the first trials were named: at its default it is left out of their names


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
    augment: str = "none"                       # none, crop, crop_flip, resized_crop_flip
    padding: int = 0                            # pixels on each side before a crop
    image_size: int | None = field(default=None, metadata=_LATER)     # pixels of a side; None: the data set's own
    rand_augment: int = field(default=0, metadata=_LATER)             # random operations on each image; 0: none
    rand_magnitude: int = field(default=9, metadata=_LATER)           # of these operations, 0 to 30
    erasing: float = field(default=0.0, metadata=_LATER)              # probability that a rectangle is erased
    mixup: float = field(default=0.0, metadata=_LATER)                # alpha of the Beta distribution; 0: none
    cutmix: float = field(default=0.0, metadata=_LATER)               # the same; with both, each batch draws one evenly
    mix_probability: float = field(default=1.0, metadata=_LATER)      # share of the batches that are mixed
    label_smoothing: float = field(default=0.0, metadata=_LATER)      # of the cross-entropy of the label

    epochs: int = 1
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "cosine"                    # constant, step, exponential, cosine, linear, poly, one_cycle
    milestones: tuple[float, ...] = ()          # step: shares of `epochs` after which lr is multiplied by `decay`
    decay: float = 0.1                          # step: at each milestone; exponential: after each epoch
    warmup_epochs: int = 0                      # lr rises linearly from 0 over these epochs
    min_lr: float = field(default=0.0, metadata=_LATER)               # where cosine, linear and poly end
    poly_power: float = field(default=1.0, metadata=_LATER)           # poly: lr falls with (1 - share done)^power
    optimizer: str = field(default="sgd", metadata=_LATER)            # sgd, adamw
    decay_norms: bool = field(default=True, metadata=_LATER)          # weight decay on biases and normalisations too
    clip_norm: float | None = field(default=None, metadata=_LATER)    # most that the gradient's norm may be
    precision: str = field(default="float32", metadata=_LATER)        # of the forward pass: float32, bf16, fp16
    compile: str = field(default="none", metadata=_LATER)             # the student's: none, or a mode of torch.compile

    seed: int = 0
    view_seed: int | None = field(default=None, metadata=_LATER)  # of the views that trials share; None: of its own
    epoch_rule: str = "last"                    # which epoch is the trial's result: last, best_val
    measure_test: bool = False                  # measure test once, after the last epoch
    test_curve: bool = field(default=False, metadata=_LOOK)  # and after every epoch; nothing is ever selected on it
    deterministic: bool = False                 # CUDA: deterministic kernels (slower); the CPU always is

    device: str = field(default="auto", metadata=_PLACE)              # auto, cpu, cuda, cuda:1
    data_root: str | None = field(default=None, metadata=_PLACE)      # default: $KDSWEEP_DATA
    download: bool = field(default=False, metadata=_PLACE)
    weights_dir: str | None = field(default=None, metadata=_PLACE)    # where teachers lie
    workers: int = field(default=0, metadata=_PLACE)                  # processes that decode and transform images
    tables_dir: str | None = field(default=None, metadata=_PLACE)     # where teacher tables lie; None: there are none
    table_bytes: int | None = field(default=None, metadata=_PLACE)    # the most that one of them may take

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        object.__setattr__(self, "settings", dict(sorted(self.settings.items())))
        _check(self)

    def __hash__(self) -> int:
        return hash(self.trial_id)

    @cached_property
    def trial_id(self) -> str:
        """`t` and 16 hex digits of the hash of everything but the place and what is looked at."""
        return "t" + digest(self.identity())

    def identity(self) -> dict[str, Any]:
        """The fields that define the trial, as plain JSON values."""
        fields = {name: value for name, value in self.to_dict().items() if name not in _list_outside()}
        return drop_later_defaults(fields)

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


def drop_later_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without those that came later and stand at their defaults: a trial keeps the name that it had."""
    later = {f.name: f.default for f in dataclasses.fields(TrialConfig) if f.metadata.get("later")}
    return {name: value for name, value in fields.items() if name not in later or value != later[name]}


def _list_outside() -> frozenset[str]:
    """The fields that are no part of the identity."""
    return frozenset(f.name for f in dataclasses.fields(TrialConfig) if f.metadata.get("identity") is False)


_CHOICES = {
    "augment": ("none", "crop", "crop_flip", "resized_crop_flip"),
    "schedule": ("constant", "step", "exponential", "cosine", "linear", "poly", "one_cycle"),
    "optimizer": ("sgd", "adamw"),
    "precision": ("float32", "bf16", "fp16"),
    "compile": ("none", "default", "reduce-overhead"),   # not max-autotune: what it times decides what it computes
    "train_on": ("train", "train+validation"),
    "epoch_rule": ("last", "best_val"),
}
_LEAST = {
    "epochs": 1, "batch_size": 2, "validation": 0, "padding": 0, "warmup_epochs": 0, "weight_decay": 0, "momentum": 0,
    "rand_augment": 0, "rand_magnitude": 0, "erasing": 0, "mixup": 0, "cutmix": 0, "mix_probability": 0,
    "label_smoothing": 0, "min_lr": 0, "poly_power": 0, "workers": 0,
}
_MOST = {"rand_magnitude": 30, "erasing": 1, "mix_probability": 1, "label_smoothing": 1}


def check_choices(fields: Mapping[str, Any]) -> None:
    """Raises ValueError where a field of a trial has a value that is none of its choices."""
    for name, choices in _CHOICES.items():
        if name in fields and fields[name] not in choices:
            raise ValueError(f"{name}: {fields[name]!r} is none of {', '.join(choices)}")


def _check(config: TrialConfig) -> None:
    check_choices(vars(config))
    for name, least in _LEAST.items():
        if not getattr(config, name) >= least:
            raise ValueError(f"{name}: {getattr(config, name)!r} is below {least}")
        if not getattr(config, name) < float("inf"):
            raise ValueError(f"{name}: {getattr(config, name)!r} is not a finite number")
    for name, most in _MOST.items():
        if getattr(config, name) > most:
            raise ValueError(f"{name}: {getattr(config, name)!r} is above {most}")
    if config.clip_norm is not None and not 0 < config.clip_norm < float("inf"):
        raise ValueError(f"clip_norm: {config.clip_norm!r} is not a number above 0")
    if config.image_size is not None and config.image_size < 1:
        raise ValueError(f"image_size: {config.image_size!r} is below 1")
    if not 0 < config.lr < float("inf"):
        raise ValueError(f"lr: {config.lr!r} is not a positive number")
    _check_optimizer(config)
    if config.epoch_rule == "best_val" and (config.train_on != "train" or not config.validation):
        raise ValueError("epoch_rule: best_val needs a validation split that is not trained on")
    if config.test_curve and not config.measure_test:
        raise ValueError("test_curve: needs measure_test: a trial that settings are selected on never sees test")
    if (config.teacher is None) != (config.teacher_id is None):
        raise ValueError("teacher and teacher_id go together: a teacher's model and which weights of it")


def _check_optimizer(config: TrialConfig) -> None:
    if config.lr < config.min_lr:
        raise ValueError(f"lr: {config.lr!r} is below min_lr {config.min_lr!r}")
    if config.schedule == "one_cycle" and config.warmup_epochs:
        raise ValueError("warmup_epochs: has no effect with schedule one_cycle, which begins with a rise of its own")
    for name in ("momentum", "nesterov"):  # a search over them would try one training under many names
        if config.optimizer == "adamw" and getattr(config, name) != getattr(TrialConfig, name):
            raise ValueError(f"{name}: has no effect with optimizer adamw\n\nhint: write optimizer: sgd")
    if config.nesterov and not config.momentum:
        raise ValueError("nesterov: needs a momentum above 0")
