"""Tiny trials for tests: real digits, networks of a few thousand weights, milliseconds an epoch."""

import dataclasses
from typing import ClassVar

import torch
from torch import nn

from kdtrain import checkpoint, teachers
from kdtrain.config import TrialConfig
from kdtrain.method import Distillation, Needs
from kdtrain.terms import label_cross_entropy
from kdtrain.train import train

TIMES = ("epoch_seconds", "ended_at", "device_seconds", "wall_seconds", "cpu_seconds", "peak_bytes")


def make_config(**changes):
    """A student on 100 digits for three epochs."""
    small = {
        "data": "digits", "student": "resnet8(width=2)", "validation": 400, "train_images": 100, "augment": "crop",
        "padding": 1, "epochs": 3, "batch_size": 32, "device": "cpu",
    }
    return TrialConfig(**small | changes)


def store_teacher(folder, **changes):
    """Trains and stores a teacher; the fields that a student's config needs to name it."""
    config = make_config(student="resnet8(width=4)", measure_test=True, **changes)
    run = [epoch.run for epoch in train(config)][-1]
    facts = {"params": 1, "macs": 1, "val_top1": run.rows[-1]["val_top1"], "test_top1": None}
    card = teachers.store_teacher(folder, config, weights=run.student.state_dict(), facts=facts)
    return {"teacher": config.student, "teacher_id": card["teacher_id"], "weights_dir": str(folder)}


def finish(config, state=None):
    """The state at the end of a trial."""
    for epoch in train(config, state):
        final = epoch.run.state_dict()
    return final


def run_interrupted(config, path):
    """The same with a stop after every epoch: each epoch in turn is trained by a process that knows only the file."""
    while True:
        stored = checkpoint.load(path) if path.exists() else None
        if stored is not None and stored["epoch"] == config.epochs:
            return stored
        checkpoint.save(path, next(iter(train(config, path if stored else None))).run.state_dict())


def without_times(value):
    """The value without wall-clock figures, tensors as lists: comparable to the last bit."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, (list, tuple)):
        return [without_times(item) for item in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


@dataclasses.dataclass(frozen=True)
class Stateful(Distillation):
    """A method with all that a checkpoint has to keep: own parameters, a buffer, draws of its own, dropout."""

    needs: ClassVar[Needs] = Needs(pooled=True, index=True)
    weight: float = 0.5

    def build(self, student, teacher, num_classes, *, num_images):
        return nn.Sequential(
            nn.Linear(student.pooled_width, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, num_classes)
        )

    def __call__(self, batch, own):
        noise_B = torch.rand(len(batch.label_B), generator=batch.generator)
        auxiliary_B = nn.functional.cross_entropy(own(batch.student.pooled_BD), batch.label_B, reduction="none")
        label_B = nn.functional.cross_entropy(batch.student.logits_BC, batch.label_B, reduction="none")
        assert batch.index_B.shape == batch.label_B.shape
        return {"label": label_B, "auxiliary": self.weight * noise_B * auxiliary_B}


@dataclasses.dataclass(frozen=True)
class Watching(Distillation):
    """Cross-entropy and a term of a method's own network, asking for all there is; keeps the batches that it saw."""

    needs: ClassVar[Needs] = Needs(teacher_logits=True, pooled=True, maps=True, classifier=True, index=True)
    seen: ClassVar[list] = []

    def build(self, student, teacher, num_classes, *, num_images):
        return nn.Linear(student.pooled_width, num_classes)

    def __call__(self, batch, own):
        self.seen.append(batch)
        return {"label": label_cross_entropy(batch), "own": own(batch.student.pooled_BD).square().mean(1)}


class TwoViews(Stateful):
    """Asks for what the loop does not give."""

    needs: ClassVar[Needs] = Needs(views=2)


class Rebuilt(nn.Module):
    """A student whose classifier is another network."""

    def __init__(self, student, head):
        super().__init__()
        self.student, self.head = student, head

    def forward(self, image_BCHW):
        return self.head(self.student.outputs(image_BCHW).pooled_BD)


class ShipsItsHead(Stateful):
    """A method whose own parameters are part of what is measured and shipped."""

    def deployed(self, student, own):
        return Rebuilt(student, own)
