"""Teachers that somebody else trained: their tensors under our names, measured on the data set, stored like our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.config import TrialConfig
from kdtrain.evaluate import measure
from kdtrain.images import DataInfo, load_images, load_info_of
from kdtrain.matching import match_weights
from kdtrain.model import build_model, describe_model, load_library, parse_model, without_first_weights
from kdtrain.run import prepare_device
from kdtrain.teachers import has_teacher, load_teacher, name_imported, put_teacher, read_card, replace_card
from kdtrain.weights_file import WeightsFile

_LIBRARY = "torchvision/"
_CLASSES = 1000  # ImageNet's, of which all weights of torchvision's classification models are


def brings_weights(spec: str) -> bool:
    """Whether a model's name asks for weights that torchvision publishes. Raises ValueError where it cannot be read."""
    name, options = parse_model(spec)
    return name.startswith(_LIBRARY) and load_library("torchvision").FIRST_WEIGHTS in options


def check_classes(spec: str, num_classes: int) -> None:
    """Raises ValueError where torchvision's weights are not of as many classes: then the last layer would be new."""
    if num_classes != _CLASSES:
        raise ValueError(
            f"{spec} knows the {_CLASSES:,} classes of ImageNet, the data set has {num_classes:,}\n\n"
            "hint: a teacher that is trained on from there has its training under its own name in `teachers`, such as "
            "{epochs: 30}"
        )


def read_library(config: TrialConfig) -> WeightsFile:
    """torchvision's weights of the config's model, downloaded where torch does not have them yet.

    Raises ValueError where they are not to be had, or are of other classes than the data set's.
    """
    info = load_info_of(config)
    check_classes(config.student, info.num_classes)
    name, options = parse_model(config.student)
    network = build_model(config.student, info.num_classes, info.channels).eval()
    _refuse_settings(network, config, info)
    source = f"torchvision {name.removeprefix(_LIBRARY)} {options['weights']}"
    return WeightsFile(source, None, network.state_dict(), {})


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
    info = load_info_of(config)
    weights = match_weights(file, config.student, info)
    model = describe_model(config.student, info)
    card = {
        "teacher_id": teacher_id,
        "data": config.data,
        "model": config.student,
        "source": file.name if file.sha256 is None else f"imported:{file.name}",
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
    network = load_teacher(weights_dir, teacher_id, load_info_of(config))
    return replace_card(weights_dir, {**card, **_measure(network, config)})


def _load(weights: Mapping[str, Tensor], config: TrialConfig, info: DataInfo) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = build_model(without_first_weights(config.student), info.num_classes, info.channels)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _refuse_settings(network: nn.Module, config: TrialConfig, info: DataInfo) -> None:
    """Raises ValueError where the tensors alone do not give the network's logits: some weights of torchvision switch
    something on in their network too, and a stored teacher is its tensors."""
    image_BCHW = torch.randn(2, info.channels, *info.size, generator=torch.Generator().manual_seed(0))
    if not torch.equal(network(image_BCHW), _load(network.state_dict(), config, info)(image_BCHW)):
        raise ValueError(f"{config.student}: its weights are not all of it, so it cannot be stored as a teacher")


def _measure(network: nn.Module, config: TrialConfig) -> dict[str, float | None]:
    """Top-1 on val and test; None on val where nothing is held out. Raises ValueError where the data are missing."""
    images, device = load_images(config), prepare_device(config)
    network.to(device)
    splits = {"val_top1": images.val, "test_top1": images.test}
    return {
        name: None if split is None else measure(network, split, images.info, workers=config.workers).top1
        for name, split in splits.items()
    }


def _describe_origin(config: TrialConfig, file: WeightsFile, info: DataInfo) -> dict[str, Any]:
    """What is known of weights whose training is not: the file, what it says of itself, how images are fed to it."""
    return {
        "file": file.name,
        "sha256": file.sha256,
        "said": dict(file.said),
        "normalisation": {"scale": 255, "mean": list(info.mean), "std": list(info.std)},
        "image_size": list(info.size),
        "validation": config.validation,
        "split_seed": config.split_seed,
    }
