"""Hearing what parts of a network say while the network runs, without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn


@contextmanager
def keep_outputs(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """A mapping that holds, once the network has run inside the `with`, what each part returned last, by its name."""
    kept: dict[str, Tensor] = {}
    handles = [part.register_forward_hook(partial(_keep_output, kept, name)) for name, part in parts.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def keep_input(part: nn.Module) -> Iterator[list[Tensor]]:
    """A list that holds, once the network has run inside the `with`, what went into the part, call by call."""
    kept: list[Tensor] = []
    handle = part.register_forward_pre_hook(lambda _part, inputs: kept.append(inputs[0]))
    try:
        yield kept
    finally:
        handle.remove()


def _keep_output(
    kept: dict[str, Tensor], name: str, _part: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    kept[name] = output
