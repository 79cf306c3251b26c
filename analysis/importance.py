"""Which searched setting decides how good a trial is, arm by arm, by Optuna's two measures.

- PED-ANOVA (Watanabe, Bansal, Hutter 2023, arXiv:2304.10255): what sets the best trials apart from the others.
- fANOVA (Hutter, Hoos, Leyton-Brown 2014, ICML): what share of the variance over the whole range a setting explains
  alone, in a random forest fitted to the trials.

How far to trust them with few trials was simulated: two bowls, one three times as deep, a setting that does nothing,
noise of 0.3 sd. PED-ANOVA put the deeper bowl first 82 times in 100 with 10 trials, 87 with 30 and 92 with 100 (120
studies each); where nothing counted, the largest share was still 0.65. Hence its intervals, which are as wide as that:
0.8 at 30 trials. fANOVA put it first in 12 of 12 from 10 trials on.

This file alone of the analysis knows Optuna, and asks for it when it is called.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from analysis import statistics
from analysis.answer import Answer, Field
from analysis.arm_rows import ARM_KEYS
from analysis.names import describe_unknown
from analysis.queries import Results
from analysis.ranges import Range
from analysis.searches import Search, Tried, describe_arms, describe_untold, read_searches

EVALUATORS = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA"}
NUM_RESAMPLES = {"ped_anova": 200, "fanova": 0}     # by default; one takes 10 and 250 ms at 30 trials (one core)
OTHERS = "(others)"                                 # what fANOVA's single settings leave unexplained

# Optuna asks for 5 trials in the best quantile. With fewer than twice as many the best are no minority.
_LEAST_BEST = 5
_LEAST_TRIALS = 2 * _LEAST_BEST
_BEST_ONE_IN = 10   # Optuna's default quantile
_INTERVAL = (0.025, 0.975)
_SEED = 0           # of the forest and of the resampling: one question, one answer

_FIELDS = (
    Field("range", "text", "what was searched; a share is of this range and would be another one in another"),
    Field("importance", "share", "PED-ANOVA: of what sets the best trials apart; fANOVA: of the variance. Sums to 1 in "
                                 "an arm, whether or not any of its settings counts"),
    Field("importance_low", "share", "low end of the central 95 % of the shares that resampled trials give"),
    Field("importance_high", "share", "its high end; null where nothing was resampled"),
    Field("val_top1_sd", "fraction", "spread of validation top-1 over the trials: what there is to be explained"),
    Field("num_trials", "", "trials that ran to the end"),
    Field("num_unfinished", "", "trials left out, since they were stopped, diverged or failed"),
    Field("num_best", "", "trials that PED-ANOVA tells from the others; null for fANOVA"),
)


def measure(
    results: Results, *, evaluator: str = "ped_anova", method: str | None = None, num_resamples: int | None = None
) -> Answer:
    """A row per arm and setting, by importance; the arms that are refused stand in the notes, with the reason.

    evaluator: ped_anova or fanova. method: one label alone. num_resamples: bootstrap samples of the trials, for the
    intervals; NUM_RESAMPLES where it is None. ValueError for an unknown name, and where Optuna is missing.
    """
    if evaluator not in EVALUATORS:
        raise ValueError(describe_unknown("evaluator", evaluator, EVALUATORS))
    if num_resamples is not None and num_resamples < 0:
        raise ValueError(f"resamples: {num_resamples} is below 0\n\nhint: 0 leaves the intervals out")
    repeats = NUM_RESAMPLES[evaluator] if num_resamples is None else num_resamples
    optuna = _load_optuna(evaluator)
    searches = read_searches(results, method=method)
    obstacles = [_find_obstacle(search, evaluator) for search in searches]
    accepted = [search for search, obstacle in zip(searches, obstacles, strict=True) if obstacle is None]
    measured = [_measure_arm(optuna, search, evaluator, repeats) for search in accepted]
    return Answer(
        title=f"Importance of settings for validation top-1, arm by arm, by {EVALUATORS[evaluator]}",
        keys=(*ARM_KEYS, "setting"),
        fields=_FIELDS,
        rows=tuple(itertools.chain(*measured)),
        notes=(
            *describe_arms(accepted, [_describe_first(rows) if repeats else None for rows in measured]),
            *describe_arms(searches, [f"left out, {found}" if found else None for found in obstacles]),
            *describe_untold(searches),
            *_describe_making(accepted, evaluator, repeats),
        ),
    )


def _load_optuna(evaluator: str) -> ModuleType:
    try:
        import optuna  # here, since the rest of the analysis runs where it is not installed
        if evaluator == "fanova":
            optuna.importance.FanovaImportanceEvaluator()
    except ImportError as error:
        wanted = "pip install optuna scikit-learn" if evaluator == "fanova" else "pip install optuna"
        raise ValueError(f"importance by {evaluator} is Optuna's work: {error}\n\nhint: {wanted}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else a line for every study that is rebuilt
    return optuna


def _find_obstacle(search: Search, evaluator: str) -> str | None:
    """Why the arm's importances would be noise or nothing, if so."""
    values = [trial.val_top1 for trial in search.completed]
    if len(search.ranges) < 2:
        only = "".join(search.ranges)
        return f"one setting is searched, {only}, whose share is 1 by definition" if only else "no setting is searched"
    if len(values) < _LEAST_TRIALS:
        return f"{len(values)} of {len(search.tried)} trials ran to the end where {_LEAST_TRIALS} are needed"
    if min(values) == max(values):
        return "all trials have the same validation top-1"
    if evaluator == "ped_anova" and _count_best(values) > len(values) / 2:
        return "more than half of the trials tie for the best, so there is nothing to tell them from"
    return None


def _measure_arm(optuna: ModuleType, search: Search, evaluator: str, repeats: int) -> list[dict[str, Any]]:
    trials = search.completed
    shares = _share(optuna, search.ranges, trials, evaluator)
    samples = [_share(optuna, search.ranges, sample, evaluator) for sample in _resample(trials, repeats)]
    values = [trial.val_top1 for trial in trials]
    about = {
        "val_top1_sd": statistics.sd(values),
        "num_trials": len(trials),
        "num_unfinished": len(search.unfinished),
        "num_best": _count_best(values) if evaluator == "ped_anova" else None,
    }
    rows = []
    for name in sorted(shares, key=lambda name: (name == OTHERS, -shares[name], name)):
        low, high = np.quantile([sample[name] for sample in samples], _INTERVAL).tolist() if samples else (None, None)
        rows.append({
            **search.keys,
            "setting": name,
            "range": search.ranges[name].describe() if name in search.ranges else None,
            "importance": float(shares[name]),
            "importance_low": low,
            "importance_high": high,
            **about,
        })
    return rows


def _resample(trials: Sequence[Tried], repeats: int) -> Iterator[list[Tried]]:
    """Bootstrap samples of the trials, without those of one value alone, which say nothing."""
    draw = np.random.default_rng(_SEED)
    while repeats > 0:
        sample = [trials[place] for place in draw.integers(len(trials), size=len(trials))]
        if len({trial.val_top1 for trial in sample}) > 1:
            repeats -= 1
            yield sample


def _share(
    optuna: ModuleType, searched: Mapping[str, Range], trials: Sequence[Tried], evaluator: str
) -> dict[str, float]:
    """Setting -> share, summing to 1."""
    study = _rebuild(optuna, searched, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `normalize`
        warnings.simplefilter("ignore", UserWarning)    # all trials of a resample tie for the best: shares are equal
        if evaluator == "ped_anova":
            # half a trial less than the best ones: Optuna rounds up, and 29 / 283 x 283 is a bit above 29
            quantile = (_least_best(len(trials)) - 0.5) / len(trials)
            chosen = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
            return optuna.importance.get_param_importances(study, evaluator=chosen)
        chosen = optuna.importance.FanovaImportanceEvaluator(seed=_SEED)
        alone = optuna.importance.get_param_importances(study, evaluator=chosen, normalize=False)
    return {**alone, OTHERS: max(0.0, 1 - sum(alone.values()))}     # below 0 by rounding alone


def _least_best(num_trials: int) -> int:
    return max(_LEAST_BEST, math.ceil(num_trials / _BEST_ONE_IN))


def _count_best(values: Sequence[float]) -> int:
    """How many trials are at least as good as the last of the best."""
    least = sorted(values, reverse=True)[_least_best(len(values)) - 1]
    return sum(value >= least for value in values)


def _rebuild(optuna: ModuleType, searched: Mapping[str, Range], trials: Sequence[Tried]) -> Any:
    """The trials as a study of Optuna's, in memory.

    Logarithmic ranges are given as ranges of the logarithm: fANOVA would take its means evenly over the plain values,
    nine tenths of which lie in the last decade; to PED-ANOVA it is the same.
    """
    distributions = {name: _to_optuna(optuna, found) for name, found in searched.items()}
    study = optuna.create_study(direction="maximize")
    study.add_trials([
        optuna.trial.create_trial(
            params={name: searched[name].straighten(value) for name, value in trial.settings.items()},
            distributions=distributions,
            value=trial.val_top1,
        )
        for trial in trials
    ])
    return study


def _to_optuna(optuna: ModuleType, searched: Range) -> Any:
    if searched.kind == "choice":
        return optuna.distributions.CategoricalDistribution(searched.values)
    if searched.kind == "int":
        return optuna.distributions.IntDistribution(searched.low, searched.high)
    low, high = searched.straighten(searched.low), searched.straighten(searched.high)
    return optuna.distributions.FloatDistribution(low, high)


def _describe_first(rows: Sequence[Mapping[str, Any]]) -> str:
    first, *others = (row for row in rows if row["setting"] != OTHERS)
    if all(first["importance_low"] > row["importance_high"] for row in others):
        return f"{first['setting']} counts most, its interval lies above the others"
    return "no setting stands out, the intervals overlap"


def _describe_making(accepted: Sequence[Search], evaluator: str, repeats: int) -> Iterator[str]:
    if not accepted:
        return
    if evaluator == "ped_anova":
        yield f"PED-ANOVA tells the best {1 / _BEST_ONE_IN:.0%} of the trials, at least {_LEAST_BEST}, from all of them"
    else:
        yield f"{OTHERS}: interactions of the settings, and noise that the forest took for them"
    if repeats:
        yield f"intervals: {repeats} bootstrap samples of the trials; they show what other trials might have said"
    else:
        yield "no intervals: nothing was resampled, and with few trials noise looks like importance"
    if any(search.unfinished for search in accepted):
        yield ("trials that did not run to the end are left out, their values are of smaller budgets: a setting that "
               "decides who is stopped early counts for less here")
    if evaluator == "fanova" and any(search.sampler == "tpe" for search in accepted):
        yield "fANOVA wants trials all over the ranges; TPE tried most of them where it was good: see `sampler: random`"
