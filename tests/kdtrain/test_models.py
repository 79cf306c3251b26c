"""The models are those of the distillation literature, to the last parameter, and are found by name."""

from __future__ import annotations

import pytest
import torch

from kdtrain.model import build_model, canonical_model, describe_model, list_models, parse_model
from tests.kdtrain.batches import make_info

# Counted on the networks with which the CIFAR-100 distillation tables were made (mdistiller, revision a08d46f), 100
# classes, 32x32: parameters, and millions of multiply-adds to the digit printed.
COUNTS = {
    "resnet8": (83_892, "12.5"),
    "resnet14": (181_108, "26.7"),
    "resnet20": (278_324, "40.8"),
    "resnet32": (472_756, "69.1"),
    "resnet44": (667_188, "97.4"),
    "resnet56": (861_620, "125.8"),
    "resnet110": (1_736_564, "253.2"),
    "resnet8x4": (1_233_540, "177.1"),
    "resnet32x4": (7_433_860, "1083.0"),
    "wrn_16_1": (180_916, "26.7"),
    "wrn_16_2": (703_284, "101.1"),
    "wrn_40_1": (569_780, "83.3"),
    "wrn_40_2": (2_255_156, "327.6"),
}
CIFAR100 = make_info(100, channels=3, size=(32, 32))


def test_every_model_has_a_known_size():
    assert list_models() == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_multiply_adds_are_the_known_ones(name):
    card = describe_model(name, CIFAR100)
    assert (card.params, f"{card.macs / 1e6:.1f}") == COUNTS[name]


@pytest.mark.parametrize(("name", "stem", "widths"), [
    ("resnet20", 16, (16, 32, 64)),
    ("resnet8x4", 32, (64, 128, 256)),
    ("resnet8x4(width=8)", 8, (16, 32, 64)),
    ("wrn_16_2", 16, (32, 64, 128)),
    ("wrn_40_1(width=4)", 4, (4, 8, 16)),
])
def test_a_card_gives_each_map_s_channels_height_and_width(name, stem, widths):
    card = describe_model(name, CIFAR100)
    assert card.map_shapes == {
        "stem": (stem, 32, 32),
        "stage1": (widths[0], 32, 32),
        "stage2": (widths[1], 16, 16),
        "stage3": (widths[2], 8, 8),
    }
    assert card.pooled_width == widths[2]
    assert card.num_classes == 100
    assert card.name == name


def test_describing_a_model_draws_no_random_number():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    describe_model("resnet8", CIFAR100)
    assert torch.equal(torch.rand(1), expected)


def test_convolutions_start_with_the_variance_of_kaiming():
    torch.manual_seed(0)
    weight = build_model("resnet32x4", 100, 3).stages["stage3"][0].first.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)  # fan out: 256 channels of 3x3


def test_where_a_wide_block_changes_the_shape_its_shortcut_reads_the_normalised_map():
    block = build_model("wrn_16_2", 10, 3).stages["stage2"][0].eval()
    torch.nn.init.zeros_(block.first_norm.weight)  # nothing passes the first normalisation
    assert (block(torch.randn(1, 32, 4, 4)) == 0).all()


@pytest.mark.parametrize(("spec", "expected"), [
    ("resnet8", ("resnet8", {})),
    ("resnet8()", ("resnet8", {})),
    (" resnet8 ( width = 4 ) ", ("resnet8", {"width": 4})),
    ("pkg.mod:net(width=4, depth=2)", ("pkg.mod:net", {"width": 4, "depth": 2})),
])
def test_a_spec_is_a_name_and_options(spec, expected):
    assert parse_model(spec) == expected


@pytest.mark.parametrize(("spec", "expected"), [
    ("resnet8( width=4 )", "resnet8(width=4)"),
    ("resnet8(width=16)", "resnet8"),
    ("resnet8x4(width=16)", "resnet8x4(width=16)"),
    ("resnet8x4(width=32)", "resnet8x4"),
])
def test_a_model_has_one_canonical_spec(spec, expected):
    assert canonical_model(spec) == expected


@pytest.mark.parametrize(("spec", "says"), [
    ("resnet9", "no model `resnet9`. Did you mean `resnet8`? Known: resnet110, "),
    ("_build", "no model `_build`. "),
    ("resnet8(widht=4)", "no option of model resnet8 `widht`. Did you mean `width`? Known: width"),
    ("resnet8(width=0)", "model: 'width=0' in 'resnet8(width=0)' is not an option with a whole number from 1"),
    ("resnet8(width=1.5)", "model: 'width=1.5' in "),
    ("resnet8(4)", "model: '4' in "),
    ("resnet8(width=4", "model: 'resnet8(width=4' is not a name"),
    ("resnet8(width=4,width=8)", "model: 'resnet8(width=4,width=8)' gives an option twice"),
    ("nowhere.models:net", "no model `nowhere.models:net`: No module named 'nowhere'"),
    ("kdtrain.staged:net", "no model `kdtrain.staged:net`: `kdtrain.staged` has no `net`"),
    ("kdtrain.staged:__doc__", "no model `kdtrain.staged:__doc__`: it is not a function"),
])
def test_a_wrong_spec_is_answered_with_what_would_be_right(spec, says):
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole beginning is compared below
        canonical_model(spec)
    assert str(error.value).startswith(says)


def own_model(num_classes: int, channels: int, *, width: int = 3) -> torch.nn.Module:
    """A model outside kdtrain."""
    return build_model(f"resnet8(width={width})", num_classes, channels)


def bare_model(num_classes: int, channels: int) -> torch.nn.Module:
    """A model that lacks what methods need."""
    return torch.nn.Linear(channels, num_classes)


def test_a_model_of_one_s_own_is_named_by_module_and_function():
    card = describe_model("tests.kdtrain.test_models:own_model(width=2)", CIFAR100)
    assert card.map_shapes["stage3"] == (8, 8, 8)


def test_a_model_of_one_s_own_without_outputs_is_refused():
    with pytest.raises(ValueError, match="bare_model` has no `outputs`"):
        build_model("tests.kdtrain.test_models:bare_model", 10, 3)
