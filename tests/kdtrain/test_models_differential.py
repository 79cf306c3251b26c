"""Our networks compute what independent ones compute: torchvision's with a stem for small images, or a few plain lines.

Every weight and every statistic is drawn at random, so that no part can be missed, and goes over in the order in which
the networks list them. B batch, D channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.model import build_model
from kdtrain.torchvision_ops import torchvision

zoo = torchvision.models


def randomise(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, its norms no identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            low, high = (0.5, 1.5) if name.endswith("running_var") or tensor.ndim == 1 else (-1.0, 1.0)
            scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 1.0
            tensor.uniform_(low * scale, high * scale, generator=generator)
    return network.eval()


def draw_images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def compute(name: str, theirs: nn.Module, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Our logits and theirs, with the same weights."""
    ours, theirs = build_model(name, 10, 3).eval(), randomise(theirs)
    weights = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), weights, strict=True)))
    with torch.no_grad():
        return ours(image_BCHW), theirs(image_BCHW)


def _resnet(name: str) -> nn.Module:
    network = zoo.get_model(name, num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return network


def _vgg(name: str, *, pools: int) -> nn.Module:
    """With so many of the five max-poolings, a mean over the plane and one linear layer."""
    parts = list(zoo.get_model(f"{name}_bn").features)
    places = [place for place, part in enumerate(parts) if isinstance(part, nn.MaxPool2d)]
    kept = [part for place, part in enumerate(parts) if place not in places[pools:]]
    return nn.Sequential(*kept, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def _shufflenet_v2() -> nn.Module:
    network = zoo.ShuffleNetV2([4, 8, 4], [24, 116, 232, 464, 1024], num_classes=10)
    network.conv1[0], network.maxpool = nn.Conv2d(3, 24, 1, bias=False), nn.Identity()
    return network


@pytest.mark.parametrize(("name", "theirs", "side"), [
    ("ResNet18", lambda: _resnet("resnet18"), 32),
    ("ResNet34", lambda: _resnet("resnet34"), 16),
    ("ResNet50", lambda: _resnet("resnet50"), 16),
    ("vgg11", lambda: _vgg("vgg11", pools=3), 32),
    ("vgg13", lambda: _vgg("vgg13", pools=3), 32),
    ("vgg16", lambda: _vgg("vgg16", pools=3), 16),
    ("vgg19", lambda: _vgg("vgg19", pools=4), 64),
    ("ShuffleV2", _shufflenet_v2, 32),
])
def test_a_network_is_torchvision_s_with_another_stem(name, theirs, side):
    own, known = compute(name, theirs(), draw_images(2, 3, side, side))
    assert known.std() > 0.01
    torch.testing.assert_close(own, known, rtol=1e-4, atol=1e-5)


class Weights:
    """A network's weights, taken in order."""

    def __init__(self, network: nn.Module) -> None:
        self._left: Iterator[Tensor] = iter(list(network.state_dict().values()))

    def convolve_norm(self, map_BDHW: Tensor, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = next(self._left)
        map_BDHW = F.conv2d(map_BDHW, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        scale, shift, mean, var, _count = (next(self._left) for _ in range(5))
        return F.batch_norm(map_BDHW, mean, var, scale, shift)

    def classify(self, map_BDHW: Tensor) -> Tensor:
        return F.linear(map_BDHW.mean((2, 3)), next(self._left), next(self._left))


def _resnet20_a(taken: Weights, map_BDHW: Tensor) -> Tensor:
    map_BDHW = taken.convolve_norm(map_BDHW).relu()
    for width in (16, 32, 64):
        for place in range(3):
            down = width > 16 and place == 0
            inner = taken.convolve_norm(map_BDHW, stride=2 if down else 1).relu()
            inner = taken.convolve_norm(inner)
            if down:
                zeros = torch.zeros(len(inner), width // 4, *inner.shape[2:])
                map_BDHW = torch.cat([zeros, map_BDHW[:, :, ::2, ::2], zeros], dim=1)
            map_BDHW = (map_BDHW + inner).relu()
    return taken.classify(map_BDHW)


def _mobilenet_v1(taken: Weights, map_BDHW: Tensor) -> Tensor:
    map_BDHW = taken.convolve_norm(map_BDHW, stride=2).relu()
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        map_BDHW = taken.convolve_norm(map_BDHW, stride=stride, groups=map_BDHW.shape[1]).relu()
        map_BDHW = taken.convolve_norm(map_BDHW).relu()
    return taken.classify(map_BDHW)


def _mobilenet_v2(taken: Weights, map_BDHW: Tensor) -> Tensor:
    map_BDHW = taken.convolve_norm(map_BDHW, stride=2).relu()
    for count, first in ((1, 1), (2, 1), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)):
        for place in range(count):
            inner = taken.convolve_norm(map_BDHW).relu()
            inner = taken.convolve_norm(inner, stride=1 if place else first, groups=inner.shape[1]).relu()
            inner = taken.convolve_norm(inner)
            map_BDHW = map_BDHW + inner if place else inner
    return taken.classify(taken.convolve_norm(map_BDHW).relu())


def _shufflenet_v1(taken: Weights, map_BDHW: Tensor) -> Tensor:
    map_BDHW = taken.convolve_norm(map_BDHW).relu()
    for stage, count in enumerate((4, 8, 4)):
        for place in range(count):
            groups = 1 if stage == place == 0 else 3
            inner = taken.convolve_norm(map_BDHW, groups=groups).relu()
            order = torch.arange(inner.shape[1]).reshape(groups, -1).T.flatten()
            inner = inner[:, order]
            inner = taken.convolve_norm(inner, stride=1 if place else 2, groups=inner.shape[1]).relu()
            inner = taken.convolve_norm(inner, groups=3)
            if place:
                map_BDHW = (inner + map_BDHW).relu()
            else:
                map_BDHW = torch.cat([inner, F.avg_pool2d(map_BDHW, 3, 2, 1)], dim=1).relu()
    return taken.classify(map_BDHW)


@pytest.mark.parametrize(("name", "known"), [
    ("resnet20_a", _resnet20_a),
    ("MobileNetV1", _mobilenet_v1),
    ("MobileNetV2", _mobilenet_v2),
    ("ShuffleV1", _shufflenet_v1),
])
def test_a_network_is_a_few_plain_lines(name, known):
    """Written from the papers and from mdistiller, revision e8c5bb3, and akamaster/pytorch_resnet_cifar10."""
    network, image_BCHW = randomise(build_model(name, 10, 3)), draw_images(2, 3, 32, 32)
    with torch.no_grad():
        expected = known(Weights(network), image_BCHW)
        assert expected.std() > 0.01
        torch.testing.assert_close(network(image_BCHW), expected, rtol=1e-4, atol=1e-5)
