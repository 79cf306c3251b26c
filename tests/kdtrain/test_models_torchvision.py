"""Every classification model of torchvision has a name, a card, maps, and a last layer that methods may use.

torchvision publishes the parameters and multiply-adds (`num_params`, `_ops`) of the network that each of its weights is
for: an independent count.
"""

from __future__ import annotations

import copy
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from kdtrain.card import Weightless
from kdtrain.images import DataInfo
from kdtrain.method import Card
from kdtrain.model import build_model, canonical_model, describe_model, parse_model
from kdtrain.torchvision_models import list_names
from kdtrain.torchvision_ops import torchvision
from tests.kdtrain.batches import make_info

zoo = torchvision.models
NAMES = zoo.list_models(module=zoo)

# The side heads that torchvision counts and that are not built here: Inception's, by hand. A 1x1 convolution of 768 to
# 128 channels, a 5x5 one to 768, their norms, and a linear layer of 768 to 1,000.
SIDE_HEAD = {"inception_v3": 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + 768 * 1000 + 1000}

# One of each kind that is small to compute: the name, and the side of an image.
SMALL = {
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "efficientnet_v2_s": 32,
    "googlenet": 32, "inception_v3": 75, "maxvit_t": 224, "mnasnet0_5": 32, "mobilenet_v2": 32,
    "mobilenet_v3_small": 32, "regnet_y_400mf": 32, "resnet18": 32, "resnext50_32x4d": 32, "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32, "swin_t": 32, "swin_v2_t": 32, "vgg11_bn": 32, "vit_b_32(image_size=64)": 64,
}


def info_of(side: int, num_classes: int = 1000) -> DataInfo:
    return make_info(num_classes, channels=3, size=(side, side))


def find_published(name: str) -> tuple[str, int, dict]:
    """The model's spec, the side of the images, and the figures that torchvision publishes with its first weights."""
    weights = next(iter(zoo.get_model_weights(name)))
    side = weights.transforms.keywords["crop_size"]
    sized = name.startswith("vit_") and side != 224
    return f"torchvision/{name}" + (f"(image_size={side})" if sized else ""), side, weights.meta


@cache
def describe(name: str) -> Card:
    spec, side, _ = find_published(name)
    return describe_model(spec, info_of(side))


def test_the_names_are_torchvision_s():
    assert list_names() == NAMES
    assert len(NAMES) >= 80


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_the_size_that_torchvision_publishes(name):
    card, (spec, _, published) = describe(name), find_published(name)
    assert card.name == spec
    assert card.params + SIDE_HEAD.get(name, 0) == published["num_params"]
    assert card.macs / 1e9 == pytest.approx(published["_ops"], abs=0.0006)  # printed to three digits
    assert card.has_classifier == (not name.startswith("squeezenet"))


@pytest.mark.parametrize("name", NAMES)
def test_each_map_is_smaller_than_the_one_before_save_in_vision_transformers(name):
    sides = [height for _, height, _ in describe(name).map_shapes.values()]
    assert list(describe(name).map_shapes) == [f"stage{place}" for place in range(1, len(sides) + 1)]
    assert len(sides) >= 4
    if name.startswith("vit_"):
        assert len(sides) == 4
        assert len(set(sides)) == 1
    else:
        assert all(deeper <= 0.54 * shallower for shallower, deeper in pairwise(sides))


# channels and side of each map at 224x224, read off the papers' tables
@pytest.mark.parametrize(("name", "pooled", "maps"), [
    ("resnet50", 2048, [(64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7)]),
    ("densenet121", 1024, [(64, 112), (256, 56), (512, 28), (1024, 14), (1024, 7)]),
    ("mobilenet_v2", 1280, [(16, 112), (24, 56), (32, 28), (96, 14), (1280, 7)]),
    ("efficientnet_b0", 1280, [(16, 112), (24, 56), (40, 28), (112, 14), (1280, 7)]),
    ("shufflenet_v2_x1_0", 1024, [(24, 112), (24, 56), (116, 28), (232, 14), (1024, 7)]),
    ("convnext_tiny", 768, [(96, 56), (192, 28), (384, 14), (768, 7)]),
    ("swin_t", 768, [(96, 56), (192, 28), (384, 14), (768, 7)]),
    ("vgg11", 4096, [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14), (512, 7)]),
    ("vit_b_16", 768, [(768, 14), (768, 14), (768, 14), (768, 14)]),
])
def test_maps_are_the_last_ones_at_each_size_of_the_plane(name, pooled, maps):
    card = describe_model(f"torchvision/{name}", info_of(224))
    assert list(card.map_shapes.values()) == [(width, side, side) for width, side in maps]
    assert card.pooled_width == pooled


@pytest.mark.parametrize("name", NAMES)
def test_every_model_runs_forwards_and_backwards(name):
    """On the device without numbers: every step is taken, and the largest take no memory."""
    spec, side, _ = find_published(name)
    with Weightless():
        network = build_model(spec, 10, 3).to("meta")
    outputs = network.outputs(torch.zeros(2, 3, side, side, device="meta"))
    assert outputs.logits_BC.shape == (2, 10)
    outputs.logits_BC.sum().backward()
    assert [path for path, weight in network.named_parameters() if weight.grad is None] == []


def draw_images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spec", SMALL)
def test_one_of_each_kind_computes_what_torchvision_computes(spec):
    """Logits are torchvision's, the last layer makes them of what is pooled, no map is changed by what follows."""
    torch.manual_seed(0)
    network, image_BCHW = build_model(f"torchvision/{spec}", 5, 3).eval(), draw_images(SMALL[spec])
    outputs = network.outputs(image_BCHW)
    assert torch.equal(outputs.logits_BC, network.network(image_BCHW))
    assert torch.equal(outputs.logits_BC, network(image_BCHW))
    card = describe_model(f"torchvision/{spec}", info_of(SMALL[spec], num_classes=5))
    assert card.map_shapes == {name: tuple(map_BDHW.shape[1:]) for name, map_BDHW in outputs.maps.items()}
    assert card.pooled_width == outputs.pooled_BD.shape[1]
    if card.has_classifier:
        assert torch.equal(network.classifier(outputs.pooled_BD), outputs.logits_BC)
    outputs.logits_BC.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())


# where more than a mean over the plane lies between the last map and the last layer
MORE_THAN_A_MEAN = {"alexnet", "convnext_tiny", "maxvit_t", "mobilenet_v3_small", "vgg11_bn"}


@pytest.mark.parametrize("spec", [spec for spec in SMALL if not spec.startswith("vit_")])
def test_the_last_map_is_what_is_pooled(spec):
    """Of vision transformers what is pooled is a token, which the maps leave out."""
    network = build_model(f"torchvision/{spec}", 5, 3).eval()
    pools = [part for part in network.modules() if isinstance(part, nn.AdaptiveAvgPool2d)]
    heard: list[Tensor] = []
    for part in pools:
        part.register_forward_pre_hook(lambda _part, inputs: heard.append(inputs[0]))
    outputs = network.outputs(draw_images(SMALL[spec]))
    last = list(outputs.maps.values())[-1]
    if spec in MORE_THAN_A_MEAN:
        assert any(given.shape == last.shape and torch.equal(given, last) for given in heard)
    else:
        torch.testing.assert_close(outputs.pooled_BD, last.mean((2, 3)))


@pytest.mark.parametrize("spec", ["densenet121", "resnet18", "mobilenet_v2", "swin_t", "vit_b_32(image_size=64)"])
def test_no_map_is_changed_by_what_follows(spec):
    network, image_BCHW = build_model(f"torchvision/{spec}", 5, 3).eval(), draw_images(64)
    copies: dict[str, Tensor] = {}
    for path, part in network.network.named_modules():
        part.register_forward_hook(lambda _part, _inputs, output, path=path: copies.update({path: output.clone()})
                                   if isinstance(output, Tensor) else None)
    maps = network.outputs(image_BCHW).maps
    for name, path in network._cuts.items():
        known = copies[path].relu() if path == "features.norm5" else copies[path]    # DenseNet rectifies it outside
        values = [maps[name].flatten().sort().values, known[:, 1:] if known.ndim == 3 else known]
        assert torch.equal(values[0], values[1].flatten().sort().values)


def test_a_vision_transformer_s_map_has_the_tokens_in_the_image_s_order():
    """A network that only adds: the patch in the second row and first column is told by its own position."""
    network = build_model("torchvision/vit_b_32(image_size=64)", 5, 3).eval()
    encoder = network.network.encoder
    encoder.layers, encoder.ln = nn.Sequential(), nn.Identity()
    nn.init.zeros_(network.network.conv_proj.weight)
    nn.init.zeros_(network.network.conv_proj.bias)
    encoder.pos_embedding.data = torch.arange(5.0).reshape(1, 5, 1).expand(1, 5, 768).clone()
    network._cuts = {"stage4": "encoder.ln"}
    map_BDHW = network.outputs(draw_images(64)).maps["stage4"]
    assert map_BDHW[0, 0].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_network_can_be_copied_and_stored():
    network = build_model("torchvision/shufflenet_v2_x0_5", 5, 3).eval()
    twin = copy.deepcopy(network)
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin(draw_images(32)), network(draw_images(32)))
    plain = zoo.shufflenet_v2_x0_5(num_classes=5)
    assert list(network.state_dict()) == [f"network.{name}" for name in plain.state_dict()]


def test_describing_leaves_torch_s_random_numbers_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    describe_model("torchvision/swin_t", info_of(32))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("spec", "says"), [
    ("torchvision/resnet81", "no model `torchvision/resnet81`. Did you mean `torchvision/resnet18`? Known: torchv"),
    ("torchvision/", "model: 'torchvision/' is not a name"),
    ("torchvision/resnet18(width=4)", "no option of model torchvision/resnet18 `width`. Known: weights"),
    ("torchvision/resnet18(image_size=32)", "no option of model torchvision/resnet18 `image_size`. "),
    ("torchvision/resnet18(weights=3)", "option weights of model torchvision/resnet18: 3 is not the name of weights"),
    ("torchvision/vit_b_16(image_size=big)", "option image_size of model torchvision/vit_b_16: big is not a whole "),
    ("torchvision/resnet18(weights=IMAGENET1K_V9)", "no weights of torchvision/resnet18 `IMAGENET1K_V9`. Did you mean "
     "`IMAGENET1K_V1`? Known: DEFAULT, IMAGENET1K_V1"),
])
def test_a_wrong_spec_is_answered_with_what_would_be_right(spec, says):
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole beginning is compared below
        canonical_model(spec)
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(("spec", "expected"), [
    ("torchvision/resnet18", "torchvision/resnet18"),
    ("torchvision/vit_b_16( image_size=224 )", "torchvision/vit_b_16"),
    ("torchvision/resnet50(weights=DEFAULT)", "torchvision/resnet50(weights=IMAGENET1K_V2)"),
    ("torchvision/vit_b_16(weights=IMAGENET1K_V1, image_size=32)",
     "torchvision/vit_b_16(image_size=32, weights=IMAGENET1K_V1)"),
])
def test_a_model_has_one_canonical_spec(spec, expected):
    assert canonical_model(spec) == expected
    assert canonical_model(expected) == expected
    assert parse_model(expected)[0] == expected.partition("(")[0]


def test_grey_images_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"torchvision/resnet18: takes images of 3 channels, not 1"):
        describe_model("torchvision/resnet18", make_info(10))


@pytest.mark.parametrize(("spec", "side", "says"), [
    ("alexnet", 28, "Output size is too small"),
    ("vit_b_16", 32, "Wrong image height! Expected 224 but got 32!"),
])
def test_images_of_a_size_that_a_model_does_not_take_are_refused_in_a_sentence(spec, side, says):
    with pytest.raises(ValueError, match=says) as error:
        describe_model(f"torchvision/{spec}", info_of(side))
    assert str(error.value).startswith(f"model torchvision/{spec} does not take images of 3x{side}x{side}: ")
