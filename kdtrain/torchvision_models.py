"""torchvision's classification models. github.com/pytorch/vision

As they are, with what methods need of them: logits are those of torchvision's own `forward`. A model's maps are the
last one at each size of the plane, shallow to deep, `stage1` the largest; a vision transformer, whose plane never
shrinks, has one at each quarter of its depth. The deepest is taken right before the mean over the plane (of a vision
transformer: before its class token is used). What counts as pooled is what goes into the last linear layer, after
dropout while training.

B batch, T tokens, D channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from kdtrain.listening import keep_input, keep_outputs
from kdtrain.method import Outputs
from kdtrain.names import describe_unknown
from kdtrain.torchvision_ops import torchvision

FIRST_WEIGHTS = "weights"   # the option that names trained weights to begin with
EXAMPLE = "torchvision/vit_b_16(image_size=384, weights=IMAGENET1K_V1)"

_zoo = torchvision.models
_LISTING = "python -c 'from kdtrain.torchvision_models import list_names; print(*list_names())'"
_WITHOUT_SIDE_HEADS = {"aux_logits": False, "init_weights": True}   # drawn as in the papers, without a warning

# where a map is taken, by torchvision's names of a network's parts; other classes are cut by `_list_cuts`
_CUTS = {
    _zoo.ConvNeXt: ("features.1", "features.3", "features.5", "features.7"),
    # norm5 is rectified in place before it is pooled
    _zoo.DenseNet: ("features.relu0", *(f"features.denseblock{place}" for place in (1, 2, 3)), "features.norm5"),
    _zoo.GoogLeNet: ("conv1", "conv3", "inception3b", "inception4e", "inception5b"),
    _zoo.Inception3: ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
    _zoo.MaxVit: ("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3"),
    _zoo.RegNet: ("stem", *(f"trunk_output.block{place}" for place in (1, 2, 3, 4))),
    _zoo.ResNet: ("relu", "layer1", "layer2", "layer3", "layer4"),
    _zoo.ShuffleNetV2: ("conv1", "maxpool", "stage2", "stage3", "conv5"),
    _zoo.SwinTransformer: ("features.1", "features.3", "features.5", "norm"),
}


def list_names() -> list[str]:
    """torchvision's names of its classification models."""
    return _zoo.list_models(module=_zoo)


def find_builder(name: str) -> Callable[..., nn.Module]:
    """What builds the model from a number of classes, of channels, and options. Raises ValueError for a name that
    torchvision does not have."""
    if name not in list_names():
        known = [f"torchvision/{known}" for known in list_names()]
        raise ValueError(describe_unknown("model", f"torchvision/{name}", known, listing=_LISTING))
    if name.startswith(("vit_", "maxvit_")):
        return partial(_build_sized, name)
    return partial(_build, name)


def resolve_options(name: str, options: Mapping[str, int | str]) -> dict[str, int | str]:
    """The options with the weights' own name for an alias such as DEFAULT. Raises ValueError for unknown weights."""
    if "weights" not in options:
        return dict(options)
    known = _zoo.get_model_weights(name).__members__
    if options["weights"] not in known:
        raise ValueError(describe_unknown(f"weights of torchvision/{name}", options["weights"], known))
    return {**options, "weights": known[options["weights"]].name}


class TorchvisionModel(nn.Module):
    """A network of torchvision, unchanged in `network`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._last = find_last(network)
        self._cuts = {f"stage{place}": path for place, path in enumerate(_list_cuts(network), start=1)}

    @property
    def classifier(self) -> nn.Linear | None:
        """The last layer; None for SqueezeNet, whose last layer is a convolution."""
        last = self.network.get_submodule(self._last)
        return last if isinstance(last, nn.Linear) else None

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """logits_BC."""
        return self.network(image_BCHW)

    def outputs(self, image_BCHW: Tensor) -> Outputs:
        """Logits, what goes into the last layer (of SqueezeNet its mean over the plane), and a map of each stage."""
        parts = {name: self.network.get_submodule(path) for name, path in self._cuts.items()}
        with keep_outputs(parts) as kept, keep_input(self.network.get_submodule(self._last)) as heard:
            logits_BC = self.network(image_BCHW)
        pooled = heard[-1]
        maps = {name: _to_map(self.network, kept[name]) for name in parts}
        return Outputs(logits_BC, pooled.mean((2, 3)) if pooled.ndim == 4 else pooled, maps)


def find_last(network: nn.Module) -> str:
    """The path of the layer that gives the logits."""
    last = nn.Conv2d if isinstance(network, _zoo.SqueezeNet) else nn.Linear
    return [path for path, part in network.named_modules() if isinstance(part, last)][-1]


def _build(name: str, num_classes: int, channels: int, *, weights: str | None = None) -> nn.Module:
    sideless = _WITHOUT_SIDE_HEADS if name in ("googlenet", "inception_v3") else {}
    return _complete(name, num_classes, channels, weights=weights, settings=sideless)


def _build_sized(
    name: str, num_classes: int, channels: int, *, weights: str | None = None, image_size: int = 224
) -> nn.Module:
    """A transformer for images of one size, square."""
    size = {"image_size": image_size} if name.startswith("vit_") else {"input_size": (image_size, image_size)}
    return _complete(name, num_classes, channels, weights=weights, settings=size)


def _complete(
    name: str, num_classes: int, channels: int, *, weights: str | None, settings: Mapping[str, object]
) -> nn.Module:
    if channels != 3:
        raise ValueError(
            f"model torchvision/{name}: takes images of 3 channels, not {channels}\n\n"
            "hint: the project's own models and timm's take any number"
        )
    network = _zoo.get_model(name, weights=None, num_classes=num_classes, **settings)
    if weights is not None:
        from kdtrain.torchvision_weights import load_weights

        load_weights(network, _zoo.get_model_weights(name)[weights], last=find_last(network))
    return TorchvisionModel(network)


def _list_cuts(network: nn.Module) -> list[str]:
    """The paths of the parts whose outputs are maps."""
    if isinstance(network, _zoo.VisionTransformer):
        depth = len(network.encoder.layers)
        inner = [f"encoder.layers.encoder_layer_{depth * quarter // 4 - 1}" for quarter in (1, 2, 3)]
        return [*inner, "encoder.ln"]
    if (cuts := _CUTS.get(type(network))) is not None:
        return list(cuts)
    chain = "layers" if isinstance(network, _zoo.MNASNet) else "features"
    parts = list(network.get_submodule(chain))
    return [f"{chain}.{place}" for place in range(len(parts)) if place + 1 == len(parts) or _shrinks(parts[place + 1])]


def _shrinks(part: nn.Module) -> bool:
    """Whether the plane is smaller after the part."""
    strided = (inner for inner in part.modules() if isinstance(inner, nn.Conv2d | nn.MaxPool2d))
    return any(inner.stride not in (1, (1, 1)) for inner in strided)


def _to_map(network: nn.Module, output: Tensor) -> Tensor:
    """map_BDHW of what a part returned."""
    if isinstance(network, _zoo.SwinTransformer):
        return output.permute(0, 3, 1, 2)
    if isinstance(network, _zoo.VisionTransformer):
        side = network.image_size // network.patch_size
        token_BTD = output[:, 1:]   # the first is the class token
        return token_BTD.transpose(1, 2).unflatten(2, (side, side))
    return output
