"""ImageNet's residual networks with a stem for small images. He, Zhang, Ren, Sun 2015, arXiv:1512.03385, table 1.

As the distillation literature trains them on CIFAR-100 (Tian et al. 2020, arXiv:1910.10699): a 3x3 stem at stride 1 and
no max-pooling, then four stages at strides 1, 2, 2, 2. In a bottleneck the 3x3 convolution has the stride. Every map is
taken after its ReLU. `width` is the stem's number of channels; the stages grow with it. The same networks with the
stem for large images are torchvision/resnet18, torchvision/resnet34 and torchvision/resnet50.
"""

# ruff: noqa: N802  the field's tables write the names so

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.residual import project, stack_basic
from kdtrain.staged import Staged, convolve, convolve_norm_relu

_EXPANSION = 4  # table 1 of the paper: a bottleneck's output is four times as wide as its inside


def ResNet18(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """18 layers, stages of 64, 128, 256, 512 channels; 11,220,132 parameters at 100 classes."""
    return _build((2, 2, 2, 2), num_classes, channels, width=width, stack=partial(stack_basic, shortcut=project))


def ResNet34(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """34 layers, stages of 64, 128, 256, 512 channels; 21,328,292 parameters at 100 classes."""
    return _build((3, 4, 6, 3), num_classes, channels, width=width, stack=partial(stack_basic, shortcut=project))


def ResNet50(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """50 layers, stages of 256, 512, 1,024, 2,048 channels; 23,705,252 parameters at 100 classes."""
    return _build((3, 4, 6, 3), num_classes, channels, width=width, stack=_stack_bottlenecks, expansion=_EXPANSION)


def _build(blocks: tuple[int, ...], num_classes: int, channels: int, *, width: int,
           stack: Callable[..., nn.Module], expansion: int = 1) -> nn.Module:
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(*convolve_norm_relu(channels, width))}
    inputs = width
    for place, count in enumerate(blocks):
        outputs = width * 2**place * expansion
        stages[f"stage{place + 1}"] = stack(inputs, outputs, blocks=count, stride=2 if place else 1)
        inputs = outputs
    return Staged(stages, pooled_width=inputs, num_classes=num_classes)


def _stack_bottlenecks(inputs: int, outputs: int, *, blocks: int, stride: int) -> nn.Sequential:
    rest = (_Bottleneck(outputs, outputs, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(_Bottleneck(inputs, outputs, stride=stride), *rest)


class _Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 beside a shortcut; ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        inner = outputs // _EXPANSION
        self.first, self.first_norm = convolve(inputs, inner, size=1), nn.BatchNorm2d(inner)
        self.second, self.second_norm = convolve(inner, inner, stride=stride), nn.BatchNorm2d(inner)
        self.third, self.third_norm = convolve(inner, outputs, size=1), nn.BatchNorm2d(outputs)
        self.shortcut = project(inputs, outputs, stride)

    def forward(self, map_BDHW: Tensor) -> Tensor:
        inner_BDHW = F.relu(self.first_norm(self.first(map_BDHW)), inplace=True)
        inner_BDHW = F.relu(self.second_norm(self.second(inner_BDHW)), inplace=True)
        inner_BDHW = self.third_norm(self.third(inner_BDHW))
        return F.relu(inner_BDHW + self.shortcut(map_BDHW), inplace=True)
