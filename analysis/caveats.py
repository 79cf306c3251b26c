"""What makes a comparison less than fair, one sentence each: to be read before a board is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from analysis.arms import Arm, Plan, find_pairs
from analysis.footer import Facts, name_arm

# What all methods of a study share and two studies need not: the word, and where it is written.
_SHARED: Mapping[str, Callable[[Plan], Any]] = {
    "epoch rule": lambda plan: plan.study["epoch_rule"],
    "selection split": lambda plan: plan.study["selection_split"],
    "trials per arm": lambda plan: plan.trials_per_arm,
    "sampler": lambda plan: (plan.config.get("search") or {}).get("sampler"),
    "stopping": lambda plan: plan.config.get("stop"),
    "recipe": lambda plan: plan.config.get("fix"),
    "seeds per arm": lambda plan: plan.num_seeds,
    "images of the repeats": lambda plan: (plan.config.get("repeat") or {}).get("train_on"),
    "code": lambda plan: plan.study["code_version"],
}
_OF_LABEL = {"method": "method", "fixed": "fixed settings", "space": "ranges"}  # of a planned arm, in words


def find_warnings(facts: Facts, arms: Sequence[Arm], plans: Mapping[str, Plan], *, plain: str) -> Iterator[str]:
    """One sentence per thing that makes a comparison less than fair; plain: the label that gains are measured from."""
    for study_id, plan in plans.items():
        yield from _judge_study(plan, [arm for arm in arms if arm.pair.study_id == study_id], plain=plain)
    for arm in arms:
        yield from _judge_arm(arm)
    for row in facts["unfair_teachers"]:
        yield f"teacher {row['model']} on {row['data']} was trained on the validation images"
    if len(plans) > 1:
        yield from _judge_mixture(arms, list(plans.values()))


def _judge_study(plan: Plan, arms: Sequence[Arm], *, plain: str) -> Iterator[str]:
    tuned = {arm.measured.get("num_tuned") or 0 for arm in arms}
    if len(tuned) > 1 and min(tuned) >= (plan.trials_per_arm or 0):
        yield f"{plan.name}: methods were not searched equally: {min(tuned)} to {max(tuned)} trials"
    if plan.num_seeds == 0:
        yield f"{plan.name}: the study repeats nothing, so there are no test results"
    elif plan.num_seeds == 1:
        yield f"{plan.name}: one seed, so there are no intervals and no gap closed"
    if arms and not any(arm.label == plain for arm in arms):
        yield f"{plan.name}: nothing is labelled {plain}, so its pairs have no gain, no gap closed and no verdict"
    if other := {arm.method for arm in arms if arm.label == plain} - {plain, None}:
        yield f"{plan.name}: what is labelled {plain} is {', '.join(sorted(other))}, and every gain is measured from it"


def _judge_arm(arm: Arm) -> Iterator[str]:
    num_seeds, lost = len(arm.seeds), arm.measured.get("num_lost") or 0
    if (arm.measured.get("num_settings") or 0) > 1:
        yield f"{name_arm(arm)}: its repeats have {arm.measured['num_settings']} different settings"
    if num_seeds and lost:
        yield (f"{name_arm(arm)}: {lost} of {num_seeds + lost} repeats diverged or failed, and the others alone are "
               "in its mean")
    if num_seeds > 1 and min(arm.seeds) == max(arm.seeds):
        yield f"{name_arm(arm)}: its {num_seeds} seeds agree to the last image, so its interval has no width"


def _judge_mixture(arms: Sequence[Arm], plans: Sequence[Plan]) -> Iterator[str]:
    """What several studies on one board do not share."""
    if apart := [word for word, read in _SHARED.items() if _differ([read(plan) for plan in plans])]:
        yield (f"the studies differ in {', '.join(apart)}: gains are measured within a study, but ranks, tests and "
               "means over pairs mix them")
    studies: dict[tuple[Any, ...], set[str]] = {}
    for pair in find_pairs(arms, plans):
        studies.setdefault((pair.data, pair.teacher, pair.student), set()).add(pair.study_id)
    if again := sum(len(found) > 1 for found in studies.values()):
        yield f"{again} of {len(studies)} pairs are in several studies and count once for each: no independent pairs"
    planned = [plan.config.get("arms") or [] for plan in plans]
    for label in dict.fromkeys(arm["label"] for found in planned for arm in found):
        own = [[arm for arm in found if arm["label"] == label] for found in planned]
        if apart := [word for name, word in _OF_LABEL.items() if _differ([_list_values(of, name) for of in own])]:
            yield f"{label} is not the same in all studies: they differ in its {' and '.join(apart)}"


def _list_values(arms: Sequence[Mapping[str, Any]], name: str) -> list[str] | None:
    """What the arms have there, each value once; None where there is no such arm."""
    return sorted({json.dumps(arm.get(name), sort_keys=True) for arm in arms}) or None


def _differ(values: Sequence[Any]) -> bool:
    """Whether those that are known are not all the same."""
    known = [value for value in values if value is not None]
    return any(value != known[0] for value in known)
