"""Models by name: `resnet8`, or `resnet8(width=4)`; `torchvision/swin_t(weights=IMAGENET1K_V1)`, `timm/test_vit`.

A model is a public function of a file in kdtrain/models, or one of your own as `package.module:function`:
`name(num_classes, channels, *, option=default)`. It returns a module whose `forward` gives logits_BC, whose `outputs`
gives kdtrain.method.Outputs, and whose last layer is `classifier`, None where no linear layer is last. Options are
whole numbers from 1; `weights` is a name. `torchvision/<name>` and `timm/<name>` are those libraries' models.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from types import ModuleType

import torch
from torch import nn

from kdtrain.card import Weightless, measure_card
from kdtrain.images import DataInfo
from kdtrain.method import Card
from kdtrain.names import describe_unknown, list_modules, load_named, load_own

_SPEC = re.compile(r"\s*((?:\w+/)?[\w.]+(?::\w+)?)\s*(?:\((.*)\))?\s*")
_OPTION = re.compile(r"\s*([a-z_]\w*)\s*=\s*([1-9]\d*|[A-Za-z_]\w*)\s*")
_LIBRARIES = {"timm": "kdtrain.timm_models", "torchvision": "kdtrain.torchvision_models"}

Option = int | str


def list_models() -> list[str]:
    """The names that a study file may use, besides those of the libraries."""
    return sorted(_model_functions())


def list_libraries() -> list[str]:
    """The libraries whose models are named `<library>/<name>`."""
    return sorted(_LIBRARIES)


def load_library(library: str) -> ModuleType:
    """What knows the library's models: kdtrain/torchvision_models.py or kdtrain/timm_models.py. Raises ValueError."""
    if library not in _LIBRARIES:
        raise ValueError(describe_unknown("library of models", library, _LIBRARIES))
    return importlib.import_module(_LIBRARIES[library])


def parse_model(spec: str) -> tuple[str, dict[str, Option]]:
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
    function, options = _find(name, options)
    return _write(name, options, _defaults(function))


def without_first_weights(spec: str) -> str:
    """The same network, its weights drawn and not loaded: for whoever puts others into it. Raises ValueError."""
    name, options = parse_model(spec)
    if "/" in name:
        options.pop(load_library(name.partition("/")[0]).FIRST_WEIGHTS, None)
    function, options = _find(name, options)
    return _write(name, options, _defaults(function))


def build_model(spec: str, num_classes: int, channels: int) -> nn.Module:
    """The network, its weights drawn from torch's global generator, or loaded where the spec asks for a library's.

    Raises ValueError where the spec is wrong.
    """
    name, options = parse_model(spec)
    function, options = _find(name, options)
    network = function(num_classes, channels, **options)
    for part in ("outputs", "classifier"):
        if not hasattr(network, part):
            raise ValueError(f"model `{name}` has no `{part}`\n\nhint: kdtrain/model.py says what a model has")
    return network


@cache  # the many trials of a process have the same few networks, and a deep one takes a second
def describe_model(spec: str, info: DataInfo) -> Card:
    """What the model offers for one image of the data set. Leaves torch's random numbers as they were.

    Raises ValueError where the spec is wrong or the model does not take such images.
    """
    own = ":" in spec   # whoever wrote it may not have had tensors without numbers in mind
    with torch.random.fork_rng(devices=[]), nullcontext() if own else Weightless():
        network = build_model(without_first_weights(spec), info.num_classes, info.channels)
    return measure_card(network if own else network.to("meta"), canonical_model(spec), info=info)


def _read_option(spec: str, text: str) -> tuple[str, Option]:
    found = _OPTION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"model: {text.strip()!r} in {spec!r} is not an option with a whole number from 1\n\n"
            "hint: write resnet8(width=4)"
        )
    return found[1], int(found[2]) if found[2].isdecimal() else found[2]


def _write(name: str, options: Mapping[str, Option], defaults: Mapping[str, object]) -> str:
    changed = sorted((option, value) for option, value in options.items() if value != defaults[option])
    return f"{name}({', '.join(f'{option}={value}' for option, value in changed)})" if changed else name


def _find(name: str, options: Mapping[str, Option]) -> tuple[Callable[..., nn.Module], dict[str, Option]]:
    """The function that builds the model, and the options that it was checked to have."""
    library, _, inside = name.rpartition("/")
    function = load_library(library).find_builder(inside) if library else _find_function(name)
    defaults = _defaults(function)
    for option, value in options.items():
        if option not in defaults:
            raise ValueError(describe_unknown(f"option of model {name}", option, defaults or ["(none)"]))
        if isinstance(value, str) != (option == "weights" and bool(library)):
            kind = "a whole number from 1" if isinstance(value, str) else "the name of weights"
            raise ValueError(f"option {option} of model {name}: {value} is not {kind}")
    return function, load_library(library).resolve_options(inside, options) if library else dict(options)


def _find_function(name: str) -> Callable[..., nn.Module]:
    if ":" in name:
        function = load_own("model", name)
        if not callable(function):
            raise ValueError(f"no model `{name}`: it is not a function")
        return function
    if name not in _model_functions():
        raise ValueError(describe_unknown("model", name, _model_functions()) + _hint_elsewhere(name))
    return _model_functions()[name]


def _hint_elsewhere(name: str) -> str:
    """The same name in other letters or of torchvision, where there is one."""
    same = [known for known in list_models() if known.lower() == name.lower()]
    same += [f"torchvision/{known}" for known in load_library("torchvision").list_names() if known == name.lower()]
    return f"\n\nhint: there is {' and '.join(same)}" if same else ""


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
