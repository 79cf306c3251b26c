"""Residual networks for small images. He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2.

As the distillation literature builds them (Tian et al. 2020, arXiv:1910.10699): a 3x3 stem, three stages of basic
blocks at strides 1, 2, 2, and a 1x1 convolution with batch norm wherever a block changes the shape. Every map is taken
after its ReLU. `width` is the stem's number of channels; the stages grow with it. depth = 6 blocks + 2.
"""

from __future__ import annotations

from torch import nn

from kdtrain.residual import project, stack_basic
from kdtrain.staged import Staged, convolve_norm_relu


def resnet8(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """8 layers, stages of 16, 32, 64 channels; 83,892 parameters at 100 classes."""
    return _build(8, num_classes, channels, stem=width, stage=width)


def resnet14(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """14 layers, stages of 16, 32, 64 channels; 181,108 parameters at 100 classes."""
    return _build(14, num_classes, channels, stem=width, stage=width)


def resnet20(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """20 layers, stages of 16, 32, 64 channels; 278,324 parameters at 100 classes."""
    return _build(20, num_classes, channels, stem=width, stage=width)


def resnet32(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """32 layers, stages of 16, 32, 64 channels; 472,756 parameters at 100 classes."""
    return _build(32, num_classes, channels, stem=width, stage=width)


def resnet44(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """44 layers, stages of 16, 32, 64 channels; 667,188 parameters at 100 classes."""
    return _build(44, num_classes, channels, stem=width, stage=width)


def resnet56(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """56 layers, stages of 16, 32, 64 channels; 861,620 parameters at 100 classes."""
    return _build(56, num_classes, channels, stem=width, stage=width)


def resnet110(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """110 layers, stages of 16, 32, 64 channels; 1,736,564 parameters at 100 classes."""
    return _build(110, num_classes, channels, stem=width, stage=width)


def resnet8x4(num_classes: int, channels: int = 3, *, width: int = 32) -> nn.Module:
    """8 layers, a stem of 32 and stages of 64, 128, 256 channels; 1,233,540 parameters at 100 classes."""
    return _build(8, num_classes, channels, stem=width, stage=2 * width)


def resnet32x4(num_classes: int, channels: int = 3, *, width: int = 32) -> nn.Module:
    """32 layers, a stem of 32 and stages of 64, 128, 256 channels; 7,433,860 parameters at 100 classes."""
    return _build(32, num_classes, channels, stem=width, stage=2 * width)


def _build(depth: int, num_classes: int, channels: int, *, stem: int, stage: int) -> nn.Module:
    blocks = (depth - 2) // 6
    stages = {
        "stem": nn.Sequential(*convolve_norm_relu(channels, stem)),
        "stage1": stack_basic(stem, stage, blocks=blocks, stride=1, shortcut=project),
        "stage2": stack_basic(stage, 2 * stage, blocks=blocks, stride=2, shortcut=project),
        "stage3": stack_basic(2 * stage, 4 * stage, blocks=blocks, stride=2, shortcut=project),
    }
    return Staged(stages, pooled_width=4 * stage, num_classes=num_classes)
