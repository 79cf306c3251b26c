"""MobileNet. Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam 2017, arXiv:1704.04861, table 1.

A 3x3 stem at stride 2 and 13 pairs of a 3x3 convolution of each channel by itself and a 1x1 convolution. A map is taken
where the next pair halves the plane, after its ReLU. The student of ResNet50 in the ImageNet distillation tables.
`width` is the stem's number of channels, 32 times the paper's width multiplier; all others grow with it.
"""

# ruff: noqa: N802  the field's tables write the names so

from __future__ import annotations

from torch import nn

from kdtrain.staged import Staged, convolve_norm_relu, keep_defaults

# stage -> (output channels at width 32, stride of the 3x3 convolution) of each pair: table 1 of the paper
_PAIRS = {
    "stage1": [(64, 1)],
    "stage2": [(128, 2), (128, 1)],
    "stage3": [(256, 2), (256, 1)],
    "stage4": [(512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)],
    "stage5": [(1024, 2), (1024, 1)],
}


def MobileNetV1(num_classes: int, channels: int = 3, *, width: int = 32) -> nn.Module:
    """28 layers, stages of 64 to 1,024 channels; 4,231,976 parameters at 1,000 classes."""
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(*convolve_norm_relu(channels, width, stride=2))}
    inputs = width
    for stage, pairs in _PAIRS.items():
        parts: list[nn.Module] = []
        for outputs, stride in pairs:
            parts += _separate(inputs, outputs * width // 32, stride=stride)
            inputs = outputs * width // 32
        stages[stage] = nn.Sequential(*parts)
    return Staged(stages, pooled_width=inputs, num_classes=num_classes, draw=keep_defaults)


def _separate(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    """Each channel by itself, then all channels at each pixel."""
    depthwise = convolve_norm_relu(inputs, inputs, stride=stride, groups=inputs)
    return [*depthwise, *convolve_norm_relu(inputs, outputs, size=1)]
