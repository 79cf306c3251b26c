"""A smoke run: the same study, tiny. Every arm trains, stops and repeats as in the study, on next to no images.

It shows that the data are there, that each model takes them, that each method trains each student, and that the result
becomes a leaderboard. Its numbers mean nothing. Under a name of its own it never mixes with the study.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from kdtrain.images import DataInfo, load_info
from kdtrain.model import without_first_weights
from sweeps import study as studies
from sweeps.schema import Imported, Teachers
from sweeps.study import Study

# All chosen by hand: the least that goes through everything.
_EPOCHS = 2             # so that there is a rung before the last
_MOST_IN_A_BATCH = 50
_LARGEST_SIDE = 64      # pixels: ImageNet's networks take them, a tenth as long as 224

_FIELDS_OF_TEACHERS = frozenset(Teachers.model_fields) - {"by_model"}   # other keys are models
_NOT_FOR_A_TINY_TEACHER = frozenset(Imported.model_fields) - frozenset(Teachers.model_fields) | {"gate"}
_NO_NEED = frozenset({"teachers", "resources"})


def load(path_or_name: str) -> Study:
    """The tiny study of a study file or of a shipped study. Raises ValueError as `study.load` does."""
    whole = studies.load(path_or_name)
    return studies.parse(shrink(whole), f"smoke run of {whole.name}")


def shrink(study: Study) -> str:
    """The text of the tiny study: one trial and one repeat of two epochs for each arm, an image or two of each class.

    Search ranges, rules, recipes and what a method needs stay. Teachers are trained, for one epoch, where the study
    imports them; no gate asks what they have learned.
    """
    written = yaml.safe_load(study.source_text)
    info = load_info(study.data.name, study.data.root)
    tiny = {
        **{key: value for key, value in written.items() if key not in _NO_NEED},
        "study": f"{study.name}-smoke",
        "data": {**written["data"], "validation": info.num_classes, "train_images": info.num_classes},
        "pairs": _drop_weights(written["pairs"]),
        "tune": {name: found for name, found in written.get("tune", {}).items() if name != "batch_size"},
        "fix": {**written["fix"], **_shorten(info, epochs=_EPOCHS, warmup=min(1, study.fix["warmup_epochs"]))},
        "search": {**written["search"], "trials_per_arm": 1},
        "repeat": {**written.get("repeat", {}), "seeds": 1},
        "failure": {"retries": 0, "max_failed_fraction": 0.0},
    }
    if study.teachers:
        tiny["teachers"] = _shrink_teachers(written.get("teachers", {}), info)
    if study.stop.rule != "none":
        tiny["stop"] = {**written["stop"], "eta": 2, "grace": 1, "immune": 0.0}
    return f"# {study.name}, tiny: its numbers mean nothing.\n" + yaml.safe_dump(tiny, sort_keys=False, width=120)


def _shorten(info: DataInfo, *, epochs: int, warmup: int) -> dict[str, Any]:
    """The training fields that are made small."""
    batches = math.ceil(info.num_classes / _MOST_IN_A_BATCH)
    fields = {"epochs": epochs, "warmup_epochs": warmup, "batch_size": math.ceil(info.num_classes / batches)}
    return fields if max(info.size) <= _LARGEST_SIDE else {**fields, "image_size": _LARGEST_SIDE}


def _shrink_teachers(written: Mapping[str, Any], info: DataInfo) -> dict[str, Any]:
    models = {key: value for key, value in written.items() if key not in _FIELDS_OF_TEACHERS}
    common = {key: value for key, value in written.items() if key in _FIELDS_OF_TEACHERS}
    return {
        **_shrink_teaching(common, info),
        **{without_first_weights(model): _shrink_teaching(given, info) for model, given in models.items()},
    }


def _shrink_teaching(written: Mapping[str, Any], info: DataInfo) -> dict[str, Any]:
    kept = {key: value for key, value in written.items() if key not in _NOT_FOR_A_TINY_TEACHER}
    return {**kept, **_shorten(info, epochs=1, warmup=0)}


def _drop_weights(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs with networks whose weights are drawn, each once: two may differ in their weights alone."""
    drawn = [
        {role: without_first_weights(name) if role in ("teacher", "student") else name for role, name in pair.items()}
        for pair in pairs
    ]
    return [pair for place, pair in enumerate(drawn) if pair not in drawn[:place]]
