"""A teacher that was really trained, in the layout that another project would have saved it in."""

import torch

from kdtrain.train import train
from tests.kdtrain.trials import make_config

_THEIRS = {  # ours -> RepDistiller's
    "stages.stem.0": "conv1", "stages.stem.1": "bn1", "stages.stage": "layer", "first_norm": "bn1", "first": "conv1",
    "second_norm": "bn2", "second": "conv2", "shortcut": "downsample", "classifier": "fc",
}


def train_foreign(**changes):
    """A network of ours after ten epochs on digits, and its weights under RepDistiller's names."""
    config = make_config(student="resnet8(width=4)", measure_test=True, epochs=10, train_images=300, **changes)
    run = [epoch.run for epoch in train(config)][-1]
    return run, {to_theirs(name): tensor.clone() for name, tensor in run.student.state_dict().items()}


def to_theirs(name):
    for ours, theirs in _THEIRS.items():
        name = name.replace(ours, theirs)
    return name


def save_foreign(path, tensors):
    """As RepDistiller's train_teacher.py saves its last checkpoint, from several GPUs."""
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"epoch": 240, "accuracy": torch.tensor(79.42), "model": wrapped, "optimizer": {"state": {}}}, path)
    return path
