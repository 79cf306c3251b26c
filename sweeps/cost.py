"""What a study will cost: trials exactly, epochs between two bounds, seconds from earlier studies or a short timing.

Seconds are those of trials one after another. Starting workers, and reading and decoding files, come on top; slots
divide them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from analysis import tables
from kdtrain.config import TrialConfig
from kdtrain.evaluate import choose_batch, predict
from kdtrain.feed import Fed, GatheredFeed, StreamedFeed, build_feed
from kdtrain.images import DataInfo, Images, Split, load_info_of
from kdtrain.method import asks_teacher, build_method
from kdtrain.model import build_model, without_first_weights
from kdtrain.run import assemble_run, prepare_device
from kdtrain.train import train_on_batch
from sweeps.asha import is_immune
from sweeps.study import Arm, Study, Teacher
from sweeps.table_cost import SecondsPerImage, TableCost, estimate_tables, measure_seconds_per_image

SecondsPerEpoch = Callable[[TrialConfig], float]
_KEY = ("data", "student", "teacher", "method")  # an epoch's seconds depend on these and on the number of images
_TIMED_STEPS = 5             # chosen by hand: the median of five withstands two interruptions
_TIMED_SECONDS = 2.0         # no more steps are timed after this: large models are steady enough
_TIMED_PIXELS = 2**18        # in a step on a CPU, chosen by hand: 256 images of CIFAR, 5 of ImageNet


@dataclass(frozen=True)
class ArmCost:
    """One arm: its search, and the repeats of its winner. The low bound of seconds goes with that of epochs."""

    arm_id: str
    trials: int
    tune_epochs_low: int
    tune_epochs_high: int
    repeats: int
    repeat_epochs: int
    tune_epoch_seconds: float
    repeat_epoch_seconds: float

    @property
    def seconds_low(self) -> float:
        return self._sum_seconds(self.tune_epochs_low)

    @property
    def seconds_high(self) -> float:
        return self._sum_seconds(self.tune_epochs_high)

    def _sum_seconds(self, tune_epochs: int) -> float:
        return tune_epochs * self.tune_epoch_seconds + self.repeat_epochs * self.repeat_epoch_seconds


@dataclass(frozen=True)
class TeacherCost:
    """One teacher, if it has to be trained."""

    teacher_id: str
    model: str
    epochs: int
    epoch_seconds: float

    @property
    def seconds(self) -> float:
        return self.epochs * self.epoch_seconds


@dataclass(frozen=True)
class Cost:
    """A whole study."""

    arms: tuple[ArmCost, ...]
    teachers: tuple[TeacherCost, ...]
    imported: tuple[str, ...] = ()      # models of the teachers that are not trained
    tables: tuple[TableCost, ...] = ()  # what filling the teacher tables takes

    @property
    def trials(self) -> int:
        """Trials of all stages."""
        return sum(arm.trials + arm.repeats for arm in self.arms) + len(self.teachers)

    @property
    def epochs_low(self) -> int:
        return sum(arm.tune_epochs_low + arm.repeat_epochs for arm in self.arms) + self._teacher_epochs

    @property
    def epochs_high(self) -> int:
        return sum(arm.tune_epochs_high + arm.repeat_epochs for arm in self.arms) + self._teacher_epochs

    @property
    def seconds_low(self) -> float:
        return sum(arm.seconds_low for arm in self.arms) + self._shared_seconds

    @property
    def seconds_high(self) -> float:
        return sum(arm.seconds_high for arm in self.arms) + self._shared_seconds

    @property
    def _shared_seconds(self) -> float:
        return sum(found.seconds for found in (*self.teachers, *self.tables))

    @property
    def _teacher_epochs(self) -> int:
        return sum(teacher.epochs for teacher in self.teachers)


def estimate_cost(
    study: Study,
    seconds_per_epoch: SecondsPerEpoch,
    *,
    stored: Iterable[str] = (),
    seconds_per_image: SecondsPerImage = measure_seconds_per_image,
) -> Cost:
    """The study's cost. Teachers whose id is in `stored` are not trained again, imported ones never.

    seconds_per_image: of a trial's teacher, for what a table holds.
    """
    stored = set(stored)
    return Cost(
        arms=tuple(_estimate_arm(study, arm, seconds_per_epoch) for arm in study.arms),
        teachers=tuple(
            _estimate_teacher(teacher, seconds_per_epoch)
            for teacher in study.teachers
            if teacher.teacher_id not in stored and teacher.origin is None
        ),
        imported=tuple(teacher.config.student for teacher in study.teachers if teacher.origin is not None),
        tables=tuple(estimate_tables(study, seconds_per_image)),
    )


def bound_epochs(study: Study) -> tuple[int, int]:
    """The fewest and the most epochs that one arm's search takes when no trial fails or diverges.

    Under `asha` both are the same: at a rung floor(n / eta) of n settings go on, and one at least reaches the end. With
    compressed budgets each promotion pays for the whole of the next one. Under `asha_stop` it is chance, the order in
    which trials arrive: the first goes on always, the others perhaps.
    """
    trials, epochs, rungs = study.search.trials_per_arm, study.epochs, study.rungs
    if not rungs:
        return trials * epochs, trials * epochs
    if study.stop.rule == "asha_stop":
        immune = sum(is_immune(number, study.stop.immune) for number in range(trials))
        judged = trials - immune
        fewest = judged * rungs[0] + (epochs - rungs[0] if judged else 0)
        return immune * epochs + fewest, trials * epochs
    promoted = sum(count * length for count, length in zip(_count_promoted(study), _list_stretches(study), strict=True))
    return promoted, promoted


def count_trials(study: Study) -> int:
    """The trials that one arm's search takes when none fails or diverges: one a setting, or one a budget of each."""
    if study.stop.budgets == "truncate":
        return study.search.trials_per_arm
    return sum(_count_promoted(study))


def count_train_images(config: TrialConfig, info: DataInfo) -> int:
    """The images that one epoch of the trial sees."""
    left = info.num_train - config.validation
    chosen = left if config.train_images is None else config.train_images
    return chosen + (config.validation if config.train_on == "train+validation" else 0)


def find_seconds_per_epoch(results: Iterable[Path]) -> SecondsPerEpoch:
    """Seconds from the tables of earlier studies where these trained the same models with the same method, else timed.

    Each combination is timed once.
    """
    known = _read_seconds_per_image(results)

    def seconds_per_epoch(config: TrialConfig) -> float:
        key = tuple(getattr(config, name) for name in _KEY)
        num_images = count_train_images(config, load_info_of(config))
        if key not in known:
            known[key] = measure_seconds_per_epoch(config) / num_images
        return known[key] * num_images

    return seconds_per_epoch


def measure_seconds_per_epoch(config: TrialConfig) -> float:
    """The seconds that an epoch of the trial takes here, by a few of its own steps on random images. Reads no data.

    The time to make batches is hidden behind training where other processes make them, as far as it goes. On a CPU few
    images tell what a large batch would take: 1,024 of ImageNet would take minutes, and more memory than there is.
    What a teacher table holds of the epoch is left out: the trials share it. So is what torch compiles.
    """
    info = load_info_of(config)
    timed = replace(config, workers=0, compile="none", batch_size=_count_timed(config.batch_size, config, info))
    workers, share = config.workers, timed.batch_size / config.batch_size
    with torch.random.fork_rng():
        run = assemble_run(timed, _draw_images(timed, info), teacher=_build_teacher(config, info))
        fed = _read_batch(run.feed)
        moment = {"epoch": 1, "progress": 0.0, "generator": torch.Generator()}
        feed = build_feed(run.images, timed, run.device)
        feed_seconds = _time(lambda: _read_batch(feed), run.device)
        train_seconds = _time(lambda: train_on_batch(run, fed, **moment), run.device)
        predict_seconds = _time(lambda: predict(run.network, run.images.test, info), run.device)
    step_seconds = max(train_seconds, feed_seconds / workers) if workers else train_seconds + feed_seconds
    step_seconds /= share
    steps = math.ceil(count_train_images(config, info) / config.batch_size)
    measured = 0 if config.train_on == "train+validation" else config.validation
    is_asked_by_epoch = run.teacher is not None and run.teacher.is_by_epoch and config.tables_dir is None
    asked = steps * config.batch_size * measure_seconds_per_image(config) if is_asked_by_epoch else 0.0
    return steps * step_seconds + measured / len(run.images.test) * predict_seconds + asked


def _count_timed(wanted: int, config: TrialConfig, info: DataInfo) -> int:
    """How many of the images that a step has are timed."""
    if prepare_device(config).type != "cpu":
        return wanted
    height, width = info.size
    return min(wanted, max(2, _TIMED_PIXELS // (height * width)))


def _read_batch(feed: GatheredFeed | StreamedFeed) -> Fed:
    """The one batch of the first epoch."""
    ((_, fed),) = feed.read_epoch(1)
    return fed


def _draw_images(config: TrialConfig, info: DataInfo) -> Images:
    """One batch to train on and one to measure, of noise."""

    def draw(count: int) -> Split:
        image_NCHW = torch.randint(256, (count, info.channels, *info.size), dtype=torch.uint8)
        return Split(image_NCHW, torch.randint(info.num_classes, (count,)))

    train, test = draw(config.batch_size), draw(_count_timed(choose_batch(prepare_device(config)), config, info))
    return Images(info, train, test=test, split_hash="", train_index_N=torch.arange(config.batch_size))


def _build_teacher(config: TrialConfig, info: DataInfo) -> nn.Module | None:
    if not asks_teacher(build_method(config.method, config.settings).needs):
        return None
    teacher = without_first_weights(config.teacher)  # which weights makes no difference to the time
    return build_model(teacher, info.num_classes, info.channels).eval().requires_grad_(False)


def _time(step: Callable[[], None], device: torch.device) -> float:
    """The median seconds of a step, after one that warms up."""
    step()
    seconds: list[float] = []
    while len(seconds) < _TIMED_STEPS and sum(seconds) < _TIMED_SECONDS:
        _wait(device)
        started = time.perf_counter()
        step()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _estimate_arm(study: Study, arm: Arm, seconds_per_epoch: SecondsPerEpoch) -> ArmCost:
    low, high = bound_epochs(study)
    tune = study.trial_config(arm, {}, seed=0, stage="tune")
    repeat = replace(tune, train_on=study.repeat.train_on)
    return ArmCost(
        arm_id=arm.arm_id,
        trials=count_trials(study),
        tune_epochs_low=low,
        tune_epochs_high=high,
        repeats=study.repeat.seeds,
        repeat_epochs=study.repeat.seeds * study.epochs,
        tune_epoch_seconds=seconds_per_epoch(tune),
        repeat_epoch_seconds=seconds_per_epoch(repeat),
    )


def _estimate_teacher(teacher: Teacher, seconds_per_epoch: SecondsPerEpoch) -> TeacherCost:
    config = teacher.config
    return TeacherCost(teacher.teacher_id, config.student, config.epochs, seconds_per_epoch(config))


def _count_promoted(study: Study) -> list[int]:
    """How many settings take each of the stretches: every immune one, and of n judged ones floor(n / eta) the next."""
    trials = study.search.trials_per_arm
    immune = sum(is_immune(number, study.stop.immune) for number in range(trials))
    counts, left = [], trials - immune
    for _ in _list_stretches(study):
        counts.append(immune + left)
        left = max(1, left // study.stop.eta) if left else 0
    return counts


def _list_stretches(study: Study) -> list[int]:
    """The epochs from each rung to the next; where budgets are compressed, each begins at the first epoch again."""
    ends = (*study.rungs, study.epochs)
    if study.stop.budgets == "compress":
        return list(ends)
    return [end - start for start, end in zip((0, *study.rungs), ends, strict=True)]


def _read_seconds_per_image(results: Iterable[Path]) -> dict[tuple[str | None, ...], float]:
    """The values of _KEY -> median over all epochs of all trials."""
    seconds: dict[tuple[str | None, ...], list[float]] = {}
    for directory in results:
        trials = tables.read(directory, "trials").select(["trial_id", *_KEY]).to_pylist()
        keys = {row["trial_id"]: tuple(row[name] for name in _KEY) for row in trials}
        epochs = tables.read(directory, "epochs").select(["trial_id", "epoch_seconds", "num_images"]).to_pylist()
        for row in epochs:
            if row["trial_id"] in keys and row["epoch_seconds"] is not None and row["num_images"]:
                seconds.setdefault(keys[row["trial_id"]], []).append(row["epoch_seconds"] / row["num_images"])
    return {key: statistics.median(found) for key, found in seconds.items()}
