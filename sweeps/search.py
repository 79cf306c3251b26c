"""Proposals of one arm: a pure function of its history, so that a resumed study proposes what it would have proposed.

Optuna's study is rebuilt in ask order for every proposal and its sampler is seeded by (study seed, arm, number).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import optuna
from optuna.trial import TrialState

from kdtrain.randomness import derive_seed
from sweeps.study import Arm

optuna.logging.set_verbosity(optuna.logging.WARNING)
Settings = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What the search knows of one earlier trial of its arm."""

    settings: Mapping[str, Any]
    state: str                                    # running, completed, pruned, failed
    value: float | None = None                    # final value of a completed trial
    values: Mapping[int, float] = field(default_factory=dict)  # epoch -> value, of a pruned one; NaN is worst


def propose(arm: Arm, history: Sequence[Asked], *, sampler: str, seed: int) -> Settings:
    """The settings of the arm's next trial. The arm's first points (the paper's settings) come first."""
    number = len(history)
    if not arm.space:
        return {}
    if sampler == "grid":
        return _propose_from_grid(arm, number, seed=seed)
    distributions = {name: found.to_optuna() for name, found in arm.space.items()}
    drawing = _build_sampler(sampler, derive_seed(seed, arm.arm_id, number))
    study = _rebuild(history if sampler == "tpe" else (), distributions, sampler=drawing)
    if number < len(arm.first):
        study.enqueue_trial(dict(arm.first[number]))
    return dict(study.ask(distributions).params)


def _build_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    seed %= 2**32
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # constant_liar: a running trial counts as a bad one, so that parallel asks do not all go to one place
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _rebuild(history: Sequence[Asked], distributions: Mapping[str, Any], *, sampler: Any) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for asked in history:
        state = _STATES[asked.state]
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=dict(asked.settings),
                distributions=dict(distributions),
                value=asked.value if state == TrialState.COMPLETE else None,
                intermediate_values=dict(asked.values) if state == TrialState.PRUNED else {},
            )
        )
    return study


_STATES = {
    "running": TrialState.RUNNING,
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,  # an early-stopped trial told as complete would be compared at the wrong epoch
    "failed": TrialState.FAIL,
}


def _propose_from_grid(arm: Arm, number: int, *, seed: int) -> Settings:
    """The grid in an order drawn from the seed; after its last point it starts again, so that budgets stay equal."""
    axes = [found.grid_points() for found in arm.space.values()]
    points = [dict(zip(arm.space, values, strict=True)) for values in product(*axes)]
    points.sort(key=lambda point: derive_seed(seed, arm.arm_id, sorted(point.items())))
    return points[number % len(points)]
