"""What a training step has to do, counted: operations, bytes; and what a rate means in trials an hour."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdtrain.card import Weightless
from kdtrain.images import DataInfo
from kdtrain.model import build_model

_OPTIMIZER_PASSES = 5   # SGD with momentum, fused: reads weight, gradient and momentum, writes weight and momentum


def count_flops(*, student_macs: int, teacher_macs: int = 0, batch: int) -> int:
    """Floating-point operations of a step: 3 x 2 x student_macs x batch + 2 x teacher_macs x batch.

    A multiply-add is two. The backward pass costs two forward passes: one product for the gradient of the inputs, one
    for that of the weights. `teacher_macs`: of a teacher that is asked in the step.
    """
    return (3 * 2 * student_macs + 2 * teacher_macs) * batch


def count_step_elements(model: str, info: DataInfo, *, batch: int) -> int:
    """Numbers that pass between memory and processor in a step of a student alone: times their size, its bytes.

    A model: every operation that torch dispatches in the forward and the backward pass reads each of its inputs once
    and writes each of its outputs once, views are free, the optimizer passes 5 times over the weights. Operations
    that are fused pass less, batch normalisation, which reads its input twice, more. The loss, B x C numbers, is left
    out.
    """
    network, image_BCHW = _build_weightless(model, info, batch)
    gradient_BC = torch.empty(batch, info.num_classes, device="meta")
    with _Elements() as seen:
        network(image_BCHW).backward(gradient_BC)
    return seen.count + _OPTIMIZER_PASSES * sum(parameter.numel() for parameter in network.parameters())


def count_forward_elements(model: str, info: DataInfo, *, batch: int) -> int:
    """The same of a teacher's forward pass."""
    network, image_BCHW = _build_weightless(model, info, batch)
    with torch.no_grad(), _Elements() as seen:
        network.eval()(image_BCHW)
    return seen.count


def count_trial_steps(*, images: int, batch: int, epochs: int) -> int:
    """Steps of a trial; the last batch of an epoch may be a smaller one."""
    return epochs * math.ceil(images / batch)


def to_trials_per_hour(steps_per_second: float, *, images: int, batch: int, epochs: int) -> float:
    """Trials that so many steps a second are worth; what a trial does beside its steps is not in it."""
    return 3600 * steps_per_second / count_trial_steps(images=images, batch=batch, epochs=epochs)


class _Elements(TorchDispatchMode):
    """Counts the numbers that operations read and write while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.count += _count((args, kwargs)) + _count(made)
        return made


def _count(tree: Any) -> int:
    return sum(leaf.numel() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _build_weightless(model: str, info: DataInfo, batch: int) -> tuple[nn.Module, Tensor]:
    """The network in training mode and a batch for it, both without numbers."""
    with torch.random.fork_rng(devices=[]), Weightless():
        network = build_model(model, info.num_classes, info.channels)
    return network.to("meta").train(), torch.empty(batch, info.channels, *info.size, device="meta")
