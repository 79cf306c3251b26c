"""timm's models by name, where timm is installed; a sentence where it is not."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from kdtrain.model import build_model, canonical_model, describe_model, without_first_weights
from kdtrain.timm_models import _list_cuts, list_names
from tests.kdtrain.batches import make_info

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra")

# timm's own models for tests, one of each kind: convolutional, both kinds of transformer and of both
TINY = (
    "test_byobnet", "test_coatnet", "test_convnext", "test_efficientnet", "test_mambaout", "test_maxvit", "test_nfnet",
    "test_resnet", "test_vit", "test_vit4",
)


def draw_images(channels: int = 3, side: int = 160) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


@needs_timm
@pytest.mark.parametrize("name", TINY)
def test_a_model_computes_what_timm_computes_and_trains(name):
    torch.manual_seed(0)
    network, image_BCHW = build_model(f"timm/{name}", 5, 3).eval(), draw_images()
    outputs = network.outputs(image_BCHW)
    torch.testing.assert_close(outputs.logits_BC, network.network(image_BCHW))
    torch.testing.assert_close(network.classifier(outputs.pooled_BD), outputs.logits_BC)
    card = describe_model(f"timm/{name}", make_info(5, channels=3, size=(160, 160)))
    assert card.map_shapes == {place: tuple(map_BDHW.shape[1:]) for place, map_BDHW in outputs.maps.items()}
    assert card.pooled_width == outputs.pooled_BD.shape[1]
    assert card.params == sum(weight.numel() for weight in network.parameters())
    assert card.has_classifier
    outputs.logits_BC.square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@pytest.mark.parametrize(("reductions", "cuts"), [
    ([4, 4, 8, 16, 16], [1, 2, 4]),
    ([2, 4], [0, 1]),
    ([16] * 12, [2, 5, 8, 11]),
    ([16] * 6, [0, 2, 3, 5]),
    ([16], [0]),
])
def test_a_map_is_the_last_at_its_size_or_ends_a_quarter_of_the_depth(reductions, cuts):
    network = SimpleNamespace(feature_info=[{"reduction": reduction} for reduction in reductions])
    assert _list_cuts(network) == cuts


@needs_timm
@pytest.mark.parametrize(("name", "pooled", "maps"), [
    ("resnet18", 512, [(64, 112), (64, 56), (128, 28), (256, 14), (512, 7)]),
    ("convnext_tiny", 768, [(96, 56), (192, 28), (384, 14), (768, 7)]),
    ("swin_tiny_patch4_window7_224", 768, [(96, 56), (192, 28), (384, 14), (768, 7)]),
    ("vit_tiny_patch16_224", 192, [(192, 14), (192, 14), (192, 14), (192, 14)]),
])
def test_maps_are_the_last_ones_at_each_size_as_in_torchvision(name, pooled, maps):
    card = describe_model(f"timm/{name}", make_info(10, channels=3, size=(224, 224)))
    assert list(card.map_shapes.values()) == [(width, side, side) for width, side in maps]
    assert card.pooled_width == pooled


@needs_timm
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn", "densenet121"])
def test_a_card_is_as_large_as_torchvision_s_for_the_same_network(name):
    """Two independent writings of one network."""
    info = make_info(1000, channels=3, size=(224, 224))
    ours, theirs = describe_model(f"timm/{name}", info), describe_model(f"torchvision/{name}", info)
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs)


@needs_timm
def test_a_model_whose_last_layer_is_no_linear_one_has_no_classifier():
    network = build_model("timm/dla34", 5, 3).eval()
    outputs = network.outputs(draw_images(side=64))
    torch.testing.assert_close(outputs.logits_BC, network(draw_images(side=64)))
    assert outputs.pooled_BD.shape == (2, 512)
    assert not describe_model("timm/dla34", make_info(5, channels=3, size=(64, 64))).has_classifier


@needs_timm
@pytest.mark.parametrize("name", ["pit_ti_224", "cait_xxs24_224", "vit_tiny_r_s16_p8_224"])
def test_networks_that_pass_weights_around_or_run_while_they_are_made_have_cards_too(name):
    assert describe_model(f"timm/{name}", make_info(5, channels=3, size=(224, 224))).has_classifier


@needs_timm
def test_any_number_of_channels_and_another_image_size_will_do():
    assert build_model("timm/test_vit(image_size=32)", 5, 1)(draw_images(1, 32)).shape == (2, 5)
    assert build_model("timm/test_resnet", 5, 1)(draw_images(1, 32)).shape == (2, 5)


@needs_timm
def test_pretrained_weights_are_loaded_and_the_last_layer_is_new_for_other_classes(monkeypatch):
    import timm

    published = timm.create_model("test_resnet").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_args, **_settings: dict(published))
    network = build_model("timm/test_resnet(pretrained=1)", 5, 3).network
    assert torch.equal(network.conv1[0].weight, published["conv1.0.weight"])
    assert network.get_classifier().out_features == 5


@needs_timm
def test_weights_that_are_nowhere_are_a_sentence(monkeypatch):
    def refuse(*_args: object, **_settings: object) -> None:
        raise FileNotFoundError("no way to the hub\nand more")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(ValueError, match=r"^model timm/test_resnet: timm cannot build it: no way to the hub$"):
        build_model("timm/test_resnet(pretrained=1)", 5, 3)


@needs_timm
def test_describing_a_model_with_weights_needs_no_weights():
    card = describe_model("timm/test_resnet(pretrained=1)", make_info(5, channels=3, size=(32, 32)))
    assert card.name == "timm/test_resnet(pretrained=1)"
    assert without_first_weights("timm/test_resnet.r160_in1k(pretrained=1)") == "timm/test_resnet.r160_in1k"


@needs_timm
@pytest.mark.parametrize(("spec", "says"), [
    ("timm/resnet81", "no model `timm/resnet81`. Did you mean `timm/resnet18`?\n\nhint: python -c "),
    ("timm/resnet18.a9_in1k", "no model `timm/resnet18.a9_in1k`. Did you mean `timm/resnet18.a"),
    ("timm/resnet18(width=3)", "no option of model timm/resnet18 `width`. Known: image_size, pretrained"),
    ("timm/resnet18(pretrained=2)", "model timm/resnet18: pretrained 2 is not 1"),
    ("timm/test_resnet(image_size=32)", "model timm/test_resnet: timm cannot build it: "),
])
def test_a_wrong_spec_is_answered_with_what_would_be_right(spec, says):
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole beginning is compared below
        describe_model(spec, make_info(5, channels=3, size=(32, 32)))
    assert str(error.value).startswith(says)


@needs_timm
def test_a_model_has_one_canonical_spec():
    expected = "timm/test_vit(image_size=32, pretrained=1)"
    assert canonical_model("timm/test_vit( pretrained=1, image_size=32 )") == expected


@pytest.mark.parametrize("ask", [
    list_names,
    lambda: canonical_model("timm/resnet18"),
    lambda: build_model("timm/resnet18", 5, 3),
])
def test_without_timm_a_sentence_says_how_to_install_it(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm is not installed") as error:
        ask()
    assert str(error.value).endswith("\n\nhint: pip install 'kdsweep[timm]'")
