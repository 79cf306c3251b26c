"""Measuring what a model offers, without computing with its weights.

On torch's `meta` device a tensor has a shape and no numbers, so the largest network is described within a second or
two, in no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from kdtrain.images import DataInfo
from kdtrain.method import Card

# What weights are made by. Ranges stay real: some networks compute their widths or depths of them.
_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn}


class Weightless(TorchFunctionMode):
    """Inside, a network is made without numbers for its weights."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if func in _MAKERS else kwargs))


def measure_card(network: nn.Module, name: str, *, info: DataInfo) -> Card:
    """What the network offers for one image of the data set, on the device where the network is.

    Raises ValueError where it does not take images of that size.
    """
    network.eval()
    image_BCHW = torch.zeros(1, info.channels, *info.size, device=next(network.parameters()).device)
    with _every_product_seen(), FlopCounterMode(display=False) as counter:
        try:
            outputs = network.outputs(image_BCHW)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(_describe_refusal(name, info, error)) from error
    return Card(
        name=name,
        num_classes=info.num_classes,
        params=sum(parameter.numel() for parameter in network.parameters()),
        macs=counter.get_total_flops() // 2,    # torch counts a multiplication and an addition as two
        pooled_width=outputs.pooled_BD.shape[1],
        map_shapes={name: tuple(map_BDHW.shape[1:]) for name, map_BDHW in outputs.maps.items()},
        has_classifier=isinstance(network.classifier, nn.Linear),
    )


@contextmanager
def _every_product_seen() -> Iterator[None]:
    """Attention as single matrix products: fused into one operation, as torch does on the CPU, it is not counted."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _describe_refusal(name: str, info: DataInfo, error: Exception) -> str:
    height, width = info.size
    first = str(error).strip().partition("\n")[0]
    return (
        f"model {name} does not take images of {info.channels}x{height}x{width}: {first}\n\n"
        "hint: a larger image_size of the trial; transformers for one size have an option, as in "
        "torchvision/vit_b_16(image_size=32)"
    )
