"""The training steps that benchmarks/gpu.py compares, each a call without arguments that leaves the device at work.

`floor`: forward, backward and optimizer of the student alone, on one random batch that stays where it is, in the
shape, memory format and precision of the trial's own. `ours`: `train_on_batch` on the batches of the trial's feed.

In a graph, the whole step is one CUDA graph: the batch is gathered outside and copied into the graph's own tensors.
The learning rate lies on the device and is set before each step; the epoch number and the share of training that is
done are those of the capture, so methods that read them, or that draw random numbers, are not trained rightly this
way. Their time is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.random_trials import read_endlessly
from benchmarks.rounds import Call
from kdtrain.feed import Fed
from kdtrain.optim import build_optimizer
from kdtrain.precision import autocast
from kdtrain.randomness import make_generator
from kdtrain.run import Run
from kdtrain.train import train_on_batch

WARM_UP = 5    # steps before a capture: the least that cuDNN and the allocator need to settle, chosen by hand

Capture = Callable[[Call], Call]


def build_floor(run: Run) -> Call:
    """The step that no training of this student can undercut without another implementation of the network."""
    return _build_floor(run, build_optimizer)


def build_captured_floor(run: Run, capture: Capture | None = None) -> Call:
    """The same as one CUDA graph."""
    return (capture or capture_graph)(_build_floor(run, _build_capturable))


def build_step(run: Run) -> Call:
    """The trial's own step, its batch included."""
    batches, moment = read_endlessly(run), _fix_moment(run)

    def step() -> None:
        train_on_batch(run, next(batches), **moment)

    return step


def build_captured_step(run: Run, capture: Capture | None = None) -> Call:
    """The same with everything behind the batch in one CUDA graph."""
    run, batches = replace(run, optimizer=make_capturable(run.optimizer, run.device)), read_endlessly(run)
    held, moment = _map_tensors(next(batches), torch.clone), _fix_moment(run)
    replay = (capture or capture_graph)(lambda: train_on_batch(run, held, **moment))

    def step() -> None:
        _copy_into(held, next(batches))
        for group in run.optimizer.param_groups:
            group["lr"].fill_(run.config.lr)
        replay()

    return step


def capture_graph(step: Call) -> Call:
    """What replays the step's kernels. Its first steps run beside the current stream, as torch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def make_capturable(optimizer: torch.optim.SGD, device: torch.device) -> torch.optim.SGD:
    """The same SGD before its first step, fused and with its learning rates on the device."""
    groups = [
        {**group, "lr": torch.tensor(group["lr"], device=device), "fused": True, "foreach": False}
        for group in optimizer.param_groups
    ]
    return torch.optim.SGD(groups, fused=True)


def _build_floor(run: Run, build: Callable[..., torch.optim.Optimizer]) -> Call:
    student, fed = copy.deepcopy(run.student), next(read_endlessly(run))
    image_BCHW, label_B = torch.randn_like(fed.image_BCHW), fed.label_B.clone()
    optimizer = build([student], run.config)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(run.config.precision, run.device):
            logits_BC = student(image_BCHW)
        F.cross_entropy(logits_BC.float(), label_B).backward()
        optimizer.step()

    return step


def _build_capturable(modules: list[torch.nn.Module], config: Any) -> torch.optim.SGD:
    return make_capturable(build_optimizer(modules, config), next(modules[0].parameters()).device)


def _fix_moment(run: Run) -> dict[str, Any]:
    """The moment of a trial that every step is told, for methods that ask."""
    return {"epoch": 1, "progress": 0.0, "generator": make_generator(run.config.seed, 1, "method")}


def _map_tensors(fed: Fed, change: Callable[[Tensor], Tensor]) -> Fed:
    tensors = {name: value for name, value in _read_fields(fed) if isinstance(value, Tensor)}
    return replace(fed, **{name: change(value) for name, value in tensors.items()})


def _copy_into(held: Fed, fed: Fed) -> None:
    """Puts a batch where the graph reads it."""
    for (_, place), (_, value) in zip(_read_fields(held), _read_fields(fed), strict=True):
        if isinstance(place, Tensor):
            place.copy_(value, non_blocking=True)


def _read_fields(fed: Fed) -> list[tuple[str, Any]]:
    return [(found.name, getattr(fed, found.name)) for found in fields(fed)]
