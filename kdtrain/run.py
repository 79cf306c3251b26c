"""A trial's live state: what the loop trains, what a checkpoint keeps, how both come from a TrialConfig.

N train images, C classes.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.config import TrialConfig
from kdtrain.feed import GatheredFeed, StreamedFeed, build_feed
from kdtrain.images import DataInfo, Images, load_images
from kdtrain.method import Card, Distillation, Needs, Outputs, asks_teacher, build_method
from kdtrain.model import build_model, describe_model
from kdtrain.optim import build_optimizer, load_optimizer
from kdtrain.precision import build_scaler, check_precision, name_arithmetic
from kdtrain.randomness import derive_seed
from kdtrain.teacher_pass import TeacherPass, build_teacher_pass, is_gathered

Ask = Callable[[Tensor], Outputs]
"""image_BCHW -> what a network says of the images, with features only where the trial's method needs them."""


@dataclass
class Run:
    """A trial's live state and everything the loop needs beside it."""

    config: TrialConfig
    device: torch.device
    images: Images
    feed: GatheredFeed | StreamedFeed
    method: Distillation
    student: nn.Module
    ask_student: Ask                              # its forward pass in training, compiled where the trial says so
    own: nn.Module | None                         # the method's parameters
    teacher: TeacherPass | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler                  # of the loss; passes it on as it is but in float16
    student_params: int
    student_macs: int
    teacher_logits_val_NC: Tensor | None          # for agreement
    teacher_logits_test_NC: Tensor | None         # the same, where test is measured after every epoch
    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    test_curve: list[dict[str, Any]] = field(default_factory=list)
    evals: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    warning: str | None = None                    # what a reader of the trial's row should know
    spent: dict[str, float] = field(default_factory=lambda: {"wall_seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0})

    @property
    def network(self) -> nn.Module:
        """What is measured and shipped."""
        return self.method.deployed(self.student, self.own)

    def close_epoch(self, row: dict[str, Any], test: dict[str, Any], *, cpu_seconds: float) -> None:
        """Takes in the epoch's row, and its measurement on test where there is one."""
        self.epoch = row["epoch"]
        self.rows.append(row)
        if self.teacher is not None:
            self.warning = self.teacher.describe_unwritten() or self.warning
        if test:
            self.test_curve.append(test)
        self.spent["wall_seconds"] += row["epoch_seconds"]
        self.spent["cpu_seconds"] += cpu_seconds
        if row["device_seconds"] is not None:
            self.spent["device_seconds"] = self.spent.get("device_seconds", 0.0) + row["device_seconds"]
        self.spent["peak_bytes"] = max(self.spent["peak_bytes"], _measure_peak_bytes(self.device))

    def keep_if_best(self, epoch: int, val_top1: float | None) -> None:
        """Under the rule `best_val`, remembers the weights of the first epoch with the highest validation value."""
        if self.config.epoch_rule == "best_val" and val_top1 > self.best.get("val_top1", -1.0):
            self.best = {"epoch": epoch, "val_top1": val_top1, "modules": _copy_to_cpu(self._modules_state())}

    def result(self) -> tuple[int, float | None]:
        """The epoch that the rule chose, and its validation top-1."""
        if self.config.epoch_rule == "best_val":
            return self.best["epoch"], self.best["val_top1"]
        return self.epoch, self.rows[-1]["val_top1"]

    def load_result(self) -> None:
        """Puts the weights of the chosen epoch into the networks. Training cannot go on from there."""
        if self.config.epoch_rule == "best_val":
            self._load_modules(self.best["modules"])

    def state_dict(self) -> dict[str, Any]:
        """All that a trial needs to go on, as tensors and plain values."""
        return {
            "trial_id": self.config.trial_id,
            "config": self.config.identity(),
            "epoch": self.epoch,
            "modules": self._modules_state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rows": self.rows,
            "test_curve": self.test_curve,
            "evals": self.evals,
            "best": self.best,
            "spent": self.spent,
            "warning": self.warning,
            "facts": self.facts(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError where the trial asks for a curve that the state's epochs were trained without."""
        curve = state.get("test_curve", [])  # a state of before there were curves has none
        if self.config.test_curve and len(curve) < state["epoch"]:
            raise ValueError(
                f"test_curve: the checkpoint's {state['epoch']} epochs were trained without it\n\n"
                "hint: train the trial from its beginning, or without test_curve"
            )
        self._load_modules(state["modules"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state.get("scaler", {}))  # a state of before there was float16 has none
        self.test_curve = curve if self.config.test_curve else []
        self.warning = state.get("warning")  # a state of before there were tables has none
        for name in ("epoch", "rows", "evals", "best", "spent"):
            setattr(self, name, state[name])

    def facts(self) -> dict[str, Any]:
        """What is true of the whole trial: sizes, how its teacher was asked, how it computes.

        `precision` is the arithmetic of student and teacher alike: a live teacher's logits are rounded as it says.
        """
        return {
            "student_params": self.student_params,
            "deployed_params": sum(p.numel() for p in self.network.parameters()),
            "student_macs": self.student_macs,
            "teacher_pass": "none" if self.teacher is None else self.teacher.kind,
            "deterministic": self.device.type == "cpu" or self.config.deterministic,
            "precision": name_arithmetic(self.config.precision, self.student, self.device),
            "memory_format": "channels_last",
            **({"warning": self.warning} if self.warning else {}),
        }

    def _modules_state(self) -> dict[str, Any]:
        return {"student": self.student.state_dict(), "own": None if self.own is None else self.own.state_dict()}

    def _load_modules(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        if self.own is not None:
            self.own.load_state_dict(state["own"])


def build_run(config: TrialConfig) -> Run:
    """The trial before its first epoch, on its device. Raises ValueError where names, data or teachers are missing."""
    return assemble_run(config, load_images(config))


def assemble_run(config: TrialConfig, images: Images, *, teacher: nn.Module | None = None) -> Run:
    """The same from images that are there already. `teacher`: a frozen network in place of the stored one."""
    device = prepare_device(config)
    check_precision(config.precision, device)
    check_compiler(config.compile, device)
    if is_gathered(images, config):
        images = images.to(device)
    method = build_method(config.method, config.settings)
    if method.needs.views != 1:
        raise ValueError(f"method {config.method} asks for {method.needs.views} views of an image; a batch has one")
    asked = build_teacher_pass(config, images, device, network=teacher) if asks_teacher(method.needs) else None
    has_val, has_curve = asked is not None and images.val is not None, asked is not None and config.test_curve
    student, own, card = build_modules(config, images.info)
    trained = [
        module.to(device, memory_format=torch.channels_last) for module in (student, own) if module is not None
    ]
    return Run(
        config=config,
        device=device,
        images=images,
        feed=build_feed(images, config, device, asked),
        method=method,
        student=student,
        ask_student=build_ask(student, method.needs, compile_mode=config.compile),
        own=own,
        teacher=asked,
        optimizer=build_optimizer(trained, config),
        scaler=build_scaler(config.precision, device),
        student_params=card.params,
        student_macs=card.macs,
        teacher_logits_val_NC=asked.measure("val") if has_val else None,
        teacher_logits_test_NC=asked.measure("test") if has_curve else None,
    )


def check_compiler(compile_mode: str, device: torch.device) -> None:
    """Raises ValueError where torch could not compile for the device."""
    compiler = os.environ.get("CXX", "g++")     # as torch looks for it
    if compile_mode != "none" and device.type == "cpu" and shutil.which(compiler) is None:
        sentence = f"compile: {compile_mode} needs the C++ compiler {compiler}, which is not here"
        raise ValueError(f"{sentence}\n\nhint: install it, set CXX, or write compile: none")


def build_ask(network: nn.Module, needs: Needs, *, compile_mode: str = "none") -> Ask:
    """The network's forward pass, as a method with these needs wants it; features cost memory.

    compile_mode: as in TrialConfig. Batches of one shape are one compilation; torch keeps what it made on disk.
    """
    wants_features = needs.pooled or needs.maps
    call = network.outputs if wants_features else network
    if compile_mode != "none":
        call = torch.compile(call, mode=compile_mode, dynamic=False)
    if wants_features:
        return call
    return lambda image_BCHW: Outputs(logits_BC=call(image_BCHW), pooled_BD=None, maps={})


def build_modules(config: TrialConfig, info: DataInfo) -> tuple[nn.Module, nn.Module | None, Card]:
    """The student and the method's own parameters before the first epoch, and what the student offers.

    Needs neither data nor a teacher's weights. `info`: with images of the size that the networks see.
    """
    method = build_method(config.method, config.settings)
    torch.manual_seed(derive_seed(config.seed, 0, "weights"))
    student = build_model(config.student, info.num_classes, info.channels)
    card = describe_model(config.student, info)
    teacher_card = describe_model(config.teacher, info) if asks_teacher(method.needs) else None
    return student, method.build(card, teacher_card, info.num_classes, num_images=info.num_train), card


def prepare_device(config: TrialConfig) -> torch.device:
    """The device that `config.device` names; `auto` is CUDA where there is one. Sets threads and determinism."""
    if "torch._dynamo" in sys.modules:  # else nothing was compiled, and it takes a second to import
        torch.compiler.reset()  # what earlier trials compiled holds memory, and torch compiles a function few times
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cpu":
        torch.set_num_threads(1)  # two trials of one thread beat one of two, and one thread gives one result
    else:
        torch.cuda.empty_cache()  # of the trial that ran here before: others may share the device
        torch.cuda.reset_peak_memory_stats(device)
        torch.backends.cudnn.benchmark = not config.deterministic
        if config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(config.deterministic)
    return device


def _copy_to_cpu(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _copy_to_cpu(value) for name, value in state.items()}
    return state.detach().cpu().clone() if isinstance(state, Tensor) else state


def _measure_peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
