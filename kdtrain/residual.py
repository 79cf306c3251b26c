"""The basic residual block and its shortcuts. He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 3.3.

B batch, D channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.staged import convolve

Shortcut = Callable[[int, int, int], nn.Module]
"""What goes around a block of so many input channels, output channels and this stride."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.first, self.first_norm = convolve(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = convolve(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, map_BDHW: Tensor) -> Tensor:
        inner_BDHW = F.relu(self.first_norm(self.first(map_BDHW)), inplace=True)
        inner_BDHW = self.second_norm(self.second(inner_BDHW))
        return F.relu(inner_BDHW + self.shortcut(map_BDHW), inplace=True)


def stack_basic(inputs: int, outputs: int, *, blocks: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    """A stage: the first block changes the shape, the others keep it."""
    first = BasicBlock(inputs, outputs, stride=stride, shortcut=shortcut)
    rest = (BasicBlock(outputs, outputs, stride=1, shortcut=shortcut) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def project(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The paper's option B: where the shape changes, a 1x1 convolution with batch norm; else nothing."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(convolve(inputs, outputs, size=1, stride=stride), nn.BatchNorm2d(outputs))


def pad(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The paper's option A, without parameters: every `stride`-th pixel, and channels of zeros on both sides."""
    return nn.Identity() if stride == 1 and inputs == outputs else _Pad(outputs - inputs, stride)


class _Pad(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.before, self.after, self.stride = channels // 2, channels - channels // 2, stride

    def forward(self, map_BDHW: Tensor) -> Tensor:
        kept_BDHW = map_BDHW[:, :, :: self.stride, :: self.stride]
        return F.pad(kept_BDHW, (0, 0, 0, 0, self.before, self.after))
