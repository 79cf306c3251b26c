"""The weights that torchvision publishes, read as data and put into a network, whose classes may be others."""

from __future__ import annotations

import pickle
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.torchvision_ops import torchvision

_SIDE_HEADS = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's files of before torchvision 0.3 name `norm.1` what its network names `norm1`
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def load_weights(network: nn.Module, weights: Any, *, last: str) -> None:
    """Puts torchvision's `weights` into the network, which may be for images of another size or for other classes.

    With another number of classes its layer `last` stays as it was drawn. Raises ValueError where the weights are not
    to be had.
    """
    state = _read(weights)
    _rename_old(state)
    _drop_side_heads(state)
    if isinstance(network, torchvision.models.VisionTransformer):
        _fit_positions(network, state)
    if isinstance(network, torchvision.models.GoogLeNet | torchvision.models.Inception3):
        network.transform_input = True  # these weights were trained on images scaled to [-1, 1]
    expected = _drop_misfits(network, state, last)
    found = network.load_state_dict(state, strict=False)
    if set(found.missing_keys) != expected or found.unexpected_keys:
        odd = sorted(set(found.missing_keys) ^ expected) + found.unexpected_keys
        raise ValueError(f"{_find_file(weights)}: not the weights of {weights}: `{odd[0]}` does not fit")


def _read(weights: Any) -> dict[str, Tensor]:
    """The file from torch's cache, downloaded and its hash checked where it is not there yet."""
    try:
        with redirect_stdout(sys.stderr):   # torch says there what it downloads
            return weights.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(
            f"weights {weights}: neither {_find_file(weights)} nor {weights.url} could be read: {first}\n\n"
            "hint: put that file there from a machine with a network, or set TORCH_HOME to where it lies"
        ) from error


def _find_file(weights: Any) -> Path:
    """Where torch looks for the file, and puts it."""
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]


def _rename_old(state: dict[str, Tensor]) -> None:
    for name in list(state):
        renamed = _OLD_DENSE_LAYER.sub(r"\1\2.", name)
        if renamed != name:
            state[renamed] = state.pop(name)


def _drop_side_heads(state: dict[str, Tensor]) -> None:
    for name in [name for name in state if name.startswith(_SIDE_HEADS)]:
        del state[name]


def _fit_positions(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Interpolates the positions to the network's number of patches, in place."""
    fitted = torchvision.models.vision_transformer.interpolate_embeddings(
        network.image_size, network.patch_size, state
    )
    state["encoder.pos_embedding"] = fitted["encoder.pos_embedding"]


def _drop_misfits(network: nn.Module, state: dict[str, Tensor], last: str) -> set[str]:
    """Takes what has another shape than in the network out of the state; the names of those in the last layer."""
    own = network.state_dict()
    misfits = [name for name in own if name in state and state[name].shape != own[name].shape]
    for name in misfits:
        del state[name]
    return {name for name in misfits if name.startswith(f"{last}.")}
