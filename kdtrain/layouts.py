"""How others name the parts of networks that are ours too: rules from their names to ours, one list a family.

A rule names a module there and here; `{...}` stands for a whole number and is the same on both sides, but for `{last}`,
the place in the last stage after its blocks. No tensor is ever matched by its shape or its place in the file: two
networks of the same shapes can differ in which is which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from kdtrain.names import list_modules, load_named

Rules = Mapping[str, str]

# HobbitLong/RepDistiller@eedab9d:models/resnet.py and megvii-research/mdistiller@e8c5bb3:mdistiller/models/cifar/
# resnet.py; a shortcut is `downsample` there and in torchvision, `shortcut` in kuangliu/pytorch-cifar and
# akamaster/pytorch_resnet_cifar10, where the classifier is `linear`.
_RESNET = {
    "conv1": "stages.stem.0",
    "bn1": "stages.stem.1",
    "layer{stage}.{block}.conv1": "stages.stage{stage}.{block}.first",
    "layer{stage}.{block}.bn1": "stages.stage{stage}.{block}.first_norm",
    "layer{stage}.{block}.conv2": "stages.stage{stage}.{block}.second",
    "layer{stage}.{block}.bn2": "stages.stage{stage}.{block}.second_norm",
    "layer{stage}.{block}.downsample.{part}": "stages.stage{stage}.{block}.shortcut.{part}",
    "layer{stage}.{block}.shortcut.{part}": "stages.stage{stage}.{block}.shortcut.{part}",
    "fc": "classifier",
    "linear": "classifier",
}

# HobbitLong/RepDistiller@eedab9d:models/wrn.py, the same in mdistiller and in xternalz/WideResNet-pytorch.
_WRN = {
    "conv1": "stages.stem",
    "block{stage}.layer.{block}.bn1": "stages.stage{stage}.{block}.first_norm",
    "block{stage}.layer.{block}.conv1": "stages.stage{stage}.{block}.first",
    "block{stage}.layer.{block}.bn2": "stages.stage{stage}.{block}.second_norm",
    "block{stage}.layer.{block}.conv2": "stages.stage{stage}.{block}.second",
    "block{stage}.layer.{block}.convShortcut": "stages.stage{stage}.{block}.shortcut",
    "bn1": "stages.stage3.{last}",
    "fc": "classifier",
}

_RULES: dict[str, Rules] = {"resnet": _RESNET, "wrn": _WRN}  # by the file of kdtrain/models

_MMCLS = ("backbone.", "head.")  # before every name of an mmcls network, one or the other


def rename(names: Iterable[str], model: str, ours: Iterable[str]) -> dict[str, str]:
    """Their names -> ours, of tensors of the model of this name; a name that no rule knows stays as it is.

    ours: the names of all its tensors here. Names that are ours already are not touched.
    """
    names, ours = list(names), list(ours)
    if set(names) <= set(ours):
        return {name: name for name in names}
    rules, last = _RULES.get(_find_family(model), {}), _find_last(ours)
    return {name: _rename(bare, rules, last) for name, bare in zip(names, _strip_mmcls(names), strict=True)}


def _rename(name: str, rules: Rules, last: int) -> str:
    """`layer1.0.bn1.weight` -> `stages.stage1.0.first_norm.weight`."""
    part, _, tensor = name.rpartition(".")
    for theirs, our in rules.items():
        if (found := _compile(theirs).fullmatch(part)) is not None:
            return f"{our.format(last=last, **found.groupdict())}.{tensor}"
    return name


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    """`layer{stage}.{block}` as a regular expression with a group of digits for each number."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(pattern)))


def _find_last(ours: Iterable[str]) -> int:
    """One after the highest block of the last stage; 0 where there are no stages of blocks."""
    found = [re.match(r"stages\.stage(\d+)\.(\d+)\.\w+\.", name) for name in ours]
    places = [(int(place[1]), int(place[2])) for place in found if place is not None]
    return max(places)[1] + 1 if places else 0


def _strip_mmcls(names: list[str]) -> list[str]:
    if not all(name.startswith(_MMCLS) for name in names):
        return names
    return [name.partition(".")[2] for name in names]


def _find_family(model: str) -> str | None:
    """The file of kdtrain/models that has the model; None for one of the user's own."""
    families = list_modules("kdtrain.models")
    return next((name for name in families if hasattr(load_named("family", name, room="kdtrain.models"), model)), None)
