"""A trained student as two files: its weights as plain tensors, and a card that says what they are.

The weights are those of the network that was measured (see Method.deployed), so they give the numbers on the card.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdtrain.checkpoint import sync_directory
from kdtrain.config import TrialConfig
from kdtrain.images import load_info_of
from kdtrain.method import build_method
from kdtrain.model import canonical_model
from kdtrain.run import build_modules


def export_student(
    stored: Mapping[str, Any], path: Path, *, config: TrialConfig, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes a trial's result to `path` and its card to `path`.json; returns the card.

    `stored`: the checkpoint of the trial's last epoch. `facts`: what else the card shall say. Raises ValueError where
    one of the files exists.
    """
    card_path = name_card(path)
    _check_free(path, card_path)
    network, is_student = _load_network(stored, config)
    weights = _to_bytes({name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()})
    card = {
        **_describe_input(config),
        **_describe_result(stored, config),
        **facts,
        "config": config.identity(),
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "how_to_load": _write_lines(path.name, config, is_student=is_student),
    }
    _write_whole(card_path, json.dumps(card, indent=1, allow_nan=False).encode())  # first: no weights without a card
    _write_whole(path, weights)
    return card


def name_card(path: Path) -> Path:
    """Where the card of exported weights lies."""
    return path.with_name(path.name + ".json")


def build_exported(card: Mapping[str, Any]) -> nn.Module:
    """The network that a card's weights fit, also where a method ships more than the plain student."""
    return _build_network(TrialConfig.from_dict(card["config"]))[0]


def _load_network(stored: Mapping[str, Any], config: TrialConfig) -> tuple[nn.Module, bool]:
    return _build_network(config, stored["best"].get("modules", stored["modules"]))


def _build_network(config: TrialConfig, modules: Mapping[str, Any] | None = None) -> tuple[nn.Module, bool]:
    """What the trial ships, with these weights, and whether that is the plain student."""
    with torch.random.fork_rng(devices=[]):
        student, own, _ = build_modules(config, load_info_of(config))
    if modules is not None:
        student.load_state_dict(modules["student"])
        if own is not None:
            own.load_state_dict(modules["own"])
    network = build_method(config.method, config.settings).deployed(student, own)
    return network, network is student


def _describe_input(config: TrialConfig) -> dict[str, Any]:
    """The model and what it is fed with. Pixels are bytes: over `scale`, then less mean, over std, by channel."""
    info = load_info_of(config)
    height, width = info.size
    return {
        "model": canonical_model(config.student),
        "data": config.data,
        "num_classes": info.num_classes,
        "image": {"channels": info.channels, "height": height, "width": width},
        "normalisation": {"scale": 255, "mean": list(info.mean), "std": list(info.std)},
    }


def _describe_result(stored: Mapping[str, Any], config: TrialConfig) -> dict[str, Any]:
    """Which epoch the weights are of, and what was measured of it; None for a split that was not."""
    measured = {found["split"]: found["top1"] for found in stored["evals"]}
    return {
        "epoch": stored["best"].get("epoch", stored["epoch"]),
        "epoch_rule": config.epoch_rule,
        "val_top1": measured.get("val"),
        "test_top1": measured.get("test"),
    }


def _write_lines(name: str, config: TrialConfig, *, is_student: bool) -> list[str]:
    """Three lines of Python that load the weights where file and card lie."""
    info = load_info_of(config)
    imports = "import torch; from kdtrain.model import build_model"
    build = f"build_model({canonical_model(config.student)!r}, {info.num_classes}, {info.channels})"
    if not is_student:
        imports = "import json; import torch; from kdtrain.export import build_exported"
        build = f"build_exported(json.load(open({name + '.json'!r})))"
    load = f"model.load_state_dict(torch.load({name!r}, weights_only=True)); model.eval()"
    return [imports, f"model = {build}", load]


def _check_free(*paths: Path) -> None:
    for path in paths:
        if not path.parent.is_dir():
            raise ValueError(f"{path}: there is no directory {path.parent}")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ValueError(f"{path}: {path.parent} may not be written to\n\nhint: name another directory")
        if path.exists():
            raise ValueError(f"{path}: exists, and is not overwritten\n\nhint: give another name, or remove it")


def _to_bytes(weights: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def _write_whole(path: Path, data: bytes) -> None:
    """Writes beside and renames: the file is there whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # only there if something above failed
    sync_directory(path.parent)
