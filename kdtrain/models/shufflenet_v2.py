"""ShuffleNetV2. Ma, Zhang, Zheng, Sun 2018, arXiv:1807.11164, table 5, at 1x.

As the distillation literature builds it for small images (Tian et al. 2020, arXiv:1910.10699): a 1x1 stem at stride 1
and no max-pooling. `stem` and the last map are taken after a ReLU; so are `stage1` and `stage2`, each channel of them
in some block. `width` is the stem's number of channels; the others grow with it.
"""

# ruff: noqa: N802  the field's tables write the names so

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.staged import Staged, convolve, convolve_norm_relu, keep_defaults

_BLOCKS = (3, 7, 3)     # after the one that halves the plane
_STAGE, _LAST = 116, 1024   # table 5 of the paper, beside a stem of 24


def ShuffleV2(num_classes: int, channels: int = 3, *, width: int = 24) -> nn.Module:
    """51 layers, stages of 116, 232, 464 channels and a last one of 1,024; 1,355,528 parameters at 100 classes."""
    stages: dict[str, nn.Sequential] = {"stem": nn.Sequential(*convolve_norm_relu(channels, width, size=1))}
    inputs = width
    for place, count in enumerate(_BLOCKS):
        half = _STAGE // 2 * 2**place * width // 24
        blocks = (_Keep(half) for _ in range(count))
        stages[f"stage{place + 1}"] = nn.Sequential(_Down(inputs, half), *blocks)
        inputs = 2 * half
    last = max(1, _LAST * width // 24)
    stages["stage3"].extend(convolve_norm_relu(inputs, last, size=1))
    return Staged(stages, pooled_width=last, num_classes=num_classes, draw=keep_defaults)


class _Keep(nn.Module):
    """Half of the channels as they are, half through three convolutions; shuffled."""

    def __init__(self, half: int) -> None:
        super().__init__()
        self.right = nn.Sequential(
            *convolve_norm_relu(half, half, size=1), *_spread(half, stride=1), *convolve_norm_relu(half, half, size=1)
        )

    def forward(self, map_BDHW: Tensor) -> Tensor:
        left_BDHW, right_BDHW = map_BDHW.chunk(2, dim=1)
        return F.channel_shuffle(torch.cat([left_BDHW, self.right(right_BDHW)], dim=1), 2)


class _Down(nn.Module):
    """All channels through both sides at stride 2; shuffled."""

    def __init__(self, inputs: int, half: int) -> None:
        super().__init__()
        self.left = nn.Sequential(*_spread(inputs, stride=2), *convolve_norm_relu(inputs, half, size=1))
        self.right = nn.Sequential(
            *convolve_norm_relu(inputs, half, size=1), *_spread(half, stride=2), *convolve_norm_relu(half, half, size=1)
        )

    def forward(self, map_BDHW: Tensor) -> Tensor:
        return F.channel_shuffle(torch.cat([self.left(map_BDHW), self.right(map_BDHW)], dim=1), 2)


def _spread(width: int, *, stride: int) -> list[nn.Module]:
    """3x3 of each channel by itself, without ReLU."""
    return [convolve(width, width, stride=stride, groups=width), nn.BatchNorm2d(width)]
