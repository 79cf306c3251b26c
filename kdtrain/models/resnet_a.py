"""CIFAR-10's residual networks, bare shortcuts. He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2.

The paper's own: where a block changes the shape, its shortcut drops every other pixel and adds channels of zeros, the
paper's option A, hence the names. Stages of 16, 32, 64 channels at strides 1, 2, 2; depth = 6 blocks + 2; He's normal
weights, fan in. `width` is the stem's number of channels; the stages grow with it. The networks of the distillation
tables are others: see resnet.py.
"""

from __future__ import annotations

from torch import nn

from kdtrain.residual import pad, stack_basic
from kdtrain.staged import Staged, convolve_norm_relu, draw_fan_in


def resnet20_a(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """20 layers, parameter-free shortcuts; 269,722 parameters at 10 classes (0.27 M in the paper)."""
    return _build(20, num_classes, channels, width=width)


def resnet32_a(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """32 layers, parameter-free shortcuts; 464,154 parameters at 10 classes (0.46 M in the paper)."""
    return _build(32, num_classes, channels, width=width)


def resnet44_a(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """44 layers, parameter-free shortcuts; 658,586 parameters at 10 classes (0.66 M in the paper)."""
    return _build(44, num_classes, channels, width=width)


def resnet56_a(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """56 layers, parameter-free shortcuts; 853,018 parameters at 10 classes (0.85 M in the paper)."""
    return _build(56, num_classes, channels, width=width)


def resnet110_a(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """110 layers, parameter-free shortcuts; 1,727,962 parameters at 10 classes (1.7 M in the paper)."""
    return _build(110, num_classes, channels, width=width)


def _build(depth: int, num_classes: int, channels: int, *, width: int) -> nn.Module:
    blocks = (depth - 2) // 6
    stages = {
        "stem": nn.Sequential(*convolve_norm_relu(channels, width)),
        "stage1": stack_basic(width, width, blocks=blocks, stride=1, shortcut=pad),
        "stage2": stack_basic(width, 2 * width, blocks=blocks, stride=2, shortcut=pad),
        "stage3": stack_basic(2 * width, 4 * width, blocks=blocks, stride=2, shortcut=pad),
    }
    return Staged(stages, pooled_width=4 * width, num_classes=num_classes, draw=draw_fan_in)
