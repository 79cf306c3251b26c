"""What two keys of a study file say that cannot both hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.problems import Problems
from sweeps.schema import Repeat, Stop

if TYPE_CHECKING:
    from sweeps.study import Study


def refuse_best_val_without_validation(repeat: Repeat, problems: Problems) -> None:
    """An epoch is chosen by images that are not trained on."""
    if repeat.epoch == "best_val" and repeat.train_on != "train":
        problems.add(
            "repeat.epoch: best_val has no validation images to choose an epoch by when repeat.train_on is "
            f"{repeat.train_on}\n\nhint: write epoch: last, or train_on: train"
        )


def refuse_idle_compression(stop: Stop, problems: Problems) -> None:
    """Compressed budgets are for promotion alone."""
    if stop.budgets == "compress" and stop.rule != "asha":
        reason = {
            "asha_stop": "has no rung to stop a trial at: each of its budgets is a trial that comes to its end",
            "none": "has no effect with rule none",
        }[stop.rule]
        problems.add(f"stop.budgets: compress {reason}\n\nhint: write rule: asha")


def refuse_grid_without_steps(study: Study, problems: Problems) -> None:
    """A grid needs ranges that are cut into steps."""
    if study.search.sampler == "grid":
        for arm in study.arms:
            for name, space in arm.space.items():
                with problems.collect(f"search.sampler: grid: {arm.label}.{name}: "):
                    space.grid_points()
