"""How large a study's teacher tables grow and what it takes to fill them, before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from kdtrain.augment import count_views
from kdtrain.config import TrialConfig
from kdtrain.evaluate import choose_batch
from kdtrain.images import DataInfo, load_info_of
from kdtrain.model import build_model, without_first_weights
from kdtrain.run import prepare_device
from kdtrain.teacher_pass import wants_logits_of_views
from sweeps.study import Study

SecondsPerImage = Callable[[TrialConfig], float]
_CELL_BYTES = 8             # of a cell's number; its logits take 4 bytes a class
_TIMED_PIXELS = 2**17       # in a batch on a CPU, chosen by hand: 128 images of CIFAR


@dataclass(frozen=True)
class TableCost:
    """What one teacher will have been asked in the end, if nothing of it is stored yet."""

    teacher_id: str
    model: str
    cells: int              # views of images; the expected number of different ones
    num_bytes: int          # on disk
    seconds: float          # of the teacher


def estimate_tables(study: Study, seconds_per_image: SecondsPerImage) -> Iterator[TableCost]:
    """One for each teacher of which a method wants no more than logits of views that have numbers."""
    if study.tables_dir is None:
        return
    for teacher in study.teachers:
        taught = [arm for arm in study.arms if arm.teacher_id == teacher.teacher_id]
        configs = [study.trial_config(arm, {}, seed=study.seed, stage="tune") for arm in taught]
        configs = [config for config in configs if wants_logits_of_views(config)]
        if configs:
            config = configs[0]
            info = load_info_of(config)
            cells = _expect_cells(study, len(configs), config, info)
            size = _CELL_BYTES + 4 * info.num_classes
            num_bytes = min(cells * size, study.teacher_table.max_bytes)
            yield TableCost(
                teacher.teacher_id, teacher.config.student, cells, num_bytes, cells * seconds_per_image(config)
            )


def measure_seconds_per_image(config: TrialConfig) -> float:
    """The seconds that the trial's teacher takes for an image here, by one batch of noise after another."""
    info, device = load_info_of(config), prepare_device(config)
    height, width = info.size
    count = choose_batch(device)
    if device.type == "cpu":
        count = min(count, max(2, _TIMED_PIXELS // (height * width)))
    with torch.random.fork_rng(), torch.no_grad():
        teacher = build_model(without_first_weights(config.teacher), info.num_classes, info.channels)
        teacher = teacher.eval().to(device, memory_format=torch.channels_last)
        image_BCHW = torch.randn(count, info.channels, *info.size).to(device, memory_format=torch.channels_last)
        teacher(image_BCHW).sum().item()  # reading a number waits for the device
        started = time.perf_counter()
        teacher(image_BCHW).sum().item()
        return (time.perf_counter() - started) / count


def _expect_cells(study: Study, arms: int, config: TrialConfig, info: DataInfo) -> int:
    """The different (image, view) that are asked for. Of V views, D independent draws of one meet
    V (1 - (1 - 1/V)^D) different ones; beside those, validation and test images are asked for as they are."""
    from sweeps.cost import bound_epochs, count_train_images

    views, by_stage = count_views(config), study.views.model_dump()
    own = {"tune": bound_epochs(study)[1], "repeat": study.repeat.seeds * study.epochs}
    draws = arms * sum(epochs for stage, epochs in own.items() if by_stage[stage] == "own")
    if "shared" in by_stage.values():
        draws += study.epochs  # the stages that share draw alike
    different = views * (1 - (1 - 1 / views) ** draws)
    trained = count_train_images(replace(config, train_on=study.repeat.train_on), info)
    return round(trained * different) + config.validation + info.num_test
