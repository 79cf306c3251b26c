"""The optimizer and its learning rate at any moment of a trial."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from kdtrain.config import TrialConfig


def build_optimizer(parameters: Iterable[nn.Parameter], config: TrialConfig) -> torch.optim.Optimizer:
    """SGD with momentum; weight decay on every parameter, as the field's CIFAR recipes do."""
    return torch.optim.SGD(
        list(parameters),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def compute_lr(config: TrialConfig, elapsed: float) -> float:
    """The learning rate after `elapsed` epochs, a number in [0, epochs).

    A step schedule changes at the start of the epoch after a milestone: with 240 epochs and a milestone of 0.625 the
    151st epoch is the first with the lower rate. Cosine falls from `lr` to 0 after the warm-up.
    """
    if elapsed < config.warmup_epochs:
        return config.lr * elapsed / config.warmup_epochs
    if config.schedule == "step":
        passed = sum(elapsed >= round(share * config.epochs) for share in config.milestones)
        return config.lr * config.decay**passed
    if config.schedule == "cosine":
        share = (elapsed - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
        return config.lr * 0.5 * (1 + math.cos(math.pi * share))
    return config.lr


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every parameter group the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
