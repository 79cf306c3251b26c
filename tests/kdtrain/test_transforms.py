"""What networks see of an image, against torchvision's older transforms and against arithmetic."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from kdtrain.config import TrialConfig
from kdtrain.data import cifar10, imagenet, mnist, tiny_imagenet
from kdtrain.images import DataInfo
from kdtrain.torchvision_ops import torchvision
from kdtrain.transforms import build_measuring_transform, build_training_transform
from tests.kdtrain.data_files import draw_images

_apply_op = torchvision.transforms.autoaugment._apply_op
T = torchvision.transforms  # the first generation, independent of v2


def _draw(height: int, width: int) -> Image.Image:
    return Image.fromarray(draw_images(1, height, width, 3)[0])


def _config(**fields) -> TrialConfig:
    return TrialConfig(data="cifar10", student="resnet8", **fields)


def _see(info: DataInfo, image: Image.Image, seed: int = 0, **fields) -> torch.Tensor:
    torch.manual_seed(seed)
    return build_training_transform(_config(**fields), info)(image)


def _at(info: DataInfo, side: int) -> DataInfo:
    return dataclasses.replace(info, size=(side, side))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (224, 224), (100, 90)])
def test_imagenet_is_measured_on_the_middle_224_of_256(height, width):
    image = _draw(height, width)
    usual = T.Compose([T.Resize(256), T.CenterCrop(224), T.PILToTensor()])
    assert torch.equal(build_measuring_transform(imagenet.INFO)(image), usual(image))


@pytest.mark.parametrize(("side", "resized"), [(160, 182), (192, 219), (384, 438)])
def test_at_other_sizes_the_same_share_is_kept(side, resized):
    image = _draw(400, 500)
    usual = T.Compose([T.Resize(resized), T.CenterCrop(side), T.PILToTensor()])  # side x 256 / 224, rounded down
    assert torch.equal(build_measuring_transform(_at(imagenet.INFO, side))(image), usual(image))


def test_images_of_the_right_size_are_measured_whole():
    image = _draw(64, 64)
    assert torch.equal(build_measuring_transform(tiny_imagenet.INFO)(image), T.PILToTensor()(image))


def test_small_images_are_resized_whole():
    image = _draw(32, 32)
    seen = build_measuring_transform(_at(cifar10.INFO, 48))(image)
    assert torch.equal(seen, T.PILToTensor()(image.resize((48, 48), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "LA"])
def test_images_of_other_kinds_get_the_data_set_s_channels(mode):
    image = _draw(32, 32).convert(mode)
    for info, channels, converted in ((cifar10.INFO, 3, "RGB"), (_at(mnist.INFO, 32), 1, "L")):
        seen = build_measuring_transform(info)(image)
        assert seen.shape == (channels, 32, 32)
        assert torch.equal(seen, T.PILToTensor()(image.convert(converted)))


def test_a_resized_crop_is_torchvision_s():
    image = _draw(60, 80)
    torch.manual_seed(3)
    usual = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), T.PILToTensor()])(image)
    assert torch.equal(_see(imagenet.INFO, image, seed=3, augment="resized_crop_flip"), usual)


def test_crops_are_of_the_zero_padded_middle():
    image = _draw(32, 32)
    padded = np.pad(np.asarray(image), ((4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 32), axis=(0, 1))
    possible = {window.tobytes() for window in windows.reshape(81, 3, 32, 32)}
    for augment, flips in (("crop", False), ("crop_flip", True)):
        seen = [_see(cifar10.INFO, image, seed, augment=augment, padding=4) for seed in range(40)]
        straight = [tensor.numpy().tobytes() in possible for tensor in seen]
        flipped = [tensor.flip(-1).contiguous().numpy().tobytes() in possible for tensor in seen]
        assert all(one or other for one, other in zip(straight, flipped, strict=True))
        assert all(straight) == (not flips)
        assert len({tensor.numpy().tobytes() for tensor in seen}) > 20


def test_without_augmentation_training_sees_what_measuring_sees():
    image = _draw(300, 280)
    assert torch.equal(_see(imagenet.INFO, image, augment="none"), build_measuring_transform(imagenet.INFO)(image))


def _apply_each(image: Image.Image, magnitude: int) -> list[Image.Image]:
    """What each operation of RandAugment makes of the image, both ways where it has two; by the first generation."""
    space = T.RandAugment()._augmentation_space(31, image.size)
    made = []
    for name, (strength, is_signed) in space.items():
        size = float(strength[magnitude]) if strength.ndim else 0.0
        for sign in (1, -1) if is_signed else (1,):
            made.append(_apply_op(image, name, sign * size, T.InterpolationMode.BILINEAR, None))
    return made


@pytest.mark.parametrize(("operations", "magnitude"), [(1, 0), (1, 9), (1, 30), (2, 9)])
def test_random_operations_are_as_many_and_as_strong_as_asked(operations, magnitude):
    image = _draw(12, 12)
    possible = [image]
    for _ in range(operations):
        possible = [made for one in possible for made in _apply_each(one, magnitude)]
    possible = {made.tobytes() for made in possible}
    fields, info = {"rand_augment": operations, "rand_magnitude": magnitude}, _at(cifar10.INFO, 12)
    seen = [_see(info, image, seed, **fields).permute(1, 2, 0).numpy().tobytes() for seed in range(60)]
    assert {*seen} <= possible
    assert len({*seen}) >= min(10, len(possible))


def test_an_erased_rectangle_is_noise_after_standardising():
    image = _draw(32, 32)
    plain = T.Compose([T.ToTensor(), T.Normalize(cifar10.INFO.mean, cifar10.INFO.std)])(image)
    for seed in range(20):
        seen = _see(cifar10.INFO, image, seed, erasing=1.0)
        erased_HW = (seen != plain).any(dim=0)
        rows, columns = erased_HW.any(dim=1).nonzero(), erased_HW.any(dim=0).nonzero()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert int(erased_HW.sum()) == height * width  # a rectangle
        assert 0.9 * 0.02 <= height * width / 32**2 <= 1.1 / 3  # sides are rounded
        noise = seen[:, erased_HW]
        assert abs(noise.mean()) < 6 / noise.numel() ** 0.5
        assert noise.unique().numel() == noise.numel()


def test_erasing_comes_as_often_as_asked():
    image = _draw(8, 8)
    info = _at(cifar10.INFO, 8)
    plain = _see(info, image, erasing=1e-9)
    changed = sum(not torch.equal(_see(info, image, seed, erasing=0.25), plain) for seed in range(400))
    assert 60 <= changed <= 140  # 100 expected, standard deviation 8.7


def test_transforms_can_be_sent_to_another_process():
    config = _config(augment="resized_crop_flip", rand_augment=2, erasing=0.5)
    transform = build_training_transform(config, imagenet.INFO)
    image = _draw(40, 40)
    seen = []
    for found in (transform, pickle.loads(pickle.dumps(transform))):
        torch.manual_seed(1)
        seen.append(found(image))
    assert torch.equal(*seen)
