"""How well a rung predicts the end, and what is lost by believing it.

Measured on trials that ran to the end whatever their rungs said. The survivors of stopping would not do: they were
selected by their value at the rung, so their order there says little and the ones that were wrongly stopped are gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis import budgets, statistics
from analysis.answer import Answer, Field
from analysis.arm_rows import ARM_COLUMNS, ARM_KEYS, Row, group_by_arm, read, sort_arms, to_keys
from analysis.arms import Plan
from analysis.queries import Results
from analysis.settings import IS_WHOLE, SETTINGS

WORST = -math.inf       # the final value of a trial that diverged, and a missing one at a rung
OWN_ROW_FROM = 10       # trials from which an arm has a row of its own: with fewer, its interval says next to nothing
_LEVEL = 0.95
_REPLICATES = 1000
_BLOCK = 512            # trials whose pairs with all others are held at once: 10,000 trials take 60 MB, not 1.2 GB
_SEED = 0               # of the bootstrap: the same tables give the same interval

_TRIALS = f"""
    SELECT {ARM_COLUMNS}, number, trial_id, status, immune, epochs_planned,
           CASE WHEN status = 'completed' THEN val_top1 END AS final
    FROM ({SETTINGS}) ORDER BY study_id, arm_id, number
"""
_VALUES = "SELECT study_id, trial_id, epoch, val_top1 AS value FROM epochs WHERE epoch IN {epochs}"
_BUDGETS = f"""
    SELECT study_id, arm_id, number, rung AS epoch, val_top1 AS value FROM trials
    WHERE stage = 'tune' AND NOT ({IS_WHOLE})
"""  # of compressed budgets: values of other trials than the one that came to the end
_PLANNED = "SELECT study_id, max(epochs_planned) AS epochs FROM trials WHERE stage = 'tune' GROUP BY study_id"

_FIELDS = (
    Field("num_arms", "", "arms with two or more trials that ran to the end whatever their rungs said"),
    Field("num_trials", "", "those trials"),
    Field("tau", "share", "Kendall's tau-b of the value at the rung and the final one, over pairs of trials within "
                          "an arm: 1 is the same order, 0 is none, -1 the reverse", "high"),
    Field("tau_low", "share", "lower end of its 95 % interval: bootstrap of the trials within their arms"),
    Field("tau_high", "share", "upper end"),
    Field("regret", "difference", "best final value of an arm's trials minus the best among those that the rung "
                                  "would let pass, mean over arms", "low"),
    Field("regret_low", "difference", "lower end of its 95 % interval: Student-t over arms, rather too narrow"),
    Field("regret_high", "difference", "upper end"),
    Field("regret_by_chance", "difference", "the same if as many were let pass at random"),
    Field("best_stopped", "share", "share of arms whose eventual best would be stopped", "low"),
    Field("best_stopped_low", "share", "lower end of its 95 % interval (Wilson)"),
    Field("best_stopped_high", "share", "upper end"),
    Field("best_stopped_by_chance", "share", "the same if as many were let pass at random"),
)


@dataclass(frozen=True)
class Outcome:
    """What believing the rung would have done to one arm. Values are fractions."""

    regret: float
    regret_by_chance: float
    best_stopped: bool
    best_stopped_by_chance: float


Arms = Sequence[tuple[np.ndarray, np.ndarray]]  # per arm: values at the rung (n,) and final values (n,)


def measure(results: Results, *, epochs: Sequence[int] | None = None) -> Answer:
    """Rank correlation of each rung with the end and the regret of stopping there: per study, and per large arm.

    epochs: which epochs to judge; None: the study's own rungs, grace times eta^k. ValueError for an epoch that is not
    before the end.
    """
    plans, facts = read(results, {"planned": _PLANNED})
    last = {row["study_id"]: row["epochs"] for row in facts["planned"]}
    rungs = {study_id: _choose_rungs(plan, last.get(study_id), epochs) for study_id, plan in plans.items()}
    wanted = sorted({epoch for found in rungs.values() for epoch in found})
    asked = {"trials": _TRIALS, "values": _VALUES.format(epochs=[0, *wanted]), "budgets": _BUDGETS}
    plans, facts = read(results, asked)
    trials = sort_arms(facts["trials"], plans)
    at = _key_values(facts, plans)
    rows, notes = [], []
    for study_id, plan in plans.items():
        usable = [row for row in trials if row["study_id"] == study_id and _ran_on(row, plan)]
        found = list(_measure_study(usable, rungs.get(study_id, []), plan, at))
        rows += found
        notes += _describe(plan, [row for row in trials if row["study_id"] == study_id], usable, found)
    return Answer(
        title="How well a rung predicts the end",
        keys=(*ARM_KEYS, "epoch"),
        fields=_FIELDS,
        rows=tuple(rows),
        notes=tuple(notes),
    )


def measure_tau(arms: Arms) -> float | None:
    """Kendall's tau-b over pairs within arms; of one arm that of Kendall 1945. None where no pair is untied."""
    agree, rung, final = np.sum([_count_pairs(*arm) for arm in arms], axis=0) if len(arms) else (0, 0, 0)
    return float(agree / math.sqrt(rung * final)) if rung and final else None


def bound_tau(arms: Arms, *, seed: int = _SEED) -> tuple[float, float] | None:
    """95 % percentile bootstrap of `measure_tau`: trials are drawn again within their arm, the arms stay.

    It covers the truth 91 to 99 times in 100 for 15 arms of 2 to 6 trials, 40 of 4, 6 of 5, 3 of 10, and one of 10 to
    60 (simulation, 400 replicates each, tau 0.33 and 0.71). Drawing arms as well covers 99 to 100 and is half as wide
    again; drawing arms alone falls to 72 for three arms. None where every pair is in the same order: drawing again
    can only repeat that.
    """
    found = measure_tau(arms)
    if found is None or abs(found) > 1 - 1e-12:
        return None
    rng = np.random.default_rng(seed)
    agree, rung, final = np.sum([_draw_pairs(rng, *arm) for arm in arms], axis=0)
    untied = (rung > 0) & (final > 0)
    drawn = agree[untied] / np.sqrt(rung[untied] * final[untied])
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def judge_stopping(rung: np.ndarray, final: np.ndarray, *, eta: int) -> Outcome:
    """What letting the best floor(n / eta), at least one, pass at the rung would have cost this arm.

    Ties at the rung go to the earlier trial. Where all that pass diverge later, the next one takes their place, as a
    search that pauses lets it.
    """
    num_passing = max(1, len(rung) // eta)
    ranked = final[np.argsort(-rung, kind="stable")]
    finished = ranked[np.isfinite(ranked)]
    passed = ranked[:num_passing][np.isfinite(ranked[:num_passing])]
    left, best = (passed.max() if len(passed) else finished[0]), finished.max()
    left_by_chance = budgets.expected_best(finished.tolist(), min(num_passing, len(finished)))
    return Outcome(
        regret=float(best - left),
        regret_by_chance=float(best - left_by_chance),
        best_stopped=bool(left < best),
        best_stopped_by_chance=1 - num_passing / len(rung),
    )


def _choose_rungs(plan: Plan, last: int | None, epochs: Sequence[int] | None) -> list[int]:
    """The epochs to judge in a study whose trials end at `last`; none where it has no trial yet."""
    if last is None:
        return []
    if epochs is None:
        return _list_rungs(plan, last)
    rungs = _list_rungs(plan, last) if plan.compresses else range(1, last)
    for epoch in epochs:
        if epoch not in rungs:
            known = ", ".join(map(str, rungs)) if plan.compresses else f"epochs from 1 to {last - 1}"
            raise ValueError(
                f"fidelity: epoch {epoch} is no rung of {plan.name}, whose trials end at epoch {last}\n\n"
                f"hint: --epochs takes {known}"
            )
    return sorted(set(epochs))


def _list_rungs(plan: Plan, last: int) -> list[int]:
    """The study's own rungs before `last`."""
    rungs, epoch = [], _get_stop(plan, "grace")
    while epoch < last:
        rungs.append(epoch)
        epoch *= _get_stop(plan, "eta")
    return rungs


def _key_values(facts: Mapping[str, Sequence[Row]], plans: Mapping[str, Plan]) -> dict[tuple, float | None]:
    """(study_id, trial_id of the setting's row, rung) -> value at the rung."""
    newest = {(row["study_id"], row["arm_id"], row["number"]): row["trial_id"] for row in facts["trials"]}
    epochs = {
        (row["study_id"], row["trial_id"], row["epoch"]): row["value"]
        for row in facts["values"] if not plans[row["study_id"]].compresses
    }
    return epochs | {
        (row["study_id"], newest[row["study_id"], row["arm_id"], row["number"]], row["epoch"]): row["value"]
        for row in facts["budgets"]
    }


def _ran_on(row: Row, plan: Plan) -> bool:
    """Whether the trial's rungs had no say in its end. Divergence is an end, the worst one; a failure is none."""
    free = row["immune"] or _get_stop(plan, "rule") == "none"
    return bool(free) and (row["final"] is not None or row["status"] == "diverged")


def _measure_study(usable: Sequence[Row], rungs: Sequence[int], plan: Plan, at: Mapping) -> Iterator[Row]:
    """A row per rung over all arms, then one per rung of every arm with enough trials."""
    eta = _get_stop(plan, "eta")
    by_arm = group_by_arm(usable, ("study_id", "arm_id"))
    arms = {rung: {arm: _find_values(rows, rung, at) for arm, rows in by_arm.items()} for rung in rungs}
    arms = {rung: {arm: found for arm, found in of.items() if _is_enough(*found)} for rung, of in arms.items()}
    for rung in rungs:
        nobody = dict.fromkeys(ARM_KEYS) | {"study": plan.name}
        yield nobody | {"epoch": rung} | _summarise(list(arms[rung].values()), eta)
    for arm, rows in by_arm.items():
        for rung in rungs:
            found = arms[rung].get(arm)
            if found is not None and len(found[0]) >= OWN_ROW_FROM:
                yield to_keys(rows[0], {rows[0]["study_id"]: plan}) | {"epoch": rung} | _summarise([found], eta)


def _find_values(rows: Sequence[Row], rung: int, at: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Values at the rung and at the end of an arm's trials that reached the rung, in the order of their numbers."""
    reached = [row for row in rows if (row["study_id"], row["trial_id"], rung) in at]
    values = [at[row["study_id"], row["trial_id"], rung] for row in reached]
    finals = [row["final"] for row in reached]
    return _to_array(values), _to_array(finals)


def _to_array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([WORST if value is None else value for value in values], dtype=float)


def _is_enough(rung: np.ndarray, final: np.ndarray) -> bool:
    return len(rung) >= 2 and bool(np.isfinite(final).any())


def _summarise(arms: Arms, eta: int) -> Row:
    """The fields of one row."""
    outcomes = [judge_stopping(*arm, eta=eta) for arm in arms]
    stopped = sum(outcome.best_stopped for outcome in outcomes)
    tau_low, tau_high = bound_tau(arms) or (None, None)
    regret_low, regret_high = _bound_regret([outcome.regret for outcome in outcomes]) or (None, None)
    stopped_low, stopped_high = _bound_share(stopped, len(arms)) or (None, None)
    return {
        "num_arms": len(arms), "num_trials": sum(len(rung) for rung, _ in arms),
        "tau": measure_tau(arms), "tau_low": tau_low, "tau_high": tau_high,
        "regret": statistics.mean([outcome.regret for outcome in outcomes]),
        "regret_low": regret_low, "regret_high": regret_high,
        "regret_by_chance": statistics.mean([outcome.regret_by_chance for outcome in outcomes]),
        "best_stopped": stopped / len(arms) if arms else None,
        "best_stopped_low": stopped_low, "best_stopped_high": stopped_high,
        "best_stopped_by_chance": statistics.mean([outcome.best_stopped_by_chance for outcome in outcomes]),
    }


def _bound_regret(regrets: Sequence[float]) -> tuple[float, float] | None:
    """Student-t over arms, no end below zero. None where all regrets are equal, as a rule zero: no spread is seen.

    It covers the truth 80 to 93 times in 100, since regrets are many zeros and a few large ones; a percentile bootstrap
    of the arms 79 to 91 times (simulation, 300 replicates each of 3 to 40 arms of 3 to 10 trials, tau 0.33 to 0.71).
    """
    found = statistics.t_interval(regrets) if len(set(regrets)) > 1 else None
    return None if found is None else (max(0.0, float(found[0])), float(found[1]))


def _bound_share(count: int, total: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval; None of nothing. It covers 91 to 99 times in 100 (simulation as in `_bound_regret`)."""
    if not total:
        return None
    found = stats.binomtest(count, total).proportion_ci(_LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _count_pairs(rung: np.ndarray, final: np.ndarray) -> tuple[float, float, float]:
    """Over the pairs of one arm's trials: concordant minus discordant, untied at the rung, untied at the end."""
    agree, at_rung, at_end = _weigh_pairs(np.ones((1, len(rung)), dtype=np.float32), rung, final)
    return float(agree[0]), float(at_rung[0]), float(at_end[0])


def _draw_pairs(rng: np.random.Generator, rung: np.ndarray, final: np.ndarray) -> np.ndarray:
    """`_count_pairs` of trials drawn again with replacement: (3, replicates)."""
    num = len(rung)
    times = rng.multinomial(num, np.full(num, 1 / num), size=_REPLICATES).astype(np.float32)
    return _weigh_pairs(times, rung, final)


def _weigh_pairs(times: np.ndarray, rung: np.ndarray, final: np.ndarray) -> np.ndarray:
    """(3, R): the counts of `_count_pairs` where trial i is there times[r, i] times; a trial is tied with itself."""
    x, y = (stats.rankdata(values, method="dense") for values in (rung, final))  # infinite less infinite is no number
    total = np.zeros((3, len(times)))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        signs_x, signs_y = (np.sign(v[rows, None] - v[None, :]).astype(np.float32) for v in (x, y))
        for place, pairs in enumerate((signs_x * signs_y, np.abs(signs_x), np.abs(signs_y))):
            total[place] += (times[:, rows] * (times @ pairs.T)).sum(axis=1, dtype=float) / 2  # each pair is met twice
    return total


def _get_stop(plan: Plan, name: str) -> Any:
    """The study's stop.<name>."""
    stop = plan.config.get("stop") or {}
    if name not in stop:
        raise ValueError(f"fidelity: {plan.name} does not say stop.{name}, so its rungs are unknown")
    return stop[name]


def _describe(plan: Plan, trials: Sequence[Row], usable: Sequence[Row], rows: Sequence[Row]) -> Iterator[str]:
    stopping = _get_stop(plan, "rule") != "none"
    if not rows:
        yield f"{plan.name}: no searched trial is final yet, or none has a rung before its last epoch"
        return
    most = max(row["num_arms"] for row in rows)
    if not most:
        yield f"{plan.name}: {_explain_too_few(plan, stopping)}"
        return
    per_arm = len(usable) / len(group_by_arm(usable, ("study_id", "arm_id")))
    whose = "the immune trials, which no rung could stop" if stopping else "all trials, since no rung stopped any"
    yield f"{plan.name}: measured on {whose}: {per_arm:.1f} an arm, and the regret is that of choosing among so many"
    if lost := sum(1 for row in trials if row["status"] == "failed" and (row["immune"] or not stopping)):
        yield f"{plan.name}: {lost:,} of them failed and are left out"
    if diverged := sum(row["status"] == "diverged" for row in usable):
        yield f"{plan.name}: {diverged:,} of them diverged and count as the worst"
    if any(row["tau"] is not None and row["tau_low"] is None for row in rows):
        yield f"{plan.name}: no interval where all pairs of trials have the same order: more trials would give one"


def _explain_too_few(plan: Plan, stopping: bool) -> str:
    if not stopping:
        return "no arm has two trials that ran to the end, so no pair can be compared"
    most = plan.trials_per_arm
    wanted = f"; set stop.immune to {math.ceil(200 / most) / 100:g} or more" if most and most > 2 else ""
    return (
        "no arm has two immune trials that ran to the end, and the survivors of stopping were selected by the very "
        f"values in question{wanted}"
    )
