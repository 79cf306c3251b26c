"""What a study file may say and probably does not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.asha import is_immune

if TYPE_CHECKING:
    from sweeps.study import Study


def list_cautions(study: Study) -> list[str]:
    """A sentence for each, which begins with its key."""
    warnings = [
        f"methods.{label}: nothing is searched: its trials differ by seed alone"
        for label in dict.fromkeys(arm.label for arm in study.arms if not arm.space)
    ]
    if study.stop.rule == "none":
        return warnings
    if study.stop.immune and not any(is_immune(n, study.stop.immune) for n in range(study.search.trials_per_arm)):
        warnings.append(
            f"stop.immune: {study.stop.immune:g} of {study.search.trials_per_arm} is less than one: no trial is "
            "immune, and what early stopping costs is not measured"
        )
    if not study.rungs:
        warnings.append(f"stop.grace: no rung before epoch {study.epochs}: no trial is stopped")
    elif study.fix["schedule"] == "step" and study.stop.budgets == "truncate":
        decay = round(study.fix["milestones"][0] * study.epochs)
        if study.rungs[0] < decay:
            warnings.append(
                f"stop.grace: the first rung, epoch {study.rungs[0]}, lies before the first decay of the learning "
                f"rate, epoch {decay}: there the order of trials says little about their end; `budgets: compress` "
                "gives each rung a whole schedule"
            )
    return warnings
