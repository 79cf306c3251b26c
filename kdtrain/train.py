"""One trial, epoch by epoch. The loop knows no method by name and nothing of sweeps.

N train images, B batch, C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from kdtrain import checkpoint as checkpoints
from kdtrain.config import TrialConfig
from kdtrain.evaluate import Measurement, measure
from kdtrain.feed import Fed
from kdtrain.images import Files, Split
from kdtrain.method import Batch, Outputs
from kdtrain.mixing import mix
from kdtrain.optim import clip_gradients, compute_lr, set_lr
from kdtrain.precision import autocast, to_float32
from kdtrain.randomness import derive_seed, make_generator
from kdtrain.run import Ask, Run, build_ask, build_run


@dataclass(frozen=True)
class Epoch:
    """One pass over the train images, measured. `run` is the live trial: save it before asking for the next epoch."""

    row: dict[str, Any]           # the columns of the table `epochs` that a trial knows of itself
    test: dict[str, Any]          # those of `test_curves`; empty where the trial asks for no curve
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
        clock = _Clock()
        row = train_one_epoch(run, epoch)
        diverged = not math.isfinite(row["loss_total"])
        row |= _validate(run)
        run.keep_if_best(epoch, row["val_top1"])
        with clock.paused():  # a study with curves costs what it costs without
            test = _measure_test(run, epoch) if config.test_curve else {}
        if epoch == config.epochs and not diverged:
            run.evals = _measure_finally(run)
        wall_seconds, cpu_seconds = clock.read()
        row |= {"epoch_seconds": wall_seconds, "ended_at": time.time()}
        run.close_epoch(row, test, cpu_seconds=cpu_seconds)
        yield Epoch(row=row, test=test, diverged=diverged, run=run)


def train_one_epoch(run: Run, epoch: int) -> dict[str, Any]:
    """The epoch's steps; its row as far as training tells it."""
    config = run.config
    torch.manual_seed(derive_seed(config.seed, epoch, "modules"))  # for dropout and the like
    method_generator = make_generator(config.seed, epoch, "method")
    mixing_generator = make_generator(config.seed, epoch, "mixing")
    sums = _Sums()
    run.student.train()
    if run.own is not None:
        run.own.train()
    timer = _DeviceTimer(run.device)
    for share, fed in run.feed.read_epoch(epoch):
        elapsed = epoch - 1 + share
        set_lr(run.optimizer, compute_lr(config, elapsed))
        moment = {"epoch": epoch, "progress": elapsed / config.epochs, "generator": method_generator}
        sums.add(*train_on_batch(run, _mix(run, fed, mixing_generator), **moment))
    return {
        "epoch": epoch,
        "lr": compute_lr(config, epoch - 1),
        **sums.to_row(),
        "device_seconds": timer.stop(),
    }


def train_on_batch(run: Run, fed: Fed, **moment: Any) -> tuple[Batch, Tensor, dict[str, Tensor]]:
    """One step. The batch, its loss and the mean of each term; `moment`: epoch, progress, generator."""
    run.optimizer.zero_grad(set_to_none=True)
    batch = _build_batch(run, fed, **moment)
    terms = {name: term.mean() for name, term in run.method(batch, run.own).items()}
    loss = sum(terms.values())
    run.scaler.scale(loss).backward()
    if run.config.clip_norm is not None:
        run.scaler.unscale_(run.optimizer)
        clip_gradients(run.optimizer, run.config.clip_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return batch, loss, terms


def _mix(run: Run, fed: Fed, generator: torch.Generator) -> Fed:
    """The batch as the recipe mixes it, once for student and teacher; `index_B` stays that of its own images."""
    config = run.config
    image_BCHW, label_B, soft_label_BC = mix(
        fed.image_BCHW,
        fed.label_B,
        num_classes=run.images.info.num_classes,
        mixup=config.mixup,
        cutmix=config.cutmix,
        probability=config.mix_probability,
        generator=generator,
    )
    return replace(fed, image_BCHW=image_BCHW, label_B=label_B, soft_label_BC=soft_label_BC)


def _build_batch(run: Run, fed: Fed, **moment: Any) -> Batch:
    needs = run.method.needs
    teacher = None
    if fed.teacher_logits_BC is not None:
        teacher = Outputs(fed.teacher_logits_BC, pooled_BD=None, maps={})
    elif run.teacher is not None:
        with torch.no_grad():
            teacher = _compute(run, build_ask(run.teacher.network, needs), fed.image_BCHW)
    return Batch(
        student=_compute(run, run.ask_student, fed.image_BCHW),
        teacher=teacher,
        label_B=fed.label_B,
        soft_label_BC=fed.soft_label_BC,
        label_smoothing=run.config.label_smoothing,
        student_classifier=run.student.classifier if needs.classifier else None,
        teacher_classifier=run.teacher.classifier if needs.classifier and run.teacher is not None else None,
        index_B=fed.index_B if needs.index else None,
        view_B=fed.view_B,
        **moment,
    )


def _compute(run: Run, ask: Ask, image_BCHW: Tensor) -> Outputs:
    """A network's outputs in float32, computed in the trial's precision."""
    with autocast(run.config.precision, run.device):
        outputs = ask(image_BCHW)
    return to_float32(outputs)


class _Sums:
    """Sums over an epoch, kept on the device: reading one would make the host wait for it.

    An image of a mixed batch is right where the student names the label of its larger part.
    """

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
        others = [value for name, value in terms.items() if name != "label"]
        return {
            "loss_total": float(self.total) / self.num_images,
            "loss_label": terms.get("label"),
            "loss_method": sum(others) if others else None,
            "terms": terms,
            "train_top1": float(self.correct) / self.num_images,
            "num_images": self.num_images,
        }


class _Clock:
    """Elapsed and processor seconds since it was made, less those of its pauses."""

    def __init__(self) -> None:
        self._start = self._now()
        self._paused = (0.0, 0.0)

    def read(self) -> tuple[float, float]:
        wall_seconds, cpu_seconds = (
            now - start - paused for now, start, paused in zip(self._now(), self._start, self._paused, strict=True)
        )
        return wall_seconds, cpu_seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = self._now()
        yield
        self._paused = tuple(now - start for now, start in zip(self._now(), before, strict=True))

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


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
    found = _measure(run, run.images.val, run.teacher_logits_val_NC)
    return {f"val_{name}": getattr(found, name) for name in names}


def _measure_test(run: Run, epoch: int) -> dict[str, Any]:
    """The epoch's network on test, as it stands: whatever epoch the rule will choose."""
    found = _measure(run, run.images.test, run.teacher_logits_test_NC)
    values = found.to_dict()
    num_images = values.pop("num_images")
    return {"epoch": epoch, **{f"test_{name}": value for name, value in values.items()}, "num_images": num_images}


def _measure_finally(run: Run) -> list[dict[str, Any]]:
    """The chosen epoch's network on validation, and on test where the trial asks for it: the reading that counts."""
    run.load_result()
    epoch = run.best.get("epoch", run.config.epochs)
    splits = {"val": run.images.val, "test": run.images.test if run.config.measure_test else None}
    asked = {"val": run.teacher_logits_val_NC, "test": run.teacher_logits_test_NC}
    return [
        {
            "split": name,
            "epoch": epoch,
            "epoch_rule": run.config.epoch_rule,
            **_measure(run, split, _ask_teacher(run, name, asked[name])).to_dict(),
        }
        for name, split in splits.items()
        if split is not None
    ]


def _measure(run: Run, split: Split | Files, teacher_logits_NC: Tensor | None) -> Measurement:
    return measure(
        run.network, split, run.images.info, teacher_logits_NC=teacher_logits_NC, workers=run.config.workers
    )


def _ask_teacher(run: Run, split: Literal["val", "test"], logits_NC: Tensor | None) -> Tensor | None:
    """The teacher's logits of the split; not asked again where they are at hand."""
    if run.teacher is None or logits_NC is not None:
        return logits_NC
    return run.teacher.measure(split)
