"""Augmented views as one gather: crop after zero padding, then flip, on uint8; and the step from uint8 to floats.

A view is a number. With p pixels of padding there are (2p + 1)^2 crops, and twice as many views with the flip:
view = (flip * (2p + 1) + top) * (2p + 1) + left. Each equals torchvision's pad, crop and hflip bit for bit.
B batch, N images, C channels, H and W height and width, P pixels of a view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from kdtrain.config import TrialConfig
from kdtrain.images import DataInfo


@dataclass(frozen=True)
class Augment:
    """The finite set of views that a transform can make of an image."""

    augment: str                    # none, crop, crop_flip
    padding: int                    # pixels on each side before a crop

    def __post_init__(self) -> None:
        if self.augment not in ("none", "crop", "crop_flip"):
            raise ValueError(f"augment: {self.augment!r} is none of none, crop, crop_flip")
        if self.padding < 0:
            raise ValueError(f"padding: {self.padding!r} is below 0")

    @property
    def num_views(self) -> int:
        """How many views there are; with `none` there is one, the image itself."""
        return self._offsets**2 * (2 if self.augment == "crop_flip" else 1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """view_B, int64, uniform over the views; on the generator's device."""
        return torch.randint(self.num_views, (count,), generator=generator, device=generator.device)

    @property
    def middle_view(self) -> int:
        """The view that is the image itself."""
        border = self._offsets // 2
        return border * self._offsets + border

    def gather(self, image_NCHW: Tensor, index_B: Tensor, view_B: Tensor) -> Tensor:
        """image_BCHW, uint8, channels_last: view `view_B` of the images at `index_B`; all tensors on one device."""
        offsets, border = self._offsets, self._offsets // 2
        num_channels, height, width = image_NCHW.shape[1:]
        padded_BCHW = F.pad(image_NCHW[index_B], (border, border, border, border))
        left_B, top_B, flip_B = view_B % offsets, view_B // offsets % offsets, view_B // offsets**2
        row_BH = top_B[:, None] + torch.arange(height, device=view_B.device)
        column_W = torch.arange(width, device=view_B.device)
        column_BW = left_B[:, None] + torch.where(flip_B[:, None] == 1, width - 1 - column_W, column_W)
        pixel_BP = (row_BH[:, :, None] * padded_BCHW.shape[3] + column_BW[:, None, :]).flatten(1)
        image_BCP = padded_BCHW.flatten(2).gather(2, pixel_BP[:, None].expand(-1, num_channels, -1))
        return image_BCP.view(-1, num_channels, height, width).contiguous(memory_format=torch.channels_last)

    @property
    def _offsets(self) -> int:
        return 1 if self.augment == "none" else 2 * self.padding + 1


def count_views(config: TrialConfig) -> int | None:
    """How many views of an image the trial may draw; None where they cannot be numbered, as resized crops."""
    if config.augment == "resized_crop_flip" or config.rand_augment or config.erasing:
        return None
    return Augment(config.augment, config.padding).num_views


def normalise(image_BCHW: Tensor, info: DataInfo) -> Tensor:
    """float32, scaled to [0, 1], then standardised by channel: torchvision's ToTensor and Normalize bit for bit."""
    scale, mean_C11, std_C11 = _scales(info.mean, info.std, image_BCHW.device)
    return image_BCHW.to(torch.float32).div_(scale).sub_(mean_C11).div_(std_C11)


@lru_cache(maxsize=8)
def _scales(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """255 as a tensor too: dividing by a number, CUDA multiplies by its reciprocal, which rounds differently."""
    mean_C11, std_C11 = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))
    return torch.tensor(255.0, device=device), mean_C11, std_C11
