"""Training recipes by name: the fields of a TrialConfig that a paper or a tool trains with.

What a recipe leaves out (augmentation, in `small`) is the data set's own; what a study says goes before both.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from kdtrain.names import describe_unknown

RECIPES = MappingProxyType({
    # Contrastive Representation Distillation, Tian et al. 2020, arXiv:1910.10699, its published training script, and
    # most CIFAR-100 tables since: x0.1 after epochs 150, 180 and 210 of 240. As shares, so that a shorter budget is a
    # whole schedule. Light networks (MobileNetV2, ShuffleNet) take lr 0.01 there.
    "crd": {
        "epochs": 240, "batch_size": 64, "lr": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4,
        "schedule": "step", "milestones": (0.625, 0.75, 0.875), "decay": 0.1, "warmup_epochs": 0,
        "augment": "crop_flip", "padding": 4,
    },
    # Small images and narrow networks in minutes: chosen by hand.
    "small": {
        "epochs": 20, "batch_size": 64, "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
        "schedule": "cosine", "warmup_epochs": 1,
    },
})


def list_recipes() -> list[str]:
    """The names that a study file may use."""
    return sorted(RECIPES)


def load_recipe(name: str, model: str | None = None) -> dict[str, Any]:
    """The recipe's fields of a TrialConfig. Raises ValueError for an unknown name."""
    if name not in RECIPES:
        raise ValueError(describe_unknown("recipe", name, RECIPES))
    return dict(RECIPES[name])
