"""Rates of a teacher table that lies in memory: filling it, and reading an epoch's logits from device or host.

N images, V views, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.rounds import Call, Timing, time_in_turn
from kdtrain.augment import Augment, normalise
from kdtrain.run import Run


def measure_fill(run: Run, *, num_images: int, rounds: int) -> Timing:
    """Seconds to ask the teacher of one view of each of `num_images` images, in the batches of 256 that tables use."""
    call = build_fill(run, num_images)
    return time_in_turn({"fill": call}, device=run.device, rounds=rounds, repeats=1)["fill"]


def build_fill(run: Run, num_images: int) -> Call:
    """Asks the trial's teacher of the first images in random views; gathering the views is part of it."""
    augment = Augment(run.config.augment, run.config.padding)
    index_N = run.images.train_index_N[:num_images].to(run.device)
    view_N = torch.randint(augment.num_views, (len(index_N),), device=run.device)

    def gather(place_B: Tensor) -> Tensor:
        return normalise(augment.gather(run.images.full.image_NCHW, index_N[place_B], view_N[place_B]), run.images.info)

    return lambda: run.teacher.read_views(index_N, view_N, gather)


def measure_reads(
    *, num_images: int, num_views: int, num_classes: int, device: torch.device, rounds: int
) -> dict[str, Timing]:
    """Seconds to have an epoch's logits on the device, float32 (N, C), by the place of the table (N, V, C)."""
    table_MC = torch.rand(num_images * num_views, num_classes)
    cell_N = torch.arange(num_images) * num_views + torch.randint(num_views, (num_images,))
    calls = {"host memory": build_host_read(table_MC, cell_N, device)}
    if device.type != "cpu":
        on_device_MC, on_device_N = table_MC.to(device), cell_N.to(device)
        calls["device memory"] = lambda: on_device_MC[on_device_N]
    return time_in_turn(calls, device=device, rounds=rounds, repeats=5)


def build_host_read(table_MC: Tensor, cell_N: Tensor, device: torch.device) -> Call:
    """Gathers on the host into memory that the device can copy from by itself, and copies; returns logits_NC."""
    staged_NC = torch.empty(len(cell_N), table_MC.shape[1], pin_memory=device.type == "cuda")

    def read() -> Tensor:
        torch.index_select(table_MC, 0, cell_N, out=staged_NC)
        logits_NC = staged_NC.to(device, non_blocking=True)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()  # the next call writes where this copy reads
        return logits_NC

    return read
