"""What is done to one image before a network sees it, by torchvision's v2 transforms on PIL images.

To measure, the middle is kept; to train, a part is drawn, flipped, changed and erased as the trial says. All random
numbers come from torch's global generator on the CPU. C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from kdtrain.augment import normalise
from kdtrain.config import TrialConfig
from kdtrain.images import DataInfo
from kdtrain.torchvision_ops import v2

Transform = Callable[[Image.Image], Tensor]
"""image_CHW: uint8, or float32 where it is standardised already."""

# of an erased rectangle, its share of the image and its ratio of height to width: Zhong et al. 2017, arXiv:1708.04896,
# with the least share of DeiT and Swin (timm's RandomErasing)
_ERASED_SHARE, _ERASED_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)


def build_measuring_transform(info: DataInfo) -> Transform:
    """The middle of the image at the network's size; uint8."""
    return v2.Compose([_choose_mode(info), *_keep_middle(info), v2.PILToTensor()])


def build_training_transform(config: TrialConfig, info: DataInfo) -> Transform:
    """A random view of the image; uint8, or with erasing float32, since what is erased is filled with noise."""
    steps = [_choose_mode(info), *_draw_part(config, info)]
    if config.rand_augment:
        steps.append(v2.RandAugment(
            config.rand_augment, config.rand_magnitude, interpolation=v2.InterpolationMode.BILINEAR
        ))
    steps.append(v2.PILToTensor())
    if config.erasing:
        steps += [
            _Standardise(info),
            v2.RandomErasing(config.erasing, scale=_ERASED_SHARE, ratio=_ERASED_RATIO, value="random"),
        ]
    return v2.Compose(steps)


def _keep_middle(info: DataInfo) -> list[Callable]:
    """Resized so that the shorter side holds what is kept and what is cut off, then cut."""
    return [v2.Resize(int(min(info.size) / info.kept)), v2.CenterCrop(info.size)]


def _draw_part(config: TrialConfig, info: DataInfo) -> list[Callable]:
    if config.augment == "resized_crop_flip":
        return [v2.RandomResizedCrop(info.size), v2.RandomHorizontalFlip()]
    steps = _keep_middle(info)
    if config.augment != "none":
        steps.append(v2.RandomCrop(info.size, padding=config.padding))
    if config.augment == "crop_flip":
        steps.append(v2.RandomHorizontalFlip())
    return steps


def _choose_mode(info: DataInfo) -> Callable[[Image.Image], Image.Image]:
    """Grey images, and those with a palette or with transparency, get the data set's channels."""
    return _Mode("RGB" if info.channels == 3 else "L")


@dataclass(frozen=True)
class _Mode:
    """Converts an image. A class, so that it can be sent to another process."""

    mode: str

    def __call__(self, image: Image.Image) -> Image.Image:
        return image if image.mode == self.mode else image.convert(self.mode)


@dataclass(frozen=True)
class _Standardise:
    """Standardises an image by channel."""

    info: DataInfo

    def __call__(self, image_CHW: Tensor) -> Tensor:
        return normalise(image_CHW[None], self.info)[0]
