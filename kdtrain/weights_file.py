"""Weights that somebody else trained, read from a file as data: nothing in the file is ever called.

Read are what `torch.save` wrote and safetensors, if that package is there. The tensors may lie in a container, as
HobbitLong/RepDistiller and megvii-research/mdistiller ({"model": ...}), akamaster/pytorch_resnet_cifar10, mmcls and
torch's examples ({"state_dict": ...}) and kuangliu/pytorch-cifar ({"net": ...}) save them, and under the prefixes of
wrappers.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_CONTAINERS = ("model", "state_dict", "net", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.", "student.")  # DataParallel, torch.compile, a distiller of mdistiller
_DEEPEST = 3               # containers inside each other; a file may claim to contain itself
_MOST_SAID = 100           # facts that are kept beside the tensors, and characters of each; chosen by hand
_MOST_CHARACTERS = 200

Plain = int | float | str | bool


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds."""

    name: str                                # of the file, without its directory, or of what is no file
    sha256: str | None                       # of the whole file, 64 hex digits
    tensors: Mapping[str, Tensor]            # by their names there, without the prefixes of wrappers
    said: Mapping[str, Any]                  # what else stands in it as plain values: epoch, accuracy, arguments


def read_weights(path: Path) -> WeightsFile:
    """The tensors of a file. Raises ValueError where it is missing, holds code, or holds no tensors by name."""
    _check_file(path)
    data = path.read_bytes()  # once: what is hashed is what is read
    found = _load_safetensors(data, path) if path.suffix == ".safetensors" else _load_torch(data, path)
    tensors, said = _unpack(found, path)
    return WeightsFile(path.name, hashlib.sha256(data).hexdigest(), _strip_wrappers(tensors), said)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits. Raises ValueError where there is none."""
    _check_file(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path}: is a folder\n\nhint: name the file in it that holds the weights")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")


def _load_torch(data: bytes, path: Path) -> Any:
    # RepDistiller's last checkpoint holds its arguments. A Namespace only holds attributes: it calls nothing when it is
    # built from them, and what it holds is read below as plain values alone.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:  # somebody else's bytes: whatever reading dies of, they are no weights
            raise ValueError(
                f"{path}: cannot be read as weights: {_explain(error)}\n\nhint: if you trust whoever made it, save its "
                "tensors alone where it was made: torch.save(network.state_dict(), file)"
            ) from error


def _explain(error: Exception) -> str:
    """What was wrong with a file, without torch's advice to run the code in it."""
    if (code := re.search(r"GLOBAL (\S+)", str(error))) is not None:
        return f"it refers to `{code[1]}`, and nothing but tensors and plain values is read"
    if "TorchScript" in str(error):
        return "it is TorchScript, which is code"
    return f"it is damaged, or no file of torch.save ({type(error).__name__})"


def _load_safetensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        import safetensors.torch  # an extra
    except ImportError as error:
        raise ValueError(f"{path}: safetensors is not installed\n\nhint: pip install safetensors") from error
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: cannot be read as weights: {error}\n\nhint: it is damaged") from error


def _unpack(found: Any, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors by name, out of their containers, and what else the containers say."""
    said: dict[str, Any] = {}
    for _ in range(_DEEPEST):
        if not isinstance(found, dict):
            raise ValueError(f"{path}: holds a {type(found).__name__}, not tensors by name")
        inside = [key for key in _CONTAINERS if isinstance(found.get(key), dict)]
        if len(inside) > 1:
            raise ValueError(f"{path}: holds several networks: {_join(inside)}\n\nhint: save one of them alone")
        if not inside:
            break
        said |= dict(_list_said(found))
        found = found[inside[0]]
    _refuse_others(found, path)
    return dict(found), said


def _refuse_others(found: Mapping[Any, Any], path: Path) -> None:
    """Raises ValueError unless there are tensors by name and nothing else."""
    others = [key for key, value in found.items() if not isinstance(key, str) or not _is_plain(value)]
    if others or not found:
        known = f"is none of {_join(_CONTAINERS)}" if found else "is empty"
        raise ValueError(
            f"{path}: does not hold tensors by name: {_join(others[:10]) or 'it'} {known}\n\n"
            "hint: save the network alone: torch.save(network.state_dict(), file)"
        )


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor whose numbers lie in memory, one after the other."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized and not value.is_meta


def _list_said(found: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in list(found.items())[:_MOST_SAID]:
        if isinstance(value, argparse.Namespace):
            yield str(key), dict(_list_said(vars(value)))
        elif (plain := _to_plain(value)) is not None:
            yield str(key), plain


def _to_plain(value: Any) -> Plain | None:
    """A number or a short text, of a tensor its only number; else None."""
    if _is_plain(value) and value.numel() == 1 and not value.is_complex():
        value = value.item()
    if isinstance(value, str):
        return value[:_MOST_CHARACTERS]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def _strip_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names without what stands before each of them."""
    while (prefix := next((p for p in _WRAPPERS if all(name.startswith(p) for name in tensors)), None)) is not None:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _join(names: Iterable[Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)
