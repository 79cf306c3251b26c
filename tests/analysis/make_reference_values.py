"""Fill reference_values.json with what other people's libraries make of its inputs.

The inputs are invented accuracies: four methods, eight pairs. The libraries are no dependency of ours (rliable is
archived and breaks with pandas 3), so they live in an environment that is thrown away:

    python3.11 -m venv /tmp/reference
    /tmp/reference/bin/pip install rliable==1.2.0 "arch<8" pandas==2.3.3 autorank==1.3.0 baycomp==1.0.3
    /tmp/reference/bin/python tests/analysis/make_reference_values.py

statsmodels and scipy come with them; the versions in use are written beside the values. It takes about two minutes.
"""

from __future__ import annotations

import itertools
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import baycomp
import numpy as np
import pandas as pd
from autorank import autorank
from rliable import library, metrics
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

FILE = Path(__file__).with_name("reference_values.json")
LIBRARIES = ("rliable", "arch", "pandas", "autorank", "baycomp", "statsmodels", "scipy", "numpy")
REPETITIONS = 50_000
SEED = 20260101         # of numpy's global state, which rliable draws from
THRESHOLDS = [0.68, 0.70, 0.705, 0.72, 0.73, 0.75]
ROPE = 0.002
SCALE = 20_000          # makes a mean of four or five accuracies of three digits a whole number
EFFECTS = [0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0]     # delta / sd

Scores = dict[str, np.ndarray]  # method: (seed, pair)


def compute_aggregates(scores: Scores, teacher: np.ndarray) -> dict[str, Any]:
    """rliable's values per method, and its intervals with method and plain student resampled independently."""
    plain = scores["ce"]

    def aggregate(method: np.ndarray, plain: np.ndarray) -> np.ndarray:
        gains = method - plain.mean(axis=0)
        pooled = gains.mean(axis=0).sum() / (teacher - plain.mean(axis=0)).sum()
        return np.array([pooled, metrics.aggregate_mean(gains), metrics.aggregate_iqm(gains)])

    others = {name: [values, plain] for name, values in scores.items() if name != "ce"}
    points, intervals = library.get_interval_estimates(others, aggregate, reps=REPETITIONS)
    return {
        "iqm": {name: metrics.aggregate_iqm(values) for name, values in scores.items()},
        "iqm_gain": {name: point[2] for name, point in points.items()},
        "mean_gain": {name: point[1] for name, point in points.items()},
        "intervals": {name: dict(zip(("pooled_gap_closed", "mean_gain", "iqm_gain"), ends.T.tolist(), strict=True))
                      for name, ends in intervals.items()},
        "profile": {name: library.score_distributions(values, np.array(THRESHOLDS)).tolist()
                    for name, values in scores.items()},
    }


def compute_improvement(scores: Scores) -> dict[str, Any]:
    """rliable's probability of improvement and its interval for every two methods."""
    couples = {f"{a},{b}": [scores[a], scores[b]] for a, b in itertools.combinations(scores, 2)}

    def improve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([metrics.probability_of_improvement(a, b)])

    points, intervals = library.get_interval_estimates(couples, improve, reps=2000)     # a repetition takes 2 ms
    return {
        "improvement": {couple: float(point[0]) for couple, point in points.items()},
        "improvement_interval": {couple: ends[:, 0].tolist() for couple, ends in intervals.items()},
    }


def compute_tests(means: pd.DataFrame) -> dict[str, Any]:
    """Friedman and one-sided Wilcoxon by autorank, two-sided by scipy, Holm by statsmodels, posterior by baycomp."""
    couples = list(itertools.combinations(means, 2))
    whole = (means * SCALE).round()     # differences of fractions that tie differ by rounding errors
    p_values = [float(stats.wilcoxon(whole[a] - whole[b]).pvalue) for a, b in couples]
    _, holm, _, _ = multipletests(p_values, method="holm")
    one_sided = [rank(whole[[a, b]]) for a, b in couples]
    columns = {name: means[name].to_numpy() for name in means}
    posterior = [
        [float(share) for share in baycomp.SignedRankTest.probs(
            columns[b], columns[a], ROPE, nsamples=REPETITIONS, random_state=SEED)]
        for a, b in couples
    ]
    named = {"wilcoxon": p_values, "wilcoxon_one_sided": one_sided, "holm": holm.tolist(), "posterior": posterior}
    return {"friedman": rank(means)} | {
        name: {f"{a},{b}": value for (a, b), value in zip(couples, values, strict=True)}
        for name, values in named.items()
    }


def rank(means: pd.DataFrame) -> float:
    """autorank's p: Friedman's of many methods, of two Wilcoxon's that the one of higher median is better."""
    return float(autorank(means, force_mode="nonparametric", verbose=False).pvalue)


def compute_power(scores: Scores) -> dict[str, Any]:
    """statsmodels' seeds, smallest difference and Welch interval; the last two of the first pair, per method."""
    power = TTestIndPower()
    plain = scores["ce"][:, 0]
    detectable, welch = {}, {}
    for name, values in scores.items():
        other = values[:, 0]
        pooled = CompareMeans(DescrStatsW(other), DescrStatsW(plain))
        effect = power.solve_power(nobs1=len(other), ratio=len(plain) / len(other), power=0.8, alpha=0.05)
        detectable[name] = float(effect * pooled.std_meandiff_pooledvar / np.sqrt(1 / len(other) + 1 / len(plain)))
        welch[name] = [float(end) for end in pooled.tconfint_diff(usevar="unequal")]
    seeds = [float(power.solve_power(effect, power=0.8, alpha=0.05)) for effect in EFFECTS]
    return {"seeds_needed": seeds, "smallest_detectable": detectable, "welch_interval": welch}


def write(tables: dict[str, dict[str, Any]]) -> None:
    """One line per entry, so that a change can be read."""
    parts = []
    for name, entries in tables.items():
        lines = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items()]
        parts.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main() -> None:
    inputs = json.loads(FILE.read_text())["inputs"]
    methods = {name: value for name, value in inputs.items() if name != "teacher"}
    pairs = list(inputs["teacher"])
    scores = {name: np.array([seeds[pair] for pair in pairs]).T for name, seeds in methods.items()}
    means = pd.DataFrame({name: values.mean(axis=0) for name, values in scores.items()}, index=pairs)
    np.random.seed(SEED)
    values = compute_aggregates(scores, np.array(list(inputs["teacher"].values())))
    values |= compute_improvement(scores) | compute_tests(means) | compute_power(scores)
    settings = {"thresholds": THRESHOLDS, "rope": ROPE, "effects": EFFECTS, "repetitions": REPETITIONS}
    write({"versions": {name: version(name) for name in LIBRARIES}, "inputs": inputs, "settings": settings,
           "values": values})


if __name__ == "__main__":
    main()
