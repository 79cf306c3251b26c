"""The law that every model obeys, each made narrow so that it is quick."""

from __future__ import annotations

import pytest
import torch

from kdtrain.model import build_model, describe_model, list_models
from tests.kdtrain.batches import make_info

NARROWEST = {"ShuffleV1": 12}   # three groups
every_model = pytest.mark.parametrize("spec", [f"{name}(width={NARROWEST.get(name, 2)})" for name in list_models()])


def _build(spec: str, num_classes: int = 5, channels: int = 3, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(spec, num_classes, channels)


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@every_model
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 7, 12), (1, 1, 1)])
def test_any_image_size_and_number_of_channels_will_do(spec, channels, height, width):
    logits_BC = _build(spec, 5, channels)(_draw(2, channels, height, width))
    assert logits_BC.shape == (2, 5)
    assert logits_BC.isfinite().all()


@every_model
def test_outputs_and_forward_give_the_same_logits(spec):
    network, image_BCHW = _build(spec).eval(), _draw(2, 3, 8, 8)
    outputs = network.outputs(image_BCHW)
    assert torch.equal(outputs.logits_BC, network(image_BCHW))
    assert torch.equal(outputs.logits_BC, network.classifier(outputs.pooled_BD))


@every_model
def test_maps_are_named_in_order_and_the_pooled_features_are_the_last_one_s_mean(spec):
    outputs = _build(spec).eval().outputs(_draw(2, 3, 8, 8))
    names = list(outputs.maps)
    stages = [name for name in names if name != "stem"]
    assert stages == [f"stage{place}" for place in range(1, len(stages) + 1)]
    assert names[0] in ("stem", "stage1")
    torch.testing.assert_close(outputs.pooled_BD, outputs.maps[names[-1]].mean((2, 3)))
    assert (outputs.maps[names[-1]] >= 0).all()


@every_model
def test_a_map_is_never_larger_than_one_before(spec):
    shapes = describe_model(spec, make_info(5, channels=3, size=(32, 32))).map_shapes.values()
    sides = [height for _, height, _ in shapes]
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) >= 3


@every_model
def test_keeping_the_maps_leaves_them_as_they_were(spec):
    """An in-place operation of a later stage must not change the map of an earlier one."""
    network, image_BCHW = _build(spec).eval(), _draw(2, 3, 8, 8)
    map_BDHW = image_BCHW
    kept = network.outputs(image_BCHW).maps
    for name, stage in network.stages.items():
        map_BDHW = stage(map_BDHW).clone()
        assert torch.equal(kept[name], map_BDHW)


@every_model
def test_the_card_is_what_the_network_does(spec):
    card = describe_model(spec, make_info(5, channels=3, size=(8, 8)))
    network = _build(spec)
    outputs = network.eval().outputs(_draw(2, 3, 8, 8))
    assert card.pooled_width == outputs.pooled_BD.shape[1] == network.classifier.in_features
    assert card.map_shapes == {name: tuple(map_BDHW.shape[1:]) for name, map_BDHW in outputs.maps.items()}
    assert card.params == sum(parameter.numel() for parameter in network.parameters())


@every_model
def test_two_classes_are_enough(spec):
    assert _build(spec, num_classes=2)(_draw(2, 3, 8, 8)).shape == (2, 2)


@every_model
def test_a_seed_gives_the_weights(spec):
    first, same, other = _build(spec, seed=3), _build(spec, seed=3), _build(spec, seed=4)
    image_BCHW = _draw(2, 3, 8, 8)
    assert torch.equal(first(image_BCHW), same(image_BCHW))
    assert not torch.equal(first(image_BCHW), other(image_BCHW))


@every_model
def test_weights_stored_and_loaded_give_the_same_logits(spec):
    first, second, image_BCHW = _build(spec, seed=3), _build(spec, seed=4), _draw(4, 3, 8, 8)
    first(image_BCHW)  # in training mode: moves the running statistics, which are stored too
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(image_BCHW), second.eval()(image_BCHW))


@every_model
def test_the_gradient_reaches_every_parameter(spec):
    network = _build(spec)
    network(_draw(4, 3, 8, 8)).square().sum().backward()
    missed = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert missed == []
