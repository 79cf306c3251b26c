"""A study as it is understood, for a person to read: every training field once, and what each arm's trials add."""

from __future__ import annotations

from typing import Any

from sweeps.study import Arm, Study


def resolve(study: Study) -> dict[str, Any]:
    """The study as plain JSON values: like `Study.to_json`, but no training field is left out, and with the trial that
    each arm begins with."""
    shown = study.to_json()
    shown["fix"] = {**study.fix, "milestones": list(study.fix["milestones"])}
    for arm, entry in zip(study.arms, shown["arms"], strict=True):
        entry["trial"] = _describe_first_trial(study, arm)
    return shown


def _describe_first_trial(study: Study, arm: Arm) -> dict[str, Any]:
    """The settings, and the training fields in which the arm's first trial differs from `fix`."""
    settings, budget = arm.first[0] if arm.first else {}, study.find_next_budget(0)
    config = study.trial_config(arm, settings, seed=study.seed, stage="tune", budget=budget).to_dict()
    fixed = {**study.fix, "milestones": list(study.fix["milestones"])}
    own = {name: config[name] for name in fixed if config[name] != fixed[name]}
    return {"settings": config["settings"], **own}
