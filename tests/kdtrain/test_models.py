"""The models are those of the distillation literature, to the last parameter, and are found by name."""

from __future__ import annotations

import pytest
import torch

from kdtrain.method import Outputs
from kdtrain.model import build_model, canonical_model, describe_model, list_models, parse_model, without_first_weights
from tests.kdtrain.batches import make_info

# Counted on the networks with which the CIFAR-100 distillation tables were made (mdistiller, revision a08d46f), 100
# classes, 32x32: parameters, and millions of multiply-adds to the digit printed.
CIFAR100_COUNTS = {
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
    "vgg8": (3_965_028, "96.2"),
    "vgg11": (9_277_284, "209.4"),
    "vgg13": (9_462_180, "284.9"),
    "vgg16": (14_774_436, "398.2"),
    "vgg19": (20_086_692, "511.4"),
    "ResNet18": (11_220_132, "555.5"),
    "ResNet34": (21_328_292, "1159.4"),
    "ResNet50": (23_705_252, "1298.0"),
    "MobileNetV2": (812_836, "6.5"),
    "ShuffleV1": (949_258, "38.7"),
    "ShuffleV2": (1_355_528, "44.5"),
}
# He, Zhang, Ren, Sun 2015, table 6, and the README of akamaster/pytorch_resnet_cifar10: millions of parameters at 10
# classes, to the digit printed.
CIFAR10_COUNTS = {
    "resnet20_a": "0.27",
    "resnet32_a": "0.46",
    "resnet44_a": "0.66",
    "resnet56_a": "0.85",
    "resnet110_a": "1.7",
}
CIFAR100 = make_info(100, channels=3, size=(32, 32))


def test_every_model_has_a_known_size():
    assert list_models() == sorted([*CIFAR100_COUNTS, *CIFAR10_COUNTS, "MobileNetV1"])


@pytest.mark.parametrize("name", CIFAR100_COUNTS)
def test_parameters_and_multiply_adds_are_the_known_ones(name):
    card = describe_model(name, CIFAR100)
    assert (card.params, f"{card.macs / 1e6:.1f}") == CIFAR100_COUNTS[name]


@pytest.mark.parametrize("name", CIFAR10_COUNTS)
def test_residual_networks_without_shortcut_parameters_are_as_large_as_the_paper_says(name):
    printed = CIFAR10_COUNTS[name]
    card = describe_model(name, make_info(10, channels=3, size=(32, 32)))
    assert f"{card.params / 1e6:.{len(printed) - 2}f}" == printed


def test_a_shortcut_without_parameters_saves_its_convolutions_and_their_norms():
    saved = describe_model("resnet20", CIFAR100).params - describe_model("resnet20_a", CIFAR100).params
    assert saved == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def test_mobilenet_is_as_large_as_its_paper_says():
    """Howard et al. 2017, table 8: 4.2 million parameters and 569 million multiply-adds at 1,000 classes, 224x224."""
    card = describe_model("MobileNetV1", make_info(1000, channels=3, size=(224, 224)))
    assert (card.params, card.macs) == (4_231_976, 568_740_352)


@pytest.mark.parametrize(("name", "stem", "widths"), [
    ("resnet20", 16, (16, 32, 64)),
    ("resnet20_a", 16, (16, 32, 64)),
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
    assert card.has_classifier


# width of what is pooled, then channels and side of each map at 32x32, as the distillation literature takes them
@pytest.mark.parametrize(("name", "pooled", "maps"), [
    ("vgg8", 512, [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)]),
    ("vgg19(width=8)", 64, [(8, 32), (16, 16), (32, 8), (64, 4), (64, 4)]),
    ("ResNet18", 512, [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]),
    ("ResNet50", 2048, [(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)]),
    ("MobileNetV2", 1280, [(16, 16), (12, 16), (16, 8), (48, 4), (1280, 2)]),
    ("MobileNetV2(width=64)", 2560, [(64, 16), (48, 16), (64, 8), (192, 4), (2560, 2)]),
    ("ShuffleV1", 960, [(24, 32), (240, 16), (480, 8), (960, 4)]),
    ("ShuffleV2", 1024, [(24, 32), (116, 16), (232, 8), (1024, 4)]),
    ("MobileNetV1", 1024, [(32, 16), (64, 16), (128, 8), (256, 4), (512, 2), (1024, 1)]),
])
def test_the_other_families_maps_shrink_with_depth_to_what_is_pooled(name, pooled, maps):
    card = describe_model(name, CIFAR100)
    assert list(card.map_shapes.values()) == [(width, side, side) for width, side in maps]
    assert card.pooled_width == pooled


@pytest.mark.parametrize("spec", ["resnet8", "tests.kdtrain.test_models:own_model"])
def test_describing_a_model_draws_no_random_number(spec):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    describe_model(spec, CIFAR100)
    assert torch.equal(torch.rand(1), expected)


def test_convolutions_start_with_the_variance_of_kaiming():
    torch.manual_seed(0)
    weight = build_model("resnet32x4", 100, 3).stages["stage3"][0].first.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)  # fan out: 256 channels of 3x3


@pytest.mark.parametrize("name", ["vgg8", "MobileNetV2"])
def test_some_families_start_with_small_classifiers_and_no_bias(name):
    """As the networks of the distillation tables do: weights of deviation 0.01."""
    torch.manual_seed(0)
    network = build_model(name, 100, 3)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not network.classifier.bias.any()
    assert all(not part.bias.any() for part in network.modules()
               if isinstance(part, torch.nn.Conv2d) and part.bias is not None)


def test_residual_networks_without_shortcut_parameters_start_with_the_variance_of_fan_in():
    torch.manual_seed(0)
    network = build_model("resnet20_a", 100, 3)
    assert network.stages["stage3"][0].first.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.02)
    assert network.classifier.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)


@pytest.mark.parametrize("name", ["ShuffleV1", "ShuffleV2", "MobileNetV1"])
def test_mobile_families_start_as_torch_draws_them(name):
    """Uniform within one over the root of what is summed over: none is larger, as a normal draw's tail would be."""
    torch.manual_seed(0)
    for part in build_model(name, 10, 3).modules():
        if isinstance(part, torch.nn.Conv2d):
            assert part.weight.abs().max() <= part.weight[0].numel() ** -0.5


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
    ("resnet9", "no model `resnet9`. Did you mean `resnet8`? Known: resnet"),
    ("_build", "no model `_build`. "),
    ("resnet8(width=wide)", "option width of model resnet8: wide is not a whole number from 1"),
    ("resnet8(weights=IMAGENET1K_V1)", "no option of model resnet8 `weights`. Known: width"),
    ("timmy/resnet18", "no library of models `timmy`. Did you mean `timm`? Known: timm, torchvision"),
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


@pytest.mark.parametrize(("spec", "hint"), [
    ("resnet18", "hint: there is ResNet18 and torchvision/resnet18"),
    ("VGG11", "hint: there is vgg11 and torchvision/vgg11"),
    ("swin_t", "hint: there is torchvision/swin_t"),
])
def test_a_name_in_other_letters_or_of_another_place_is_pointed_to(spec, hint):
    with pytest.raises(ValueError, match=r"^no model") as error:
        canonical_model(spec)
    assert str(error.value).endswith(hint)


def test_a_width_that_cannot_be_cut_into_three_groups_is_refused():
    with pytest.raises(ValueError, match="width 8 is not a multiple of 12"):
        describe_model("ShuffleV1(width=8)", CIFAR100)


def test_a_model_that_loads_no_weights_is_the_same_without_them():
    assert without_first_weights("resnet8( width=4 )") == "resnet8(width=4)"


def own_model(num_classes: int, channels: int, *, width: int = 3) -> torch.nn.Module:
    """A model outside kdtrain."""
    return build_model(f"resnet8(width={width})", num_classes, channels)


def bare_model(num_classes: int, channels: int) -> torch.nn.Module:
    """A model that lacks what methods need."""
    return torch.nn.Linear(channels, num_classes)


def test_a_model_of_one_s_own_is_named_by_module_and_function():
    card = describe_model("tests.kdtrain.test_models:own_model(width=2)", CIFAR100)
    assert card.map_shapes["stage3"] == (8, 8, 8)


class Attending(torch.nn.Module):
    """Four tokens of eight numbers, each of which attends to all."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = torch.nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
        self.classifier = torch.nn.Linear(8, num_classes)

    def outputs(self, image_BCHW: torch.Tensor) -> Outputs:
        token_BTD = self.layer(image_BCHW.reshape(len(image_BCHW), 4, 8))
        pooled_BD, map_BDHW = token_BTD.mean(1), token_BTD.transpose(1, 2).unflatten(2, (2, 2))
        return Outputs(self.classifier(pooled_BD), pooled_BD, {"tokens": map_BDHW})


def attending(num_classes: int, channels: int) -> torch.nn.Module:
    return Attending(num_classes)


def test_attention_counts_as_the_matrix_products_that_it_is():
    """By hand: 4 tokens x (3 x 8 x 8 in, 8 x 8 out, 2 x 8 x 16 beside), 2 x 4 x 4 x 8 between tokens, 8 x 5 last."""
    card = describe_model("tests.kdtrain.test_models:attending", make_info(5, channels=2, size=(4, 4)))
    assert card.macs == 4 * (192 + 64 + 256) + 256 + 40


def test_describing_a_model_leaves_torch_s_fused_attention_as_it_was():
    describe_model("resnet8(width=2)", CIFAR100)
    assert torch.backends.mha.get_fastpath_enabled()


def choosy(num_classes: int, channels: int) -> torch.nn.Module:
    """A model that has no room for small images."""
    network = build_model("resnet8(width=2)", num_classes, channels)
    network.stages["stage3"].append(torch.nn.MaxPool2d(20))
    return network


def test_images_that_a_model_does_not_take_are_refused_in_a_sentence():
    says = r"^model tests.kdtrain.test_models:choosy does not take images of 1x8x8: .*\n\nhint: a larger image_size"
    with pytest.raises(ValueError, match=says):
        describe_model("tests.kdtrain.test_models:choosy", make_info(5))


def test_a_model_of_one_s_own_without_outputs_is_refused():
    with pytest.raises(ValueError, match="bare_model` has no `outputs`"):
        build_model("tests.kdtrain.test_models:bare_model", 10, 3)
