"""Which of a method's published settings a pair tries first: those of its own data, or of this very pair.

Publications name models in their own ways: `wrn_40_2`, `ResNet34`, `torchvision/resnet34(...)`. Names are compared
without folder, options, case and underscores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Setting = Mapping[str, Any]
_CIFAR = ("cifar10", "cifar100")


def order_by_data(settings: list[Any], data: str, *, cifar: Setting, imagenet: Setting) -> list[Any]:
    """The settings, those published for this data first; data that nothing was published for leave them as they are."""
    if data in _CIFAR:
        return put_first(cifar, settings)
    return put_first(imagenet, settings) if data == "imagenet" else settings


def put_first(own: Setting | None, settings: list[Any]) -> list[Any]:
    """`own`, where there is one, before all others."""
    if own is None:
        return settings
    return [own, *(given for given in settings if given != own)]


def plain_name(model: str | None) -> str:
    """`torchvision/ResNet_34(width=4)` as `resnet34`."""
    return (model or "").partition("(")[0].strip().rpartition("/")[2].lower().replace("_", "")
