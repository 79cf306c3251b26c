"""Views and normalisation equal torchvision's, bit for bit."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from kdtrain.augment import Augment, count_views, normalise
from kdtrain.config import TrialConfig
from kdtrain.images import DataInfo
from kdtrain.torchvision_ops import torchvision

F = torchvision.transforms.functional

CIFAR = DataInfo(100, 3, (32, 32), (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), 1, 1, 0, "none", 0, "made up")
GREY = DataInfo(10, 1, (7, 12), (0.2860,), (0.3530,), 1, 1, 0, "none", 0, "made up")


def _draw_images(info: DataInfo, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, info.channels, *info.size), dtype=torch.uint8, generator=generator)


def _views_by_torchvision(image_CHW: torch.Tensor, info: DataInfo, augment: Augment) -> list[torch.Tensor]:
    """Every view in the order of its number, through PIL, as a data loader would make it."""
    image = Image.fromarray(image_CHW.permute(1, 2, 0).squeeze(-1).numpy())
    padding = 0 if augment.augment == "none" else augment.padding
    padded, offsets = F.pad(image, [padding]), range(2 * padding + 1)
    flips = (False, True) if augment.augment == "crop_flip" else (False,)
    views = []
    for flip in flips:
        for top in offsets:
            for left in offsets:
                view = F.crop(padded, top, left, *info.size)
                view = F.hflip(view) if flip else view
                views.append(F.normalize(F.to_tensor(view), info.mean, info.std))
    return views


@pytest.mark.parametrize(("info", "augment", "num_views"), [
    (CIFAR, Augment("crop_flip", 4), 162),
    (GREY, Augment("crop_flip", 2), 50),
    (GREY, Augment("crop", 1), 9),
    (GREY, Augment("crop_flip", 0), 2),
    (CIFAR, Augment("none", 0), 1),
    (CIFAR, Augment("none", 4), 1),
])
def test_every_view_equals_torchvision_s(info, augment, num_views):
    image_NCHW = _draw_images(info)
    expected_VCHW = torch.stack(_views_by_torchvision(image_NCHW[1], info, augment))
    view_V = torch.arange(num_views)
    gathered_VCHW = augment.gather(image_NCHW, torch.ones_like(view_V), view_V)
    assert augment.num_views == num_views == len(expected_VCHW)
    assert gathered_VCHW.dtype == torch.uint8
    assert torch.equal(normalise(gathered_VCHW, info), expected_VCHW)


@pytest.mark.parametrize("augment", [
    Augment("crop_flip", 4), Augment("crop", 1), Augment("crop_flip", 0), Augment("none", 3)
])
def test_the_middle_view_is_the_image_itself(augment):
    image_NCHW = _draw_images(CIFAR)
    view_N = torch.full((3,), augment.middle_view)
    assert torch.equal(augment.gather(image_NCHW, torch.arange(3), view_N), image_NCHW)


@pytest.mark.parametrize(("fields", "count"), [
    ({}, 1),
    ({"augment": "crop_flip", "padding": 4}, 162),
    ({"augment": "crop", "padding": 1, "mixup": 0.8}, 9),
    ({"augment": "resized_crop_flip"}, None),
    ({"augment": "crop", "rand_augment": 1}, None),
    ({"erasing": 0.1}, None),
])
def test_views_have_numbers_unless_something_has_none(fields, count):
    assert count_views(TrialConfig(data="cifar10", student="resnet8", **fields)) == count


@pytest.mark.parametrize("info", [CIFAR, GREY])
def test_every_grey_level_is_normalised_as_torchvision_does(info):
    level_HW = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    image_CHW = level_HW.expand(info.channels, 16, 16)
    expected_CHW = F.normalize(image_CHW.float() / 255, info.mean, info.std)
    assert torch.equal(normalise(image_CHW[None], info)[0], expected_CHW)


def test_normalising_leaves_the_images_alone():
    image_NCHW = _draw_images(CIFAR)
    before = image_NCHW.clone()
    normalise(image_NCHW, CIFAR)
    assert torch.equal(image_NCHW, before)


def test_one_gather_takes_each_sample_in_its_own_view():
    augment, image_NCHW = Augment("crop_flip", 1), _draw_images(GREY)
    both = augment.gather(image_NCHW, torch.tensor([2, 0, 2]), torch.tensor([4, 13, 0]))
    # of the 9 crops number 4 is the middle one: the image itself; 13 is the same crop, flipped
    assert torch.equal(both[0], image_NCHW[2])
    assert torch.equal(both[1], image_NCHW[0].flip(-1))
    assert torch.equal(both[2, :, 1:, 1:], image_NCHW[2, :, :6, :11])  # number 0 begins in the zeros above and beside
    assert not both[2, :, 0].any()
    assert not both[2, :, :, 0].any()


def test_drawn_views_are_a_function_of_the_generator_and_cover_all_of_them():
    augment = Augment("crop_flip", 1)
    first, second = (augment.draw(2000, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.dtype == torch.int64
    assert torch.equal(first, second)
    assert first.unique().tolist() == list(range(18))


def test_an_unknown_transform_is_refused():
    with pytest.raises(ValueError, match=r"^augment: 'mixup' is none of none, crop, crop_flip$"):
        Augment("mixup", 0)
    with pytest.raises(ValueError, match=r"^padding: -1 is below 0$"):
        Augment("crop", -1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_bits():
    augment, image_NCHW = Augment("crop_flip", 4), _draw_images(CIFAR)
    view_V = torch.arange(162)
    index_V = view_V % 3
    on_cpu = normalise(augment.gather(image_NCHW, index_V, view_V), CIFAR)
    on_cuda = normalise(augment.gather(image_NCHW.cuda(), index_V.cuda(), view_V.cuda()), CIFAR)
    assert torch.equal(on_cuda.cpu(), on_cpu)
