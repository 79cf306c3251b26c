"""MobileNetV2. Sandler, Howard, Zhu, Zhmoginov, Chen 2018, arXiv:1801.04381, table 2.

The half-width network of the CIFAR-100 distillation tables (Tian et al. 2020, arXiv:1910.10699), which differs from the
paper's in this: half the channels, but for the last 1,280; strides 1, 1, 2, 2, 1, 2, 1 after a stem at stride 2; ReLU
for ReLU6; a first block that has the 1x1 convolution of an expansion too; no dropout. A map is taken where the next
block halves the plane: a block's last normalisation, without ReLU, but for `stem` and `stage4`. `width` is the stem's
number of channels, 32 times the paper's width multiplier; all others grow with it, the last one from 32 on.
"""

# ruff: noqa: N802  the field's tables write the names so

from __future__ import annotations

from torch import Tensor, nn

from kdtrain.staged import Staged, convolve, convolve_norm_relu, draw_fan_out_and_small_classifier

# stage -> (expansion, output channels at width 32, blocks, stride of the first): table 2 of the paper, its strides
# changed as in the distillation tables
_BLOCKS = {
    "stage1": [(1, 16, 1, 1), (6, 24, 2, 1)],
    "stage2": [(6, 32, 3, 2)],
    "stage3": [(6, 64, 4, 2), (6, 96, 3, 1)],
    "stage4": [(6, 160, 3, 2), (6, 320, 1, 1)],
}
_LAST = 1280


def MobileNetV2(num_classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """54 layers at half width, a stem at stride 2; 812,836 parameters at 100 classes."""
    stages: dict[str, nn.Sequential] = {"stem": nn.Sequential(*convolve_norm_relu(channels, width, stride=2))}
    inputs = width
    for stage, rows in _BLOCKS.items():
        blocks: list[nn.Module] = []
        for expansion, full, count, stride in rows:
            outputs = max(1, full * width // 32)
            for place in range(count):
                blocks.append(_Block(inputs, outputs, expansion=expansion, stride=1 if place else stride))
                inputs = outputs
        stages[stage] = nn.Sequential(*blocks)
    last = _LAST * max(width, 32) // 32
    stages["stage4"].extend(convolve_norm_relu(inputs, last, size=1))
    return Staged(stages, pooled_width=last, num_classes=num_classes, draw=draw_fan_out_and_small_classifier)


class _Block(nn.Module):
    """Widens, convolves each channel by itself, narrows; beside a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.inside = nn.Sequential(
            *convolve_norm_relu(inputs, inner, size=1),
            *convolve_norm_relu(inner, inner, stride=stride, groups=inner),
            convolve(inner, outputs, size=1),
            nn.BatchNorm2d(outputs),
        )
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, map_BDHW: Tensor) -> Tensor:
        inner_BDHW = self.inside(map_BDHW)
        return map_BDHW + inner_BDHW if self.has_shortcut else inner_BDHW
