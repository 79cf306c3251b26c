"""The same sweep for both sides of benchmarks/sweep.py: a study file, and the plan of its trials for the usual way."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.image_file import CIFAR_SIZED
from kdtrain.model import build_model
from kdtrain.weights_file import hash_file
from sweeps import study as studies
from sweeps.best import read_planner
from sweeps.importing import import_teachers
from sweeps.launch import WEIGHTS
from sweeps.planner import Planner
from sweeps.study import Arm

DATA = "benchmarks.image_file:CIFAR_SIZED"

_STUDY = """\
study: pair
data: {{name: "{data}", validation: {validation}, train_images: {images}}}
teachers: {{"{teacher}": {{file: "{file}", sha256: {sha256}}}}}
pairs: [{{teacher: "{teacher}", student: "{student}"}}]
methods: [kd]
tune: {{lr: {{log: [0.005, 0.1]}}}}
fix: {{recipe: small, epochs: {epochs}, warmup_epochs: 0}}
search: {{sampler: random, trials_per_arm: {trials}, seed: 0}}
repeat: {{seeds: {seeds}, train_on: train, epoch: last}}
resources: {{max_parallel: {slots}}}
"""
_REPEATED = ("seed", "train_on", "measure_test")     # what a repeat changes of the setting that won


@dataclass(frozen=True)
class Size:
    """How much a pair's sweep trains, and how much of it at once."""

    images: int             # to train on
    trials: int             # of the search
    epochs: int             # of a trial
    seeds: int              # that the best setting is trained on again
    slots: int              # trials at once
    validation: int = 256   # images


def write_study(folder: Path, *, teacher: str, student: str, size: Size) -> Path:
    """The study file of a pair, and beside it the teacher's weights that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "teacher.pt"
    torch.save(draw_teacher(teacher).state_dict(), weights)
    file = folder / "study.yaml"
    named = {"teacher": teacher, "student": student, "file": weights.name, "sha256": hash_file(weights)}
    file.write_text(_STUDY.format(data=DATA, **named, **vars(size)))
    return file


def draw_teacher(model: str) -> torch.nn.Module:
    """A teacher whose answers are finite and differ: random weights, normalised over one batch of noise.

    What it says decides nothing here: asking a good teacher takes as long.
    """
    torch.manual_seed(0)
    info = CIFAR_SIZED.INFO
    network = build_model(model, info.num_classes, info.channels)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the running statistics are then those of what has been seen
    with torch.no_grad():
        network.train()(torch.randn(64, info.channels, *info.size))
    return network


def store_teachers(study_file: Path, results: Path, *, data_root: Path) -> Path:
    """Puts the study's teachers on the shelf of `results`, as `kdsweep teacher import` does, and returns the shelf."""
    weights_dir = results / WEIGHTS
    weights_dir.mkdir(parents=True, exist_ok=True)
    study = studies.load(study_file).at(weights_dir=weights_dir, data_root=data_root)
    for _ in import_teachers(study, weights_dir):
        pass
    return weights_dir


def plan_usual(directory: Path, folder: Path, *, data_root: Path | None, slots: int, workers: int) -> dict[str, Any]:
    """What benchmarks/usual.py is asked to do: the trials of a finished study of ours.

    `folder`: where its teachers' weights lie, or will.
    """
    planner = read_planner(directory)
    planner.study = study = planner.study.at(data_root=data_root)
    stop = study.stop
    for teacher in study.teachers:
        if teacher.origin is not None:
            shutil.copyfile(directory.parent / WEIGHTS / teacher.teacher_id / "weights.pt",
                            _place(folder, teacher.teacher_id))
    return {
        "folder": str(folder),
        "slots": slots,
        "workers": workers,
        "stop": None if stop.rule == "none" else {"epochs": study.epochs, "grace": stop.grace, "eta": stop.eta},
        "teachers": [
            {"config": teacher.config.to_dict(), "save_as": str(_place(folder, teacher.teacher_id))}
            for teacher in study.teachers if teacher.origin is None
        ],
        "arms": [_plan_arm(planner, arm, folder) for arm in study.arms],
    }


def _plan_arm(planner: Planner, arm: Arm, folder: Path) -> dict[str, Any]:
    tuned, repeated = (planner.state.of_arm(stage, arm.arm_id) for stage in ("tune", "repeat"))
    repeats = [planner.build_config(trial) for trial in repeated]
    return {
        "arm": arm.arm_id,
        "teacher_file": None if arm.teacher_id is None else str(_place(folder, arm.teacher_id)),
        "trials": [planner.build_config(trial).to_dict() for trial in tuned],
        "repeats": [{name: getattr(config, name) for name in _REPEATED} for config in repeats],
    }


def _place(folder: Path, teacher_id: str) -> Path:
    return folder / f"{teacher_id}.pt"
