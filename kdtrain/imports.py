"""Teachers that somebody else trained: their tensors under our names, measured on the data set, stored like our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.config import TrialConfig
from kdtrain.evaluate import measure
from kdtrain.images import DataInfo, Split, load_images, load_info
from kdtrain.matching import match_weights
from kdtrain.model import build_model, describe_model
from kdtrain.run import prepare_device
from kdtrain.teachers import has_teacher, name_imported, put_teacher, read_card, replace_card
from kdtrain.weights_file import WeightsFile


def import_teacher(
    weights_dir: Path, config: TrialConfig, file: WeightsFile, *, held_out: bool = False, measured: bool = True
) -> dict[str, Any]:
    """Stores the file's network as a teacher and returns its card, with top-1 on val and test where it is `measured`.

    config: as for `name_imported`, and where the data lie. held_out: whether the validation images were kept from its
    training; without the user's word they were not. A teacher that is stored already is completed. Raises ValueError
    where tensors do not fit, the data are missing, or the stored card says otherwise.
    """
    teacher_id = name_imported(config, file.sha256)
    if has_teacher(weights_dir, teacher_id):
        return complete_teacher(weights_dir, teacher_id, config, held_out=held_out, measured=measured)
    info = load_info(config.data)
    weights = match_weights(file, config.student, info)
    model = describe_model(config.student, info)
    card = {
        "teacher_id": teacher_id,
        "data": config.data,
        "model": config.student,
        "source": f"imported:{file.name}",
        "saw_validation": not held_out,
        "recipe": _describe_origin(config, file, info),
        "params": model.params,
        "macs": model.macs,
        **(_measure(_load(weights, config, info), config) if measured else {"val_top1": None, "test_top1": None}),
    }
    return put_teacher(weights_dir, card, weights=weights)


def complete_teacher(
    weights_dir: Path, teacher_id: str, config: TrialConfig, *, held_out: bool = False, measured: bool = True
) -> dict[str, Any]:
    """The card of an imported teacher that is stored; where it was not measured then, it is now.

    Raises ValueError where it is altered, the data are missing, or it is stored as one that was not `held_out`.
    """
    card = read_card(weights_dir, teacher_id)
    if held_out and card["saw_validation"]:
        raise ValueError(
            f"{weights_dir / teacher_id}: is stored as a teacher that was trained on the validation images\n\n"
            "hint: if it was not, remove that directory and import it again"
        )
    if not measured or card["test_top1"] is not None:
        return card
    info = load_info(config.data)
    weights = torch.load(weights_dir / teacher_id / "weights.pt", map_location="cpu", weights_only=True)
    return replace_card(weights_dir, {**card, **_measure(_load(weights, config, info), config)})


def _load(weights: Mapping[str, Tensor], config: TrialConfig, info: DataInfo) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = build_model(config.student, info.num_classes, info.channels)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _measure(network: nn.Module, config: TrialConfig) -> dict[str, float | None]:
    """Top-1 on val and test; None on val where nothing is held out. Raises ValueError where the data are missing."""
    images, device = load_images(config), prepare_device(config)
    network.to(device)
    splits = {"val_top1": images.val, "test_top1": images.test}
    return {
        name: None if split is None else measure(network, _move(split, device), images.info).top1
        for name, split in splits.items()
    }


def _move(split: Split, device: torch.device) -> Split:
    return replace(split, image_NCHW=split.image_NCHW.to(device), label_N=split.label_N.to(device))


def _describe_origin(config: TrialConfig, file: WeightsFile, info: DataInfo) -> dict[str, Any]:
    """What is known of weights whose training is not: the file, what it says of itself, how images were fed to it."""
    return {
        "file": file.name,
        "sha256": file.sha256,
        "said": dict(file.said),
        "normalisation": {"scale": 255, "mean": list(info.mean), "std": list(info.std)},
        "validation": config.validation,
        "split_seed": config.split_seed,
    }
