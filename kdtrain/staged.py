"""The shape that every network here has: named stages, a mean over the plane, one linear classifier.

B batch, C classes, D pooled width, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from kdtrain.method import Outputs

Draw = Callable[[nn.Module], None]
"""Draws a network's first weights anew, from torch's global generator."""


class Staged(nn.Module):
    """Stages in order, then the pooled output of the last one goes to `classifier`. Any image size will do."""

    def __init__(
        self, stages: Mapping[str, nn.Module], *, pooled_width: int, num_classes: int, draw: Draw | None = None
    ) -> None:
        """`draw`: how the first weights are drawn where that is not `draw_fan_out`."""
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        self.classifier = nn.Linear(pooled_width, num_classes)
        (draw or draw_fan_out)(self)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """logits_BC, keeping no map alive."""
        map_BDHW = image_BCHW
        for stage in self.stages.values():
            map_BDHW = stage(map_BDHW)
        return self.classifier(_pool(map_BDHW))

    def outputs(self, image_BCHW: Tensor) -> Outputs:
        """Logits, pooled features and the map that each stage returns, by the stage's name."""
        maps, map_BDHW = {}, image_BCHW
        for name, stage in self.stages.items():
            maps[name] = map_BDHW = stage(map_BDHW)
        pooled_BD = _pool(map_BDHW)
        return Outputs(self.classifier(pooled_BD), pooled_BD, maps)


def convolve(inputs: int, outputs: int, *, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias (a normalisation follows) that keeps the plane's size at stride 1."""
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=False)


def convolve_norm_relu(
    inputs: int, outputs: int, *, size: int = 3, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """The same, its batch norm and its ReLU."""
    convolution = convolve(inputs, outputs, size=size, stride=stride, groups=groups)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def draw_fan_out(network: nn.Module) -> None:
    """Kaiming's normal (fan out, He et al. 2015, arXiv:1502.01852) for convolutions; torch's defaults elsewhere."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def draw_fan_out_and_small_classifier(network: nn.Module) -> None:
    """The same, no bias anywhere, and a linear layer's weights at a deviation of 0.01."""
    draw_fan_out(network)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)


def draw_fan_in(network: nn.Module) -> None:
    """Kaiming's normal (fan in) for convolutions and linear layers; torch's defaults for biases."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)


def keep_defaults(network: nn.Module) -> None:
    """As torch draws every layer when it is made."""


def _pool(map_BDHW: Tensor) -> Tensor:
    return map_BDHW.mean(dim=(2, 3))
