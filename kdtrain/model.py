"""Models by name: `resnet8`, or `resnet8(width=4)`; `package.module:function` for one of your own.

A model is a public function of a file in kdtrain/models: `name(num_classes, channels, *, option=default)`. It returns
a module whose `forward` gives logits_BC, whose `outputs` gives kdtrain.method.Outputs, and whose last layer is
`classifier`. Options are whole numbers from 1.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor, nn

from kdtrain.images import DataInfo
from kdtrain.method import Card
from kdtrain.names import describe_unknown, list_modules, load_named, load_own

_SPEC = re.compile(r"\s*([\w.]+(?::\w+)?)\s*(?:\((.*)\))?\s*")
_OPTION = re.compile(r"\s*([a-z_]\w*)\s*=\s*([1-9]\d*)\s*")


def list_models() -> list[str]:
    """The names that a study file may use."""
    return sorted(_model_functions())


def parse_model(spec: str) -> tuple[str, dict[str, int]]:
    """`resnet8(width=4)` as ("resnet8", {"width": 4}). Raises ValueError where it cannot be read so."""
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise ValueError(f"model: {spec!r} is not a name\n\nhint: write resnet8 or resnet8(width=4)")
    name, inside = found.groups()
    pairs = [_read_option(spec, text) for text in inside.split(",")] if inside and inside.strip() else []
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError(f"model: {spec!r} gives an option twice")
    return name, options


def canonical_model(spec: str) -> str:
    """The one way to write this model: options sorted, those at their default left out. Raises ValueError."""
    name, options = parse_model(spec)
    defaults = _defaults(_find(name, options))
    changed = sorted((option, value) for option, value in options.items() if value != defaults[option])
    return f"{name}({', '.join(f'{option}={value}' for option, value in changed)})" if changed else name


def build_model(spec: str, num_classes: int, channels: int) -> nn.Module:
    """The network, its weights drawn from torch's global generator. Raises ValueError where the spec is wrong."""
    name, options = parse_model(spec)
    network = _find(name, options)(num_classes, channels, **options)
    for part in ("outputs", "classifier"):
        if not hasattr(network, part):
            raise ValueError(f"model `{name}` has no `{part}`\n\nhint: kdtrain/model.py says what a model has")
    return network


def describe_model(spec: str, info: DataInfo) -> Card:
    """What the model offers for one image of the data set. Leaves torch's random numbers as they were."""
    with torch.random.fork_rng(devices=[]):
        network = build_model(spec, info.num_classes, info.channels).eval()
    macs: list[int] = []
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(partial(_count_macs, macs))
    with torch.no_grad():
        outputs = network.outputs(torch.zeros(1, info.channels, *info.size))
    return Card(
        name=canonical_model(spec),
        num_classes=info.num_classes,
        params=sum(parameter.numel() for parameter in network.parameters()),
        macs=sum(macs),
        pooled_width=outputs.pooled_BD.shape[1],
        map_shapes={name: tuple(map_BDHW.shape[1:]) for name, map_BDHW in outputs.maps.items()},
    )


def _count_macs(macs: list[int], part: nn.Conv2d | nn.Linear, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Each output element is a sum over one output's weights, and weights are (outputs, all that is summed over)."""
    macs.append(output.numel() * part.weight[0].numel())


def _read_option(spec: str, text: str) -> tuple[str, int]:
    found = _OPTION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"model: {text.strip()!r} in {spec!r} is not an option with a whole number from 1\n\n"
            "hint: write resnet8(width=4)"
        )
    return found[1], int(found[2])


def _find(name: str, options: Mapping[str, int]) -> Callable[..., nn.Module]:
    """The function that builds the model, checked to have the options."""
    if ":" in name:
        function = load_own("model", name)
        if not callable(function):
            raise ValueError(f"no model `{name}`: it is not a function")
    elif name in _model_functions():
        function = _model_functions()[name]
    else:
        raise ValueError(describe_unknown("model", name, _model_functions()))
    for option in options:
        if option not in _defaults(function):
            raise ValueError(describe_unknown(f"option of model {name}", option, _defaults(function) or ["(none)"]))
    return function


def _defaults(function: Callable[..., nn.Module]) -> dict[str, object]:
    """The function's keyword-only arguments and their defaults."""
    arguments = inspect.signature(function).parameters.values()
    return {given.name: given.default for given in arguments if given.kind is inspect.Parameter.KEYWORD_ONLY}


@cache
def _model_functions() -> dict[str, Callable[..., nn.Module]]:
    found = {}
    for family in list_modules("kdtrain.models"):
        module = load_named("model family", family, room="kdtrain.models")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                found[name] = function
    return found
