"""Somebody else's tensors beside those of a network of ours: they fit all, or what does not is listed.

They are told apart by their names alone, see kdtrain/layouts.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from kdtrain.card import Weightless
from kdtrain.images import DataInfo
from kdtrain.layouts import rename
from kdtrain.model import build_model, list_models, parse_model, without_first_weights
from kdtrain.weights_file import WeightsFile

_MOST_LISTED = 20  # tensors of one kind in a message; chosen by hand


def match_weights(file: WeightsFile, spec: str, info: DataInfo) -> dict[str, Tensor]:
    """The file's tensors under our names, in our order and types.

    A count of batches that older files lack is 0. Raises ValueError that lists each tensor that does not fit, or that
    holds a number that is not finite: such a network answers every image alike.
    """
    _refuse_infinite(file)
    expected = _expect(spec, info)
    match = _compare(file.tensors, expected, parse_model(spec)[0])
    if match.is_bad:
        raise ValueError(_describe_misfit(match, file, spec, info))
    found = {name: match.found.get(name, expected[name]) for name in expected}
    return {name: tensor.detach().to(expected[name].dtype).clone() for name, tensor in found.items()}


def _refuse_infinite(file: WeightsFile) -> None:
    broken = [name for name, tensor in file.tensors.items() if not tensor.isfinite().all()]
    if broken:
        what = f"{file.name}: {len(broken)} of its tensors hold numbers that are not finite"
        hint = "its training diverged: take an earlier checkpoint"
        raise ValueError("\n".join([what, *_list("broken", broken)]) + f"\n\nhint: {hint}")


@dataclass(frozen=True)
class _Match:
    """Their tensors beside ours."""

    found: Mapping[str, Tensor]                    # by our names
    missing: tuple[str, ...]                       # our names
    unexpected: tuple[str, ...]                    # their names
    wrong: tuple[tuple[str, Tensor, Tensor], ...]  # their name, the tensor expected, the tensor given

    @property
    def is_bad(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong)


def _expect(spec: str, info: DataInfo) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        return build_model(without_first_weights(spec), info.num_classes, info.channels).state_dict()


def _compare(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], model: str) -> _Match:
    found: dict[str, Tensor] = {}
    unexpected, wrong = [], []
    for theirs, ours in rename(tensors, model, expected).items():
        if ours not in expected or ours in found:
            unexpected.append(theirs)
            continue
        found[ours] = tensors[theirs]
        if not _is_alike(tensors[theirs], expected[ours]):
            wrong.append((theirs, expected[ours], tensors[theirs]))
    # batch norm counts batches since torch 0.4.1, and in evaluation nothing reads the count
    missing = [name for name in expected if name not in found and not name.endswith(".num_batches_tracked")]
    return _Match(found, tuple(missing), tuple(unexpected), tuple(wrong))


def _is_alike(given: Tensor, expected: Tensor) -> bool:
    """The same shape, and both whole numbers or both not: half precision is read too."""
    return given.shape == expected.shape and given.is_floating_point() == expected.is_floating_point()


def _describe_misfit(match: _Match, file: WeightsFile, spec: str, info: DataInfo) -> str:
    counts = {"missing": len(match.missing), "unexpected": len(match.unexpected), "of another shape": len(match.wrong)}
    what = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    wrong = [f"{name}: {_describe(needed)} expected, {_describe(given)} given" for name, needed, given in match.wrong]
    lines = [
        f"{file.name}: does not fit {spec} with {info.num_classes} classes, nothing is imported; tensors: {what}",
        *_list("missing", match.missing), *_list("unexpected", match.unexpected), *_list("shape", wrong),
    ]
    hint = _find_hint(match, file, info)
    return "\n".join(lines) + (f"\n\nhint: {hint}" if hint else "")


def _list(kind: str, items: Iterable[str]) -> list[str]:
    items = list(items)
    more = [f"  {kind} {len(items) - _MOST_LISTED} more"] if len(items) > _MOST_LISTED else []
    return [f"  {kind} {item}" for item in items[:_MOST_LISTED]] + more


def _describe(tensor: Tensor) -> str:
    """`float32 (100, 64)`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _find_hint(match: _Match, file: WeightsFile, info: DataInfo) -> str | None:
    """What the file may be instead."""
    only_shapes = not match.missing and not match.unexpected
    if only_shapes and all(expected.shape[:1] == (info.num_classes,) for _, expected, _ in match.wrong):
        return f"it was trained for {match.wrong[0][2].shape[0]} classes, the data set has {info.num_classes}"
    outlines = {name: _outline(name, info.num_classes, info.channels) for name in list_models()}
    fitting = [name for name, outline in outlines.items() if not _compare(file.tensors, outline, name).is_bad]
    return f"it fits {', '.join(fitting)}" if fitting else None


@cache
def _outline(model: str, num_classes: int, channels: int) -> dict[str, Tensor]:
    """The model's tensors without their numbers. Kept: all models together take seconds."""
    with torch.random.fork_rng(devices=[]), Weightless():
        return build_model(model, num_classes, channels).state_dict()
