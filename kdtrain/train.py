"""One trial, epoch by epoch. The loop knows no method by name and nothing of sweeps.

N train images, B batch, C classes.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain import checkpoint as checkpoints
from kdtrain.augment import Augment, normalise
from kdtrain.config import TrialConfig
from kdtrain.evaluate import measure, predict
from kdtrain.images import Images, Split, load_images
from kdtrain.method import Batch, Distillation, Needs, Outputs, build_method
from kdtrain.model import build_model, describe_model
from kdtrain.optim import build_optimizer, compute_lr, set_lr
from kdtrain.randomness import derive_seed, make_generator
from kdtrain.teachers import load_teacher


@dataclass(frozen=True)
class Epoch:
    """One pass over the train images, measured. `run` is the live trial: save it before asking for the next epoch."""

    row: dict[str, Any]           # the columns of the table `epochs` that a trial knows of itself
    diverged: bool                # the loss was not a finite number
    run: Run


def train(config: TrialConfig, checkpoint: Path | dict[str, Any] | None = None) -> Iterator[Epoch]:
    """Yields the epochs that are still to be trained, from the first or from where `checkpoint` (a file, or what
    `checkpoint.load` made of it) stands.

    Stopped anywhere and continued from its checkpoint, a trial gives the same bits on one CPU thread as one that never
    stopped. After the last epoch `run.evals` holds the final measurements. Raises ValueError for names, data or
    teachers that do not exist.
    """
    run = build_run(config)
    if isinstance(checkpoint, Path):
        checkpoint = checkpoints.load(checkpoint, trial_id=config.trial_id)
    if checkpoint is not None:
        run.load_state_dict(checkpoint)
    for epoch in range(run.epoch + 1, config.epochs + 1):
        started, cpu_started = time.perf_counter(), time.process_time()
        row = _train_one_epoch(run, epoch)
        diverged = not math.isfinite(row["loss_total"])
        row |= _validate(run)
        run.keep_if_best(epoch, row["val_top1"])
        if epoch == config.epochs and not diverged:
            run.evals = _measure_finally(run)
        row |= {"epoch_seconds": time.perf_counter() - started, "ended_at": time.time()}
        run.close_epoch(epoch, row, cpu_seconds=time.process_time() - cpu_started)
        yield Epoch(row=row, diverged=diverged, run=run)


@dataclass
class Run:
    """A trial's live state and everything the loop needs beside it."""

    config: TrialConfig
    device: torch.device
    images: Images
    augment: Augment
    method: Distillation
    student: nn.Module
    own: nn.Module | None                         # the method's parameters
    teacher: nn.Module | None
    optimizer: torch.optim.Optimizer
    student_params: int
    student_macs: int
    padded_NCHW: Tensor                           # uint8 train images, padded for the crop
    teacher_logits_val_NC: Tensor | None          # for agreement
    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    evals: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=lambda: {"wall_seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0})

    @property
    def network(self) -> nn.Module:
        """What is measured and shipped."""
        return self.method.deployed(self.student, self.own)

    def close_epoch(self, epoch: int, row: dict[str, Any], *, cpu_seconds: float) -> None:
        self.epoch = epoch
        self.rows.append(row)
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
            "rows": self.rows,
            "evals": self.evals,
            "best": self.best,
            "spent": self.spent,
            "facts": self.facts(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._load_modules(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("epoch", "rows", "evals", "best", "spent"):
            setattr(self, name, state[name])

    def facts(self) -> dict[str, Any]:
        """What is true of the whole trial: sizes, and how its teacher was asked."""
        return {
            "student_params": self.student_params,
            "deployed_params": sum(p.numel() for p in self.network.parameters()),
            "student_macs": self.student_macs,
            "teacher_pass": "live" if self.teacher is not None else "none",
            "deterministic": self.device.type == "cpu" or self.config.deterministic,
        }

    def _modules_state(self) -> dict[str, Any]:
        return {"student": self.student.state_dict(), "own": None if self.own is None else self.own.state_dict()}

    def _load_modules(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        if self.own is not None:
            self.own.load_state_dict(state["own"])


def build_run(config: TrialConfig) -> Run:
    """The trial before its first epoch, on its device."""
    device = prepare_device(config)
    images = _move_images(load_images(config), device)
    method = build_method(config.method, config.settings)
    torch.manual_seed(derive_seed(config.seed, 0, "weights"))
    student = build_model(config.student, images.info.num_classes, images.info.channels)
    card = describe_model(config.student, images.info)
    needs_teacher = asks_teacher(method.needs)
    if needs_teacher and (config.teacher is None or config.weights_dir is None):
        raise ValueError(f"method {config.method} needs a teacher\n\nhint: give teacher, teacher_id and weights_dir")
    teacher_card = describe_model(config.teacher, images.info) if needs_teacher else None
    own = method.build(card, teacher_card, images.info.num_classes)
    teacher = load_teacher(Path(config.weights_dir), config.teacher_id, images.info).to(device) if needs_teacher else None
    student.to(device)
    trained = list(student.parameters())
    if own is not None:
        trained += list(own.to(device).parameters())
    augment = Augment(config.augment, config.padding)
    return Run(
        config=config,
        device=device,
        images=images,
        augment=augment,
        method=method,
        student=student,
        own=own,
        teacher=teacher,
        optimizer=build_optimizer(trained, config),
        student_params=card.params,
        student_macs=card.macs,
        padded_NCHW=augment.pad(images.train.image_NCHW),
        teacher_logits_val_NC=None if teacher is None or images.val is None else predict(teacher, images.val, images.info),
    )


def asks_teacher(needs: Needs) -> bool:
    """Whether a method cannot train without a teacher."""
    return needs.teacher_logits


def prepare_device(config: TrialConfig) -> torch.device:
    """The device that `config.device` names; `auto` is CUDA where there is one. Sets threads and determinism."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cpu":
        torch.set_num_threads(1)  # two trials of one thread beat one of two, and one thread gives one result
    else:
        torch.backends.cudnn.benchmark = not config.deterministic
        if config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(config.deterministic)
    return device


def _train_one_epoch(run: Run, epoch: int) -> dict[str, Any]:
    config, device = run.config, run.device
    num_images = len(run.images.train.label_N)
    torch.manual_seed(derive_seed(config.seed, epoch, "modules"))  # for dropout and the like
    order_N = torch.randperm(num_images, generator=make_generator(config.seed, epoch, "order"))
    view_N = run.augment.draw(num_images, make_generator(config.seed, epoch, "views")).to(device)
    method_generator = make_generator(config.seed, epoch, "method")
    batches = [index_B for index_B in order_N.to(device).split(config.batch_size) if len(index_B) > 1]  # batch norm needs 2
    sums = _Sums()
    run.student.train()
    timer = _DeviceTimer(device)
    for step, index_B in enumerate(batches):
        elapsed = epoch - 1 + step / len(batches)
        set_lr(run.optimizer, compute_lr(config, elapsed))
        batch = _build_batch(run, index_B, view_N[index_B], epoch=epoch, progress=elapsed / config.epochs)
        batch = _with_generator(batch, method_generator)
        terms = {name: term.mean() for name, term in run.method(batch, run.own).items()}
        loss = sum(terms.values())
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        sums.add(batch, loss, terms)
    return {
        "epoch": epoch,
        "lr": compute_lr(config, epoch - 1),
        **sums.to_row(),
        "device_seconds": timer.stop(),
    }


def _build_batch(run: Run, index_B: Tensor, view_B: Tensor, *, epoch: int, progress: float) -> Batch:
    image_BCHW = normalise(run.augment.gather(run.padded_NCHW, index_B, view_B), run.images.info)
    needs = run.method.needs
    teacher = None
    if run.teacher is not None:
        with torch.no_grad():
            teacher = _ask(run.teacher, image_BCHW, needs)
    return Batch(
        student=_ask(run.student, image_BCHW, needs),
        teacher=teacher,
        label_B=run.images.train.label_N[index_B],
        student_classifier=run.student.classifier if needs.classifier else None,
        teacher_classifier=run.teacher.classifier if needs.classifier and run.teacher is not None else None,
        index_B=run.images.train_index_N[index_B.cpu()].to(index_B.device) if needs.index else None,
        view_B=view_B,
        epoch=epoch,
        progress=progress,
    )


def _with_generator(batch: Batch, generator: torch.Generator) -> Batch:
    object.__setattr__(batch, "generator", generator)
    return batch


def _ask(model: nn.Module, image_BCHW: Tensor, needs: Needs) -> Outputs:
    """The model's outputs, features only where they are needed: they cost memory."""
    if needs.pooled or needs.maps:
        return model.outputs(image_BCHW)
    return Outputs(logits_BC=model(image_BCHW).float(), pooled_BD=None, maps={})


class _Sums:
    """Sums over an epoch, kept on the device: reading one would make the host wait for it."""

    def __init__(self) -> None:
        self.num_images = 0
        self.correct: Tensor | float = 0.0
        self.total: Tensor | float = 0.0
        self.terms: dict[str, Tensor | float] = {}

    def add(self, batch: Batch, loss: Tensor, terms: dict[str, Tensor]) -> None:
        size = len(batch.label_B)
        self.num_images += size
        self.correct = self.correct + (batch.student.logits_BC.detach().argmax(dim=1) == batch.label_B).sum()
        self.total = self.total + loss.detach().double() * size
        for name, term in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + term.detach().double() * size

    def to_row(self) -> dict[str, Any]:
        terms = {name: float(total) / self.num_images for name, total in self.terms.items()}
        return {
            "loss_total": float(self.total) / self.num_images,
            "loss_label": terms.get("label"),
            "loss_method": sum(value for name, value in terms.items() if name != "label"),
            "terms": terms,
            "train_top1": float(self.correct) / self.num_images,
            "num_images": self.num_images,
        }


class _DeviceTimer:
    """Seconds that the accelerator worked, by CUDA events; None on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._events = None
        if device.type == "cuda":
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            self._events[0].record()

    def stop(self) -> float | None:
        if self._events is None:
            return None
        self._events[1].record()
        self._events[1].synchronize()
        return self._events[0].elapsed_time(self._events[1]) / 1000


def _validate(run: Run) -> dict[str, Any]:
    names = ("top1", "top5", "nll", "ece", "agreement")
    if run.images.val is None:
        return {f"val_{name}": None for name in names}
    found = measure(run.network, run.images.val, run.images.info, teacher_logits_NC=run.teacher_logits_val_NC)
    return {f"val_{name}": getattr(found, name) for name in names}


def _measure_finally(run: Run) -> list[dict[str, Any]]:
    """The chosen epoch's network on validation, and on test where the trial asks for it: the one time test is read."""
    run.load_result()
    epoch = run.best.get("epoch", run.config.epochs)
    splits = {"val": run.images.val, "test": run.images.test if run.config.measure_test else None}
    return [
        {
            "split": name,
            "epoch": epoch,
            "epoch_rule": run.config.epoch_rule,
            **measure(run.network, split, run.images.info, teacher_logits_NC=_ask_teacher(run, split)).to_dict(),
        }
        for name, split in splits.items()
        if split is not None
    ]


def _ask_teacher(run: Run, split: Split) -> Tensor | None:
    return None if run.teacher is None else predict(run.teacher, split, run.images.info)


def _move_images(images: Images, device: torch.device) -> Images:
    from dataclasses import replace

    def move(split: Split | None) -> Split | None:
        return None if split is None else Split(split.image_NCHW.to(device), split.label_N.to(device))

    return replace(images, train=move(images.train), val=move(images.val), test=move(images.test))


def _copy_to_cpu(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _copy_to_cpu(value) for name, value in state.items()}
    return state.detach().cpu().clone() if isinstance(state, Tensor) else state


def _measure_peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
