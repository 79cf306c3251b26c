"""The optimizer, and its learning rate at any moment of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from kdtrain.config import TrialConfig

# What transformers call their tables of positions and their learned tokens: torchvision's ViT and Swin, timm, DeiT.
_EMBEDDINGS = frozenset({
    "absolute_pos_embed", "class_token", "cls_token", "dist_token", "pos_embed", "pos_embedding", "position_embedding",
    "relative_position_bias_table",
})

# Leslie Smith's one-cycle policy (Smith and Topin 2017, arXiv:1708.07120) in the two cosine phases and with the
# default factors of torch.optim.lr_scheduler.OneCycleLR.
_RISE = 0.3             # share of the epochs in which the rate rises to lr
_START_DIVISOR = 25.0   # it begins at lr over this
_END_DIVISOR = 1e4      # and ends at its beginning over this


def build_optimizer(modules: Iterable[nn.Module], config: TrialConfig) -> torch.optim.Optimizer:
    """The optimizer of every parameter of these modules: SGD with momentum, or AdamW with torch's betas and epsilon.

    AdamW is Loshchilov and Hutter 2017, arXiv:1711.05101. Weight decay is on every parameter, as the field's CIFAR
    recipes have it; with `decay_norms` false, on those that `is_decayed` names.
    """
    groups = _group(modules, config)
    # One kernel for all parameters: small networks have many. Not in float16: where the first step is skipped for an
    # overflow, torch 2.13 leaves the momentum of a fused SGD as uninitialised memory, and goes on with it.
    fused = config.precision != "fp16"
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused,
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts a stored state into the optimizer, each tensor in the memory layout of its parameter.

    A fused step walks through the memory of both together and does not look at their strides.
    """
    optimizer.load_state_dict(state)
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay acts on a parameter where it spares normalisations: on matrices and kernels alone.

    Spared are vectors and scalars (biases, scales of normalisations), and position tables and tokens by their names.
    """
    return parameter.ndim > 1 and not name.endswith("bias") and name.rpartition(".")[2] not in _EMBEDDINGS


def clip_gradients(optimizer: torch.optim.Optimizer, most: float) -> None:
    """Scales all gradients together so that the norm of them all is `most` at most.

    Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(trained, most)


def compute_lr(config: TrialConfig, elapsed: float) -> float:
    """The learning rate after `elapsed` epochs, a number in [0, epochs]; a function of nothing else.

    A warm-up rises in a line from 0 to `lr`; cosine, linear and poly then fall from `lr` to `min_lr` over what is left.
    A step schedule changes at the start of the epoch after a milestone: with 240 epochs and a milestone of 0.625 the
    151st epoch is the first with the lower rate. An exponential one changes after each epoch that follows the warm-up.
    """
    if elapsed < config.warmup_epochs:
        return config.lr * elapsed / config.warmup_epochs
    if config.schedule == "step":
        passed = sum(elapsed >= round(share * config.epochs) for share in config.milestones)
        return config.lr * config.decay**passed
    if config.schedule == "exponential":
        return config.lr * config.decay ** math.floor(elapsed - config.warmup_epochs)
    share = (elapsed - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
    if config.schedule == "one_cycle":
        return _compute_one_cycle(config.lr, share)
    if config.schedule == "constant":
        return config.lr
    return config.min_lr + (config.lr - config.min_lr) * _LEFT[config.schedule](share, config)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every parameter group the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


_LEFT: dict[str, Callable[[float, TrialConfig], float]] = {  # what is left of the rate when a share of it is done
    "cosine": lambda share, _: 0.5 * (1 + math.cos(math.pi * share)),   # SGDR, arXiv:1608.03983, without restarts
    "linear": lambda share, _: 1 - share,
    "poly": lambda share, config: (1 - share) ** config.poly_power,
}


def _compute_one_cycle(lr: float, share: float) -> float:
    start = lr / _START_DIVISOR
    if share < _RISE:
        return _ease(start, lr, share / _RISE)
    return _ease(lr, start / _END_DIVISOR, (share - _RISE) / (1 - _RISE))


def _ease(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def _group(modules: Iterable[nn.Module], config: TrialConfig) -> list[dict[str, Any]]:
    """Parameter groups: one, or those that decay and those that do not."""
    named = [pair for module in modules for pair in module.named_parameters()]
    if config.decay_norms:
        return [{"params": [parameter for _, parameter in named]}]
    decayed = [parameter for name, parameter in named if is_decayed(name, parameter)]
    spared = [parameter for name, parameter in named if not is_decayed(name, parameter)]
    groups = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
