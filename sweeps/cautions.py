"""What a study file may say and probably does not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

from kdtrain.augment import count_views
from kdtrain.images import DataInfo, Split, find_data, list_data
from sweeps.asha import is_immune

if TYPE_CHECKING:
    from kdtrain.config import TrialConfig
    from sweeps.study import Study


def list_cautions(study: Study) -> list[str]:
    """A sentence for each, which begins with its key."""
    warnings = [
        f"methods.{label}: nothing is searched: its trials differ by seed alone"
        for label in dict.fromkeys(arm.label for arm in study.arms if not arm.space)
    ]
    if study.resources.workers and not _has_work(study):
        warnings.append(
            f"resources.workers: {study.resources.workers} have no effect: {study.data.name} is in memory, and its "
            "views are gathered from there; leave workers out"
        )
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


def _has_work(study: Study) -> bool:
    """Whether processes that decode and transform images may have any to do, to train or to measure."""
    if study.data.name not in list_data():  # of a folder or a user's own data set it is not known before it is read
        return True
    data = find_data(study.data.name, study.data.root)
    if Split not in get_args(get_type_hints(data.load)["return"]):
        return True
    configs = [study.trial_config(arm, {}, seed=study.seed, stage="tune") for arm in study.arms]
    return any(_makes_views(config, data.INFO) for config in (*configs, *(found.config for found in study.teachers)))


def _makes_views(config: TrialConfig, info: DataInfo) -> bool:
    """Whether images of the data set's own size, all in memory, are transformed one by one."""
    size = info.size if config.image_size is None else (config.image_size, config.image_size)
    return count_views(config) is None or size != info.size
