"""VGG with batch norm and one linear layer. Simonyan, Zisserman 2014, arXiv:1409.1556, table 1.

As the distillation literature builds it for small images (Tian et al. 2020, arXiv:1910.10699): five stages of 64, 128,
256, 512, 512 channels, a mean over the plane and one linear layer in the place of three. A stage begins with the
max-pooling that halves its plane, so every map is taken after a ReLU and before a pooling; before the fifth stage only
images of 64 pixels and more are pooled. A side that is odd is rounded up. `width` is the first stage's number of
channels; the others grow with it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.staged import Staged, draw_fan_out_and_small_classifier

_GROWTH = (1, 2, 4, 8, 8)   # table 1 of the paper: 64, 128, 256, 512, 512 channels
_SIDE = 8                   # what three poolings leave of a side of 64


def vgg8(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """5 convolutions; 3,965,028 parameters at 100 classes."""
    return _build((1, 1, 1, 1, 1), num_classes, channels, width=width)


def vgg11(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """8 convolutions, the paper's A; 9,277,284 parameters at 100 classes."""
    return _build((1, 1, 2, 2, 2), num_classes, channels, width=width)


def vgg13(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """10 convolutions, the paper's B; 9,462,180 parameters at 100 classes."""
    return _build((2, 2, 2, 2, 2), num_classes, channels, width=width)


def vgg16(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """13 convolutions, the paper's D; 14,774,436 parameters at 100 classes."""
    return _build((2, 2, 3, 3, 3), num_classes, channels, width=width)


def vgg19(num_classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """16 convolutions, the paper's E; 20,086,692 parameters at 100 classes."""
    return _build((2, 2, 4, 4, 4), num_classes, channels, width=width)


def _build(convolutions: tuple[int, ...], num_classes: int, channels: int, *, width: int) -> nn.Module:
    pools = (nn.Identity(), _Pool(), _Pool(), _Pool(), _Pool(smallest_side=_SIDE))
    stages, inputs = {}, channels
    for place, (count, growth, pool) in enumerate(zip(convolutions, _GROWTH, pools, strict=True)):
        outputs = width * growth
        stages[f"stage{place + 1}"] = nn.Sequential(pool, *_convolve(inputs, outputs, count=count))
        inputs = outputs
    return Staged(
        stages, pooled_width=inputs, num_classes=num_classes, draw=draw_fan_out_and_small_classifier
    )


def _convolve(inputs: int, outputs: int, *, count: int) -> list[nn.Module]:
    """Convolutions with a bias, as the paper has them, though a batch norm follows each."""
    parts: list[nn.Module] = []
    for place in range(count):
        convolution = nn.Conv2d(outputs if place else inputs, outputs, 3, padding=1)
        parts += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return parts


class _Pool(nn.Module):
    """Halves a plane whose shorter side is long enough, rounding up."""

    def __init__(self, smallest_side: int = 1) -> None:
        super().__init__()
        self.smallest_side = smallest_side

    def forward(self, map_BDHW: Tensor) -> Tensor:
        if min(map_BDHW.shape[2:]) < self.smallest_side:
            return map_BDHW
        return F.max_pool2d(map_BDHW, 2, ceil_mode=True)
