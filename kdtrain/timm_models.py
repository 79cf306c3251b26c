"""timm's image models. github.com/huggingface/pytorch-image-models

As they are, with what methods need of them: logits are those of timm's own `forward`. A model's maps are the last one
at each size of the plane, shallow to deep, `stage1` the largest; where the plane never shrinks, as in a vision
transformer, one at each quarter of its depth. They are timm's intermediate features: the deepest is before a last
normalisation or convolution, where there is one.

B batch, D channels, H and W height and width.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType

from torch import Tensor, nn

import kdtrain.torchvision_ops  # noqa: F401  timm imports torchvision, which this makes importable
from kdtrain.listening import keep_input
from kdtrain.method import Outputs

FIRST_WEIGHTS = "pretrained"   # the option that asks for trained weights to begin with
EXAMPLE = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k(pretrained=1)"


def list_names() -> list[str]:
    """timm's names of its models. Raises ValueError where timm is not installed."""
    return _import_timm().list_models()


def find_builder(name: str) -> Callable[..., nn.Module]:
    """What builds the model from a number of classes, of channels, and options. Raises ValueError for a name that
    timm does not have, and where timm is not installed."""
    names = list_names()
    known = [*names, *_import_timm().list_pretrained()]     # the latter with a tag, as in resnet18.a1_in1k
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean `timm/{close[0]}`?" if close else ""
        raise ValueError(
            f"no model `timm/{name}`.{guess}\n\n"
            f"hint: python -c 'import timm; print(timm.list_models())' lists the {len(names):,} known ones"
        )
    return partial(_build, name)


def resolve_options(name: str, options: Mapping[str, int | str]) -> dict[str, int | str]:
    """The options as they are. Raises ValueError for `pretrained` other than 1, or of a model without weights."""
    pretrained = options.get("pretrained", 0)
    if pretrained not in (0, 1):
        raise ValueError(f"model timm/{name}: pretrained {pretrained} is not 1\n\nhint: leave it out for new weights")
    if pretrained and not _import_timm().models.is_model_pretrained(name):
        raise ValueError(f"model timm/{name}: timm has no weights of it\n\nhint: leave out pretrained")
    return dict(options)


class TimmModel(nn.Module):
    """A network of timm, unchanged in `network`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._cuts = _list_cuts(network)

    @property
    def classifier(self) -> nn.Linear | None:
        """The last layer; None where it is not one linear layer."""
        last = self.network.get_classifier()
        return last if isinstance(last, nn.Linear) else None

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """logits_BC."""
        return self.network(image_BCHW)

    def outputs(self, image_BCHW: Tensor) -> Outputs:
        """Logits, what goes into the last layer, and a map of each stage."""
        features, maps = self.network.forward_intermediates(image_BCHW, indices=self._cuts)
        maps = {f"stage{place}": map_BDHW for place, map_BDHW in enumerate(maps, start=1)}
        if self.classifier is None:
            pooled_BD = self.network.forward_head(features, pre_logits=True).flatten(1)
            return Outputs(self.network.forward_head(features), pooled_BD, maps)
        with keep_input(self.classifier) as heard:
            logits_BC = self.network.forward_head(features)
        return Outputs(logits_BC, heard[-1].flatten(1), maps)


def _build(
    name: str, num_classes: int, channels: int, *, pretrained: int = 0, image_size: int | None = None
) -> nn.Module:
    """`image_size`: of models for one size alone, such as vision transformers; None is the model's own."""
    size = {} if image_size is None else {"img_size": image_size}
    try:
        network = _import_timm().create_model(
            name, pretrained=bool(pretrained), num_classes=num_classes, in_chans=channels, **size
        )
    except (OSError, RuntimeError, TypeError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"model timm/{name}: timm cannot build it: {first}") from error
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(f"model timm/{name}: timm gives no feature maps of it\n\nhint: use another model")
    return TimmModel(network)


def _list_cuts(network: nn.Module) -> list[int]:
    """The places, among timm's intermediate features, of a model's maps."""
    shrinks = [int(found["reduction"]) for found in network.feature_info]
    depth = len(shrinks)
    if len(set(shrinks)) == 1:
        return sorted({max(0, depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4)})
    return [place for place in range(depth) if place + 1 == depth or shrinks[place + 1] != shrinks[place]]


def _import_timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ValueError("models of timm: timm is not installed\n\nhint: pip install 'kdsweep[timm]'") from error
    return timm
