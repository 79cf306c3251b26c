"""Weights that torchvision publishes come from torch's cache, as data, into networks of any number of classes.

The files are generated here, under the names that torchvision's are stored by; nothing is downloaded.
"""

from __future__ import annotations

import pickle
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdtrain.model import build_model, describe_model, without_first_weights
from kdtrain.torchvision_ops import torchvision
from kdtrain.torchvision_weights import load_weights
from tests.kdtrain.batches import make_info

zoo = torchvision.models


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    def refuse(url: str, *_args: object, **_kwargs: object) -> None:
        raise urllib.error.URLError(f"no way to {url}")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path


def find_file(home: Path, weights: object) -> Path:
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / weights.url.rpartition("/")[2]


def publish(home: Path, name: str, *, rename: Callable[[str], str] | None = None, **settings: object) -> nn.Module:
    """torchvision's own network, whose weights lie in the cache as if they had been downloaded.

    `rename`: the names in an old file, which has neither versions nor counts of batches.
    """
    torch.manual_seed(3)
    network = zoo.get_model(name, weights=None, **settings).eval()
    state = network.state_dict()
    if rename is not None:
        state = {rename(key): tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(state, find_file(home, zoo.get_model_weights(name)["IMAGENET1K_V1"]))
    return network


def draw_images(side: int = 32) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def _as_before_0_3(key: str) -> str:
    """`denselayer1.norm1.weight` as `denselayer1.norm.1.weight`."""
    for part in ("norm", "conv"):
        for place in "12":
            key = key.replace(f".{part}{place}.", f".{part}.{place}.") if "denselayer" in key else key
    return key


@pytest.mark.parametrize(("name", "side", "rename", "settings"), [
    ("resnet18", 32, None, {}),
    ("squeezenet1_1", 32, None, {}),
    ("densenet121", 32, _as_before_0_3, {}),
    ("googlenet", 32, None, {"init_weights": False}),
    ("inception_v3", 75, None, {"init_weights": False}),
])
def test_with_weights_a_network_computes_what_torchvision_s_computes(torch_home, name, side, rename, settings):
    publish(torch_home, name, rename=rename, **settings)
    ours = build_model(f"torchvision/{name}(weights=IMAGENET1K_V1)", 1000, 3).eval()
    theirs = zoo.get_model(name, weights="IMAGENET1K_V1").eval()
    with torch.no_grad():
        assert torch.equal(ours(draw_images(side)), theirs(draw_images(side)))


@pytest.mark.parametrize(("name", "last"), [("resnet18", "fc"), ("squeezenet1_1", "classifier.1")])
def test_for_other_classes_the_last_layer_is_new_and_the_rest_is_kept(torch_home, name, last):
    theirs = publish(torch_home, name)
    torch.manual_seed(0)
    ours = build_model(f"torchvision/{name}(weights=IMAGENET1K_V1)", 10, 3)
    torch.manual_seed(0)
    fresh = build_model(f"torchvision/{name}", 10, 3)
    for key, known in theirs.state_dict().items():
        expected = fresh.network.state_dict()[key] if key.startswith(f"{last}.") else known
        assert torch.equal(ours.network.state_dict()[key], expected), key
    assert ours(draw_images()).shape == (2, 10)


def make_transformer(image_size: int) -> nn.Module:
    torch.manual_seed(image_size)
    return zoo.VisionTransformer(image_size, patch_size=32, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16).eval()


def load_transformer(home: Path, state: dict[str, Tensor], *, image_size: int) -> nn.Module:
    """A small transformer with this state from the cache."""
    weights = zoo.ViT_B_32_Weights.IMAGENET1K_V1
    torch.save(state, find_file(home, weights))
    network = make_transformer(image_size)
    load_weights(network, weights, last="heads.head")
    return network


def test_a_vision_transformer_s_file_may_name_its_layers_as_before_torchvision_0_14(torch_home):
    theirs = make_transformer(64)
    with torch.no_grad():
        theirs.heads.head.weight.normal_()  # torchvision starts it at zero
    old = {key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
           for key, tensor in theirs.state_dict().items()}
    ours = load_transformer(torch_home, old, image_size=64)
    assert torch.equal(ours(draw_images(64)), theirs(draw_images(64)))


def test_a_vision_transformer_s_positions_are_interpolated_to_another_image_size(torch_home):
    """A field of positions that rises from row to row rises in a plane of twice the rows too, over the same range."""
    weights = make_transformer(128).state_dict()
    weights["encoder.pos_embedding"][0, 1:] = torch.arange(4.0).repeat_interleave(4)[:, None]
    ours = load_transformer(torch_home, weights, image_size=256)
    rows = ours.encoder.pos_embedding[0, 1:, 0].reshape(8, 8)
    assert torch.allclose(rows, rows[:, :1])
    assert (rows[1:, 0] > rows[:-1, 0]).all()
    assert torch.allclose(rows[[0, -1], 0], torch.tensor([0.0, 3.0]), atol=1e-5)
    assert torch.equal(ours.encoder.pos_embedding[0, 0], weights["encoder.pos_embedding"][0, 0])


def test_describing_a_model_with_weights_needs_no_weights():
    spec = "torchvision/resnet18(weights=IMAGENET1K_V1)"
    card = describe_model(spec, make_info(10, channels=3, size=(32, 32)))
    assert card.name == spec
    assert card.params == 11_689_512 - 990 * 513
    assert without_first_weights(spec) == "torchvision/resnet18"
    assert without_first_weights("torchvision/vit_b_16(weights=DEFAULT, image_size=32)") == (
        "torchvision/vit_b_16(image_size=32)"
    )


def test_weights_that_are_nowhere_are_a_sentence_with_the_file_and_the_address(torch_home, capfd):
    with pytest.raises(ValueError, match="could be read") as error:
        build_model("torchvision/resnet18(weights=IMAGENET1K_V1)", 10, 3)
    assert str(torch_home / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in str(error.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(error.value)
    assert "\n\nhint: put that file there" in str(error.value)
    assert capfd.readouterr().out == ""     # data alone goes to stdout


def test_weights_of_another_network_are_refused(torch_home):
    publish(torch_home, "resnet18")
    other = find_file(torch_home, zoo.ResNet34_Weights.IMAGENET1K_V1)
    find_file(torch_home, zoo.ResNet18_Weights.IMAGENET1K_V1).rename(other)
    with pytest.raises(ValueError, match=r"resnet34-b627a593.pth: not the weights of .*: `layer1.2.bn1"):
        build_model("torchvision/resnet34(weights=IMAGENET1K_V1)", 1000, 3)


def test_weights_without_the_last_layer_are_refused(torch_home):
    state = publish(torch_home, "resnet18").state_dict()
    del state["fc.bias"]
    torch.save(state, find_file(torch_home, zoo.ResNet18_Weights.IMAGENET1K_V1))
    with pytest.raises(ValueError, match=r"`fc\.bias` does not fit"):
        build_model("torchvision/resnet18(weights=IMAGENET1K_V1)", 1000, 3)


def test_weights_of_another_shape_before_the_last_layer_are_refused(torch_home):
    state = publish(torch_home, "resnet18").state_dict()
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"][:, :3]
    torch.save(state, find_file(torch_home, zoo.ResNet18_Weights.IMAGENET1K_V1))
    with pytest.raises(ValueError, match=r"`layer1\.0\.conv1\.weight` does not fit"):
        build_model("torchvision/resnet18(weights=IMAGENET1K_V1)", 10, 3)


class Malice:
    """What runs code where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (Path.touch, (self.trace,))


def test_a_file_that_would_run_code_is_refused(torch_home, tmp_path):
    trace = tmp_path / "was-here"
    torch.save({"fc.weight": Malice(trace)}, find_file(torch_home, zoo.ResNet18_Weights.IMAGENET1K_V1))
    with pytest.raises(ValueError, match="could be read") as error:
        build_model("torchvision/resnet18(weights=IMAGENET1K_V1)", 1000, 3)
    assert isinstance(error.value.__cause__, pickle.UnpicklingError)
    assert not trace.exists()
