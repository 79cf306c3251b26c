"""Training fields that a label fixes for its trials alone: `{label: ce_lr_x2, method: ce, lr: 2x}`.

A value takes the field's place. `2x` stands for twice what the student would be trained with, which a recipe may have
otherwise for each model. A field that a label fixes is not searched for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdtrain.config import TrialConfig
from sweeps.space import Value, read_number, read_whole

_MULTIPLE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)x")
_MULTIPLIED = ("lr", "weight_decay")    # where a multiple means something: rates


@dataclass(frozen=True)
class Multiple:
    """So many times the student's own value."""

    factor: float


def read_field(name: str, given: Any) -> Value | Multiple:
    """What a label gives to a training field. Raises ValueError where no trial could be trained so."""
    if isinstance(given, str) and (found := _MULTIPLE.fullmatch(given)):
        if name not in _MULTIPLIED:
            raise ValueError(f"{given!r} is a multiple\n\nhint: only {' and '.join(_MULTIPLIED)} can be multiples")
        TrialConfig(data="any", student="any", **{name: float(found[1])})
        return Multiple(float(found[1]))
    value = read_whole(given) if name == "batch_size" else float(read_number(given))
    TrialConfig(data="any", student="any", **{name: value})
    return value


def apply(fields: Mapping[str, Value | Multiple], training: Mapping[str, Any]) -> dict[str, Value]:
    """The fields' values for a student with this training."""
    return {
        name: training[name] * given.factor if isinstance(given, Multiple) else given
        for name, given in fields.items()
    }
