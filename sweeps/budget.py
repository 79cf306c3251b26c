"""Compressed budgets: the whole training in fewer epochs, so that a trial of any budget ends as the longest one does.

Cut off early, a trial of a step schedule is judged before its learning rate has fallen, where the order of settings
says little about their end. Compressed, it has every decay behind it. What is told as a share of the epochs shrinks by
itself (milestones, cosine, linear, poly, one_cycle); what is told in epochs shrinks here, the settings of a method that
count epochs among them: else DKD alone would be judged by rungs at which its loss is still warming up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def compress(training: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The training fields of a TrialConfig for a budget of `epochs`, at most its own.

    The warm-up keeps its share of the epochs, rounded: one epoch at least where there was one, and never all of them.
    A learning rate that falls after each epoch (`exponential`) falls as far in all.
    """
    warmup = _shrink(training["warmup_epochs"], epochs / training["epochs"], epochs)
    fields = {**training, "epochs": epochs, "warmup_epochs": warmup}
    if training["schedule"] == "exponential":
        falls = training["epochs"] - training["warmup_epochs"]
        fields["decay"] = training["decay"] ** (falls / (epochs - warmup))
    return fields


def compress_settings(settings: Mapping[str, Any], in_epochs: Collection[str], share: float) -> dict[str, Any]:
    """A method's settings for a budget of this share of the epochs: one epoch at least where there was one."""
    return {
        name: max(1, round(value * share)) if name in in_epochs and value else value
        for name, value in settings.items()
    }


def _shrink(warmup: int, share: float, epochs: int) -> int:
    return min(epochs - 1, max(1, round(warmup * share))) if warmup else 0
