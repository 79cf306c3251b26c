"""Inputs and values of rliable, autorank, baycomp and statsmodels; make_reference_values.py says how they were made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

REFERENCE = json.loads((Path(__file__).parent / "reference_values.json").read_text())
INPUTS, SETTINGS, VALUES = REFERENCE["inputs"], REFERENCE["settings"], REFERENCE["values"]
METHODS = ("ce", "kd", "nkd", "at")
MEANS = {name: {pair: float(np.mean(seeds)) for pair, seeds in INPUTS[name].items()} for name in METHODS}
COUPLES = list(VALUES["wilcoxon"])

# In steps of 0.001, so that ties and zeros are frequent.
DIFFERENCE = st.integers(-20, 20).map(lambda count: count / 1000)


def subtract(couple: str) -> list[float]:
    """The differences of two methods' means, one per pair; couple: `a,b`."""
    a, b = couple.split(",")
    return [MEANS[a][pair] - MEANS[b][pair] for pair in MEANS[a]]
