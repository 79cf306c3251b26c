"""ShuffleNet with three groups. Zhang, Zhou, Lin, Sun 2017, arXiv:1707.01083, table 1.

As the distillation literature builds it for small images (Tian et al. 2020, arXiv:1910.10699), which differs from the
paper's in this: a 1x1 stem at stride 1 and no max-pooling, a ReLU after the 3x3 convolution too, and an inside that is
a quarter of what the two branches of a stage's first block have left to add. Every map is taken after its ReLU.
`width` is the stem's number of channels, 24 or another multiple of 12; the stages are 10, 20 and 40 times as wide.
"""

# ruff: noqa: N802  the field's tables write the names so

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.staged import Staged, convolve, convolve_norm_relu, keep_defaults

_GROUPS = 3
_BLOCKS = (4, 8, 4)


def ShuffleV1(num_classes: int, channels: int = 3, *, width: int = 24) -> nn.Module:
    """50 layers, stages of 240, 480, 960 channels; 949,258 parameters at 100 classes."""
    if width % 12:
        raise ValueError(f"model ShuffleV1: width {width} is not a multiple of 12\n\nhint: 12 is the narrowest")
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(*convolve_norm_relu(channels, width, size=1))}
    inputs = width
    for place, count in enumerate(_BLOCKS):
        outputs = 10 * width * 2**place
        # the stem is too narrow to be cut into groups: section 3.2 of the paper
        first = _Down(inputs, outputs, groups=_GROUPS if place else 1)
        stages[f"stage{place + 1}"] = nn.Sequential(first, *(_Keep(outputs) for _ in range(count - 1)))
        inputs = outputs
    return Staged(stages, pooled_width=inputs, num_classes=num_classes, draw=keep_defaults)


class _Branch(nn.Module):
    """1x1 in groups, shuffle, 3x3 of each channel by itself, 1x1 in groups; no ReLU after the last."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, groups: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.groups = groups
        self.narrow = nn.Sequential(*convolve_norm_relu(inputs, inner, size=1, groups=groups))
        self.spread = nn.Sequential(*convolve_norm_relu(inner, inner, stride=stride, groups=inner))
        self.widen = nn.Sequential(convolve(inner, outputs, size=1, groups=_GROUPS), nn.BatchNorm2d(outputs))

    def forward(self, map_BDHW: Tensor) -> Tensor:
        return self.widen(self.spread(F.channel_shuffle(self.narrow(map_BDHW), self.groups)))


class _Keep(nn.Module):
    """A branch added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = _Branch(width, width, stride=1, groups=_GROUPS)

    def forward(self, map_BDHW: Tensor) -> Tensor:
        return F.relu(self.branch(map_BDHW) + map_BDHW, inplace=True)


class _Down(nn.Module):
    """A branch at stride 2, and behind its channels the input's own, averaged."""

    def __init__(self, inputs: int, outputs: int, *, groups: int) -> None:
        super().__init__()
        self.branch = _Branch(inputs, outputs - inputs, stride=2, groups=groups)

    def forward(self, map_BDHW: Tensor) -> Tensor:
        short_BDHW = F.avg_pool2d(map_BDHW, 3, stride=2, padding=1)
        return F.relu(torch.cat([self.branch(map_BDHW), short_BDHW], dim=1), inplace=True)
