"""How others name the parts of networks that are ours too: rules from their names to ours, one list a family.

A rule names a module there and here. `{...}` stands for a whole number, the same on both sides, or larger here by what
is added to it; `{last}` is the place in our last stage after its blocks. The first rule that fits a name counts. No
tensor is ever matched by its shape or its place in the file: two networks of the same shapes can differ in which is
which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from kdtrain.names import list_modules, load_named

Rules = Mapping[str, str]

# HobbitLong/RepDistiller@eedab9d:models/resnet.py and resnetv2.py, the same in megvii-research/mdistiller@e8c5bb3. The
# shortcut is `downsample` in the first of them, in torchvision and in mmcls; `shortcut` in the second and in
# kuangliu/pytorch-cifar. akamaster/pytorch_resnet_cifar10@4e4f8da:resnet.py has none with parameters.
_RESNET = {
    "conv1": "stages.stem.0",
    "bn1": "stages.stem.1",
    "layer{stage}.{block}.conv1": "stages.stage{stage}.{block}.first",
    "layer{stage}.{block}.bn1": "stages.stage{stage}.{block}.first_norm",
    "layer{stage}.{block}.conv2": "stages.stage{stage}.{block}.second",
    "layer{stage}.{block}.bn2": "stages.stage{stage}.{block}.second_norm",
    "layer{stage}.{block}.conv3": "stages.stage{stage}.{block}.third",
    "layer{stage}.{block}.bn3": "stages.stage{stage}.{block}.third_norm",
    "layer{stage}.{block}.downsample.{part}": "stages.stage{stage}.{block}.shortcut.{part}",
    "layer{stage}.{block}.shortcut.{part}": "stages.stage{stage}.{block}.shortcut.{part}",
    "fc": "classifier",
    "linear": "classifier",
}

# RepDistiller@eedab9d:models/wrn.py, the same in mdistiller
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

# RepDistiller@eedab9d:models/vgg.py, the same in mdistiller; the pooling that begins a stage here stands outside there
_VGG = {"block{stage}.{part}": "stages.stage{stage+1}.{part+1}", "classifier": "classifier"}

# mdistiller@fae6658:mdistiller/models/imagenet/mobilenetv1.py
_MOBILENET_V1 = {
    "model.0.{part}": "stages.stem.{part}",
    "model.1.{part}": "stages.stage1.{part}",
    "model.2.{part}": "stages.stage2.{part}",
    "model.3.{part}": "stages.stage2.{part+6}",
    "model.4.{part}": "stages.stage3.{part}",
    "model.5.{part}": "stages.stage3.{part+6}",
    "model.6.{part}": "stages.stage4.{part}",
    "model.7.{part}": "stages.stage4.{part+6}",
    "model.8.{part}": "stages.stage4.{part+12}",
    "model.9.{part}": "stages.stage4.{part+18}",
    "model.10.{part}": "stages.stage4.{part+24}",
    "model.11.{part}": "stages.stage4.{part+30}",
    "model.12.{part}": "stages.stage5.{part}",
    "model.13.{part}": "stages.stage5.{part+6}",
    "fc": "classifier",
}

# RepDistiller@b13aecc:models/mobilenetv2.py, the same in mdistiller
_MOBILENET_V2 = {
    "conv1.{part}": "stages.stem.{part}",
    "blocks.0.{block}.conv.{part}": "stages.stage1.{block}.inside.{part}",
    "blocks.1.{block}.conv.{part}": "stages.stage1.{block+1}.inside.{part}",
    "blocks.2.{block}.conv.{part}": "stages.stage2.{block}.inside.{part}",
    "blocks.3.{block}.conv.{part}": "stages.stage3.{block}.inside.{part}",
    "blocks.4.{block}.conv.{part}": "stages.stage3.{block+4}.inside.{part}",
    "blocks.5.{block}.conv.{part}": "stages.stage4.{block}.inside.{part}",
    "blocks.6.{block}.conv.{part}": "stages.stage4.{block+3}.inside.{part}",
    "conv2.{part}": "stages.stage4.{last+part}",
    "classifier.0": "classifier",
}

# RepDistiller@eedab9d:models/ShuffleNetv1.py, the same in mdistiller
_SHUFFLENET_V1 = {
    "conv1": "stages.stem.0",
    "bn1": "stages.stem.1",
    "layer{stage}.{block}.conv1": "stages.stage{stage}.{block}.branch.narrow.0",
    "layer{stage}.{block}.bn1": "stages.stage{stage}.{block}.branch.narrow.1",
    "layer{stage}.{block}.conv2": "stages.stage{stage}.{block}.branch.spread.0",
    "layer{stage}.{block}.bn2": "stages.stage{stage}.{block}.branch.spread.1",
    "layer{stage}.{block}.conv3": "stages.stage{stage}.{block}.branch.widen.0",
    "layer{stage}.{block}.bn3": "stages.stage{stage}.{block}.branch.widen.1",
    "linear": "classifier",
}

# RepDistiller@eedab9d:models/ShuffleNetv2.py, the same in mdistiller; the first block of a stage has two sides
_SHUFFLENET_V2 = {
    "conv1": "stages.stem.0",
    "bn1": "stages.stem.1",
    "layer{stage}.0.conv1": "stages.stage{stage}.0.left.0",
    "layer{stage}.0.bn1": "stages.stage{stage}.0.left.1",
    "layer{stage}.0.conv2": "stages.stage{stage}.0.left.2",
    "layer{stage}.0.bn2": "stages.stage{stage}.0.left.3",
    "layer{stage}.0.conv3": "stages.stage{stage}.0.right.0",
    "layer{stage}.0.bn3": "stages.stage{stage}.0.right.1",
    "layer{stage}.0.conv4": "stages.stage{stage}.0.right.3",
    "layer{stage}.0.bn4": "stages.stage{stage}.0.right.4",
    "layer{stage}.0.conv5": "stages.stage{stage}.0.right.5",
    "layer{stage}.0.bn5": "stages.stage{stage}.0.right.6",
    "layer{stage}.{block}.conv1": "stages.stage{stage}.{block}.right.0",
    "layer{stage}.{block}.bn1": "stages.stage{stage}.{block}.right.1",
    "layer{stage}.{block}.conv2": "stages.stage{stage}.{block}.right.3",
    "layer{stage}.{block}.bn2": "stages.stage{stage}.{block}.right.4",
    "layer{stage}.{block}.conv3": "stages.stage{stage}.{block}.right.5",
    "layer{stage}.{block}.bn3": "stages.stage{stage}.{block}.right.6",
    "conv2": "stages.stage3.{last}",
    "bn2": "stages.stage3.{last+1}",
    "linear": "classifier",
}

_RULES: dict[str, Rules] = {  # by the file of kdtrain/models
    "resnet": _RESNET,
    "resnet_a": _RESNET,
    "resnet_deep": _RESNET,
    "wrn": _WRN,
    "vgg": _VGG,
    "mobilenet_v1": _MOBILENET_V1,
    "mobilenet_v2": _MOBILENET_V2,
    "shufflenet_v1": _SHUFFLENET_V1,
    "shufflenet_v2": _SHUFFLENET_V2,
}

_MMCLS = ("backbone.", "head.")  # before every name of an mmcls network, one or the other


def rename(names: Iterable[str], model: str, ours: Iterable[str]) -> dict[str, str]:
    """Their names -> ours, of tensors of the model of this name; a name that no rule knows stays as it is.

    ours: the names of all its tensors here. Names that are ours already are not touched.
    """
    names, ours = list(names), list(ours)
    if set(names) <= set(ours):
        return {name: name for name in names}
    pairs = zip(names, _strip_mmcls(names), strict=True)
    if "/" in model:  # a library's network is here as it is there, inside of ours
        return {name: f"network.{bare}" for name, bare in pairs}
    rules, last = _RULES.get(_find_family(model), {}), _find_last(ours)
    return {name: _rename(bare, rules, last) for name, bare in pairs}


def _rename(name: str, rules: Rules, last: int) -> str:
    """`layer1.0.bn1.weight` -> `stages.stage1.0.first_norm.weight`."""
    part, _, tensor = name.rpartition(".")
    for theirs, our in rules.items():
        if (found := _compile(theirs).fullmatch(part)) is not None:
            numbers = {"last": last, **{key: int(digits) for key, digits in found.groupdict().items()}}
            return f"{_fill(our, numbers)}.{tensor}"
    return name


def _fill(pattern: str, numbers: Mapping[str, int]) -> str:
    """`stage{stage+1}.{part}` with the sums in their places; what is not in `numbers` is a number itself."""

    def add(found: re.Match[str]) -> str:
        return str(sum(numbers[term] if term in numbers else int(term) for term in found[1].split("+")))

    return re.sub(r"\{([\w+]+)\}", add, pattern)


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
