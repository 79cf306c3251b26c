"""Weights under other projects' names give the same logits here as there."""

from functools import partial

import pytest
import torch

from kdtrain.images import load_info
from kdtrain.layouts import rename
from kdtrain.matching import match_weights
from kdtrain.model import build_model
from kdtrain.names import list_modules, load_named
from kdtrain.weights_file import WeightsFile
from tests.kdtrain import foreign_networks as foreign

CIFAR = {"classes": 100, "channels": 3}
NETWORKS = {
    "resnet8": (partial(foreign.draw_resnet, 8, stem=16, stage=16), foreign.run_resnet),
    "resnet20": (partial(foreign.draw_resnet, 20, stem=16, stage=16), foreign.run_resnet),
    "resnet8x4": (partial(foreign.draw_resnet, 8, stem=32, stage=64), foreign.run_resnet),
    "resnet32x4(width=4)": (partial(foreign.draw_resnet, 32, stem=4, stage=8), foreign.run_resnet),
    "resnet20_a": (
        partial(foreign.draw_resnet, 20, stem=16, stage=16, shortcut=None, classifier="linear"), foreign.run_resnet_a
    ),
    "ResNet18(width=8)": (partial(foreign.draw_deep_resnet, (2, 2, 2, 2), width=8), foreign.run_deep_resnet),
    "ResNet34(width=8)": (partial(foreign.draw_deep_resnet, (3, 4, 6, 3), width=8), foreign.run_deep_resnet),
    "ResNet50(width=8)": (
        partial(foreign.draw_deep_resnet, (3, 4, 6, 3), width=8, expansion=4), foreign.run_deep_resnet
    ),
    "wrn_16_1": (partial(foreign.draw_wrn, 16, 1, stem=16), foreign.run_wrn),
    "wrn_16_2": (partial(foreign.draw_wrn, 16, 2, stem=16), foreign.run_wrn),
    "wrn_40_2(width=4)": (partial(foreign.draw_wrn, 40, 2, stem=4), foreign.run_wrn),
    "vgg8(width=8)": (partial(foreign.draw_vgg, (1, 1, 1, 1, 1), width=8), foreign.run_vgg),
    "vgg13(width=8)": (partial(foreign.draw_vgg, (2, 2, 2, 2, 2), width=8), foreign.run_vgg),
    "vgg19(width=8)": (partial(foreign.draw_vgg, (2, 2, 4, 4, 4), width=8), foreign.run_vgg),
    "MobileNetV1(width=8)": (partial(foreign.draw_mobilenet_v1, width=8), foreign.run_mobilenet_v1),
    "MobileNetV2": (foreign.draw_mobilenet_v2, foreign.run_mobilenet_v2),
    "ShuffleV1": (foreign.draw_shufflenet_v1, foreign.run_shufflenet_v1),
    "ShuffleV2": (foreign.draw_shufflenet_v2, foreign.run_shufflenet_v2),
}


def to_file(tensors):
    return WeightsFile("t.pth", "0" * 64, tensors, {})


def run_ours(model, tensors, image_BCHW, data="cifar100"):
    """Logits of our network with these weights."""
    info = load_info(data)
    network = build_model(model, info.num_classes, info.channels)
    network.load_state_dict(match_weights(to_file(tensors), model, info))
    with torch.no_grad():
        return network.eval()(image_BCHW)


@pytest.mark.parametrize("model", NETWORKS)
def test_their_weights_give_their_logits(model):
    draw, run = NETWORKS[model]
    state = draw(**CIFAR)
    image_BCHW = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    theirs_BC = run(state, image_BCHW)
    ours_BC = run_ours(model, state, image_BCHW)
    assert theirs_BC.std() > 0.1
    assert torch.allclose(ours_BC, theirs_BC, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model", NETWORKS)
def test_every_tensor_of_theirs_has_a_place_of_its_own(model):
    """Each filled with its own number: none is lost, none is put at two places."""
    state = NETWORKS[model][0](**CIFAR)
    numbered = {name: torch.full_like(tensor, place) for place, (name, tensor) in enumerate(state.items())}
    fitted = match_weights(to_file(numbered), model, load_info("cifar100"))
    assert sorted(tensor.flatten()[0].item() for tensor in fitted.values()) == list(range(len(state)))
    assert all((tensor == tensor.flatten()[0]).all() for tensor in fitted.values())


@pytest.mark.parametrize(
    ("model", "theirs", "ours"),
    [
        ("resnet8", "conv1.weight", "stages.stem.0.weight"),
        ("resnet8", "layer2.0.downsample.1.running_var", "stages.stage2.0.shortcut.1.running_var"),
        ("resnet8", "layer2.0.shortcut.0.weight", "stages.stage2.0.shortcut.0.weight"),
        ("resnet110", "layer3.17.bn2.bias", "stages.stage3.17.second_norm.bias"),
        ("resnet8", "linear.bias", "classifier.bias"),
        ("wrn_16_2", "bn1.weight", "stages.stage3.2.weight"),
        ("wrn_40_2", "bn1.weight", "stages.stage3.6.weight"),
        ("wrn_40_2", "block1.layer.0.convShortcut.weight", "stages.stage1.0.shortcut.weight"),
        ("resnet8", "layer1x0.conv1.weight", "layer1x0.conv1.weight"),  # a dot is a dot
        ("resnet8", "layer1.a.conv1.weight", "layer1.a.conv1.weight"),
        ("resnet8", "block1.layer.0.bn1.weight", "block1.layer.0.bn1.weight"),  # a rule of another family
        ("tests.kdtrain.trials:Rebuilt", "conv1.weight", "conv1.weight"),       # no family
    ],
)
def test_a_name_of_theirs_and_ours(model, theirs, ours):
    names = build_model(model, 10, 3).state_dict() if ":" not in model else []
    assert rename([theirs], model, names) == {theirs: ours}


def test_every_family_of_models_has_a_network_of_elsewhere():
    families = {get_module(model.partition("(")[0]) for model in NETWORKS}
    assert families == {f"kdtrain.models.{family}" for family in list_modules("kdtrain.models")}


def get_module(name):
    return next(found.__module__ for found in (
        getattr(load_named("family", family, room="kdtrain.models"), name, None)
        for family in list_modules("kdtrain.models")
    ) if found is not None)


def test_torchvision_names_stand_inside_ours():
    ours = build_model("torchvision/resnet18", 1000, 3).state_dict()
    theirs = [name.removeprefix("network.") for name in ours]
    assert "layer1.0.conv1.weight" in theirs
    assert list(rename(theirs, "torchvision/resnet18", ours).values()) == list(ours)
    mmcls = ["head." + name if name.startswith("fc.") else "backbone." + name for name in theirs]
    assert list(rename(mmcls, "torchvision/resnet18", ours).values()) == list(ours)


def test_names_that_are_ours_stay():
    names = list(build_model("wrn_16_1", 10, 3).state_dict())
    assert rename(names, "wrn_16_1", names) == {name: name for name in names}


def test_the_prefixes_of_mmcls_are_left_out():
    names = ["backbone.conv1.weight", "backbone.layer1.0.bn1.bias", "head.fc.weight"]
    ours = ["stages.stem.0.weight", "stages.stage1.0.first_norm.bias", "classifier.weight"]
    assert list(rename(names, "resnet8", ours).values()) == ours


def test_a_name_is_not_cut_where_only_some_begin_so():
    assert rename(["backbone.conv1.weight", "fc.weight"], "resnet8", []) == {
        "backbone.conv1.weight": "backbone.conv1.weight", "fc.weight": "classifier.weight",
    }
