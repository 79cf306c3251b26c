"""Wide residual networks. Zagoruyko, Komodakis 2016, arXiv:1605.07146, without dropout.

`wrn_D_K`: D layers = 6 blocks + 4, K times as wide as the plain network. Normalisation and ReLU come before each
convolution, so the maps `stem`, `stage1` and `stage2` are the residual stream as it is, with neither; `stage3` is taken
after the network's last normalisation and ReLU, which is what is pooled. `width` is the stem's number of channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.staged import Staged, convolve


def wrn_16_1(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """16 layers, stages of 16, 32, 64 channels; 180,916 parameters at 100 classes."""
    return _build(16, 1, num_classes, channels, width=width)


def wrn_16_2(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """16 layers, stages of 32, 64, 128 channels; 703,284 parameters at 100 classes."""
    return _build(16, 2, num_classes, channels, width=width)


def wrn_40_1(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """40 layers, stages of 16, 32, 64 channels; 569,780 parameters at 100 classes."""
    return _build(40, 1, num_classes, channels, width=width)


def wrn_40_2(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """40 layers, stages of 32, 64, 128 channels; 2,255,156 parameters at 100 classes."""
    return _build(40, 2, num_classes, channels, width=width)


def _build(depth: int, factor: int, num_classes: int, channels: int, *, width: int) -> nn.Module:
    blocks, first = (depth - 4) // 6, width * factor
    last = [nn.BatchNorm2d(4 * first), nn.ReLU(inplace=True)]
    stages = {
        "stem": convolve(channels, width),
        "stage1": nn.Sequential(*_blocks(width, first, blocks=blocks, stride=1)),
        "stage2": nn.Sequential(*_blocks(first, 2 * first, blocks=blocks, stride=2)),
        "stage3": nn.Sequential(*_blocks(2 * first, 4 * first, blocks=blocks, stride=2), *last),
    }
    return Staged(stages, pooled_width=4 * first, num_classes=num_classes)


def _blocks(inputs: int, outputs: int, *, blocks: int, stride: int) -> list[nn.Module]:
    return [_Block(inputs, outputs, stride=stride), *(_Block(outputs, outputs, stride=1) for _ in range(blocks - 1))]


class _Block(nn.Module):
    """Normalise, ReLU, convolve, twice, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first_norm, self.first = nn.BatchNorm2d(inputs), convolve(inputs, outputs, stride=stride)
        self.second_norm, self.second = nn.BatchNorm2d(outputs), convolve(outputs, outputs)
        changes_shape = stride != 1 or inputs != outputs
        self.shortcut = convolve(inputs, outputs, size=1, stride=stride) if changes_shape else None

    def forward(self, map_BDHW: Tensor) -> Tensor:
        active_BDHW = F.relu(self.first_norm(map_BDHW), inplace=True)
        # where the shape changes, the shortcut too reads the normalised map, as in the authors' network
        short_BDHW = map_BDHW if self.shortcut is None else self.shortcut(active_BDHW)
        inner_BDHW = F.relu(self.second_norm(self.first(active_BDHW)), inplace=True)
        return short_BDHW + self.second(inner_BDHW)
