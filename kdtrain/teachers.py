"""Teachers: trained like any trial or imported, stored once, verified whenever they are read.

A stored teacher is a directory `<weights_dir>/<teacher_id>/` with `weights.pt` and `card.json`, which holds their
SHA-256. Its id is the hash of what it comes from: a recipe, or a file (kdtrain/imports.py).
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdtrain import checkpoint
from kdtrain.config import TrialConfig, digest
from kdtrain.images import DataInfo
from kdtrain.model import build_model, without_first_weights
from kdtrain.weights_file import hash_file


def name_teacher(config: TrialConfig) -> str:
    """`w` and 16 hex digits of the recipe: data, model, training, seed."""
    return "w" + config.trial_id[1:]


def name_imported(config: TrialConfig, sha256: str | None) -> str:
    """`w` and 16 hex digits of the file, the model, and the images that the teacher is measured on.

    sha256: of the file; None where the model's name says which weights.

    config: what model the file holds, and the data set with its validation split; its training does not count.
    """
    data = {name: config.identity().get(name) for name in ("data", "validation", "split_seed", "image_size")}
    return "w" + digest({"sha256": sha256, "model": config.student, **data})


def has_teacher(weights_dir: Path, teacher_id: str) -> bool:
    """Whether the teacher is stored. Its directory appears whole or not at all."""
    return (weights_dir / teacher_id / "card.json").exists()


def store_teacher(
    weights_dir: Path, config: TrialConfig, *, weights: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """Stores the weights and returns the card. A teacher that is there already stays as it is."""
    card = {
        "teacher_id": name_teacher(config),
        "data": config.data,
        "model": config.student,
        "source": "trained",
        "saw_validation": config.train_on != "train",
        "recipe": config.identity(),
        **facts,
    }
    return put_teacher(weights_dir, card, weights=weights)


def put_teacher(weights_dir: Path, card: Mapping[str, Any], *, weights: dict[str, Any]) -> dict[str, Any]:
    """Stores weights with their card, which gets their hash, and returns it. One that is there stays as it is."""
    teacher_id = card["teacher_id"]
    if has_teacher(weights_dir, teacher_id):
        return read_card(weights_dir, teacher_id)
    staging = weights_dir / f".{teacher_id}.{uuid.uuid4().hex}.part"
    staging.mkdir(parents=True)
    checkpoint.save(staging / "weights.pt", weights)
    card = {**card, "weights_hash": hash_file(staging / "weights.pt")}
    _write_durably(staging / "card.json", json.dumps(card, indent=1))
    try:
        os.rename(staging, weights_dir / teacher_id)
    except OSError:
        if not has_teacher(weights_dir, teacher_id):
            raise
        shutil.rmtree(staging)  # another process stored the same teacher in the meantime
    checkpoint.sync_directory(weights_dir)
    return read_card(weights_dir, teacher_id)


def replace_card(weights_dir: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Puts a card in the place of the teacher's old one, and returns it: more is known of the same weights."""
    path = weights_dir / card["teacher_id"] / "card.json"
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    _write_durably(part, json.dumps(card, indent=1))
    os.replace(part, path)
    checkpoint.sync_directory(path.parent)
    return card


def list_teachers(weights_dir: Path) -> list[dict[str, Any]]:
    """The cards of all stored teachers, by model and data. Their weights are not looked at."""
    cards = [json.loads(path.read_text()) for path in weights_dir.glob("w*/card.json")]
    return sorted(cards, key=lambda card: (card["model"], card["data"], card["teacher_id"]))


def read_card(weights_dir: Path, teacher_id: str) -> dict[str, Any]:
    """The card of a stored teacher. Raises ValueError when its weights were altered."""
    where = weights_dir / teacher_id
    card = json.loads((where / "card.json").read_text())
    found = hash_file(where / "weights.pt")
    if found != card["weights_hash"]:
        raise ValueError(
            f"{where}/weights.pt: the teacher was altered since it was stored: SHA-256 {found[:12]}..., "
            f"its card says {card['weights_hash'][:12]}...\n\nhint: remove {where} to train or import it again"
        )
    return card


def passes_gate(val_top1: float | None, gate: float | None) -> bool:
    """Whether a teacher is good enough for a study; without a gate each is."""
    return gate is None or (val_top1 is not None and val_top1 >= gate)


def load_teacher(weights_dir: Path, teacher_id: str, info: DataInfo) -> nn.Module:
    """The frozen network, in evaluation mode and in the layout that networks train in: another has other last bits.

    Raises ValueError when it is missing or altered.
    """
    if not has_teacher(weights_dir, teacher_id):
        hint = "a study trains or imports its teachers first"
        raise ValueError(f"{weights_dir}: no teacher {teacher_id}\n\nhint: {hint}")
    card = read_card(weights_dir, teacher_id)
    model = build_model(without_first_weights(card["model"]), info.num_classes, info.channels)
    model.load_state_dict(torch.load(weights_dir / teacher_id / "weights.pt", map_location="cpu", weights_only=True))
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _write_durably(path: Path, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
