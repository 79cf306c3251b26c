"""The search as curves: by what it has cost, by epoch, and by the number of random draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analysis import budgets
from analysis.answer import Answer, Field
from analysis.arm_rows import (
    ARM_COLUMNS,
    ARM_KEYS,
    PAIR_KEYS,
    Row,
    describe_unfinished,
    group_by_arm,
    group_by_pair,
    name_pair,
    read,
    sort_arms,
    to_keys,
)
from analysis.arms import Plan
from analysis.queries import Results
from analysis.settings import IS_WHOLE

_COSTS = {  # by -> (of an epoch, of a whole trial, the answer's column)
    "seconds": ("e.epoch_seconds", "t.wall_seconds", Field("seconds", "s", "what the arm's search had cost by then")),
    "epochs": ("1", "t.epochs_done", Field("epochs", "", "epochs that the arm's search had trained by then")),
    "device_seconds": ("e.device_seconds", "t.device_seconds", Field(
        "device_seconds", "s", "what the arm's search had computed on its accelerators by then")),
}

# An epoch costs when it ends. What a trial took beside its rows (lost epochs, for one) costs when the trial ends. No
# epoch is dated after its trial: the two are dated by different machines.
_BUDGET = """
    WITH tuned AS (SELECT * FROM trials WHERE stage = 'tune'),
    parts AS (
        SELECT t.study_id, t.trial_id, t.arm_id, least(e.ended_at, t.ended_at) AS moment, {epoch} AS cost
        FROM epochs e JOIN tuned t USING (study_id, trial_id)
    ),
    whole AS (SELECT study_id, trial_id, sum(cost) AS cost FROM parts GROUP BY ALL),
    ends AS (
        SELECT t.*, greatest({trial} - coalesce(w.cost, 0), 0) AS rest, coalesce({trial}, w.cost) IS NULL AS unknown
        FROM tuned t LEFT JOIN whole w USING (study_id, trial_id)
    ),
    steps AS (
        SELECT study_id, arm_id, moment, cost, NULL AS trial_id FROM parts
        UNION ALL SELECT study_id, arm_id, ended_at, rest, trial_id FROM ends
    ),
    spent AS (
        SELECT study_id, trial_id, sum(cost) OVER (PARTITION BY study_id, arm_id ORDER BY moment) AS spent FROM steps
    )
    SELECT {arm}, number, status, CASE WHEN {is_whole} THEN val_top1 END AS val_top1,
           coalesce(spent, 0)::DOUBLE AS spent, unknown
    FROM ends JOIN spent USING (study_id, trial_id)
    ORDER BY study_id, arm_id, ended_at, number
"""

# Epochs of one schedule alone are comparable: of compressed budgets, those of the arm's largest.
_LEARNING = """
    WITH largest AS (
        SELECT study_id, arm_id, max(epochs_planned) AS epochs FROM trials WHERE stage = 'tune' GROUP BY ALL
    ),
    tuned AS (
        SELECT t.* FROM trials t JOIN largest USING (study_id, arm_id)
        WHERE stage = 'tune' AND epochs_planned IS NOT DISTINCT FROM largest.epochs
    ),
    best AS (
        SELECT study_id, arm_id, arg_max(trial_id, (val_top1, -number)) AS trial_id
        FROM tuned WHERE status = 'completed' AND val_top1 IS NOT NULL GROUP BY ALL
    )
    SELECT {arm}, epoch, count(*) AS num_trials, max(e.val_top1) FILTER (t.trial_id = b.trial_id) AS best,
           median(e.val_top1) AS median, quantile_cont(e.val_top1, 0.25) AS lower,
           quantile_cont(e.val_top1, 0.75) AS upper
    FROM epochs e JOIN tuned t USING (study_id, trial_id) LEFT JOIN best b USING (study_id, arm_id)
    WHERE e.val_top1 IS NOT NULL
    GROUP BY ALL ORDER BY study_id, arm_id, epoch
"""

_DRAWS = f"""
    SELECT {ARM_COLUMNS}, number, status, val_top1, wall_seconds FROM trials
    WHERE stage = 'tune' ORDER BY study_id, arm_id, number
"""


def budget(results: Results, *, by: str = "seconds") -> Answer:
    """Best validation top-1 so far against what the search had cost, a row per trial that ended; by: see `_COSTS`.

    Every trial's cost counts, whatever became of it; a value counts when its trial completes the whole budget.
    ValueError where no trial has the cost.
    """
    plans, facts, ends = _read_budget(results, by)
    cost = _COSTS[by][2]
    rows = [row for arm in group_by_arm(ends, ("study_id", "arm_id")).values() for row in _list_steps(arm, plans, cost)]
    return Answer(
        title=f"Best validation value so far by {cost.name.replace('_', ' ')}",
        keys=(*ARM_KEYS, "step"),
        fields=(
            Field("trial", "", "number of the trial that ended with this step"),
            Field("status", "", "what became of it"),
            cost,
            Field("val_top1", "fraction", "best final validation top-1 of the arm's trials that completed by then",
                  "high"),
        ),
        rows=tuple(rows),
        notes=(*_describe_costs(ends, plans, by), *_describe_common(rows, cost),
               *describe_unfinished(facts["unfinished"], plans)),
    )


def at_common_budget(results: Results, *, by: str = "seconds") -> Answer:
    """Per pair, each arm's best validation top-1 when it had cost as much as the pair's cheapest arm in all."""
    found = budget(results, by=by)
    cost = _COSTS[by][2]
    return Answer(
        title=f"Best validation value at the smallest common budget in {cost.name.replace('_', ' ')}",
        keys=(*PAIR_KEYS, "method"),
        fields=(
            Field("budget", cost.unit, "what the pair's cheapest arm cost in all"),
            Field("num_trials", "", "trials of the arm that had ended within the budget"),
            Field("val_top1", "fraction", "best final validation top-1 within the budget", "high"),
            Field("total", cost.unit, "what the arm cost in all"),
        ),
        rows=tuple(_compare(found.rows, cost)),
        notes=(
            "these are validation values that were selected on, each from one seed: which method is better, only the "
            "repeats on test can say",
            *(note for note in found.notes if note not in _describe_common(found.rows, cost)),
        ),
    )


def learning(results: Results) -> Answer:
    """Validation top-1 by epoch: the arm's best trial, and median and quartiles of those that reached the epoch."""
    plans, facts = read(results, {"curves": _LEARNING.format(arm=_columns_of("t"))})
    rows = [
        to_keys(row, plans) | {name: row[name] for name in ("epoch", "num_trials", "best", "lower", "median", "upper")}
        for row in sort_arms(facts["curves"], plans)
    ]
    return Answer(
        title="Validation top-1 of the search by epoch",
        keys=(*ARM_KEYS, "epoch"),
        fields=(
            Field("num_trials", "", "trials that were measured at this epoch"),
            Field("best", "fraction", "of the trial with the best final value", "high"),
            Field("lower", "fraction", "lower quartile of the trials measured"),
            Field("median", "fraction", "median of the trials measured"),
            Field("upper", "fraction", "upper quartile of the trials measured"),
        ),
        rows=tuple(rows),
        notes=(*_describe_thinning(rows), *describe_unfinished(facts["unfinished"], plans)),
    )


def expected(results: Results, *, biased: bool = False) -> Answer:
    """Expected best validation top-1 of n random draws. ValueError where the trials are not draws.

    Unbiased as in Tang et al. 2020 (Showing Your Work Doesn't Always Work, arXiv:2004.13705), up to half of the N
    draws, since beyond it rests on a handful of them; biased as in Dodge et al. 2019 (arXiv:1909.03004), up to N.
    """
    plans, facts = read(results, {"draws": _DRAWS})
    arms = group_by_arm(sort_arms(facts["draws"], plans), ("study_id", "arm_id"))
    for study_id in dict.fromkeys(study_id for study_id, _ in arms):
        _require_draws(plans[study_id])
    drawn = {arm: [row for row in rows if row["number"] >= _count_first(plans, arm)] for arm, rows in arms.items()}
    return Answer(
        title=f"Expected best validation top-1 of n random trials ({'biased' if biased else 'unbiased'})",
        keys=(*ARM_KEYS, "n"),
        fields=(
            Field("seconds", "s", "mean cost of a random trial, failed ones included, times n"),
            Field("val_top1", "fraction", "expected best final validation top-1 of n random trials", "high"),
            Field("num_draws", "", "random trials that the expectation rests on"),
        ),
        rows=tuple(row for rows in drawn.values() for row in _expect(rows, plans, biased=biased)),
        notes=(*_describe_draws(arms, drawn, plans, biased=biased), *describe_unfinished(facts["unfinished"], plans)),
    )


def _read_budget(results: Results, by: str) -> tuple[dict[str, Plan], dict[str, list[Row]], list[Row]]:
    if by not in _COSTS:
        raise ValueError(f"curves: no cost `{by}`. Known: {', '.join(_COSTS)}")
    epoch, trial, _ = _COSTS[by]
    plans, facts = read(results, {"ends": _BUDGET.format(epoch=epoch, trial=trial, arm=ARM_COLUMNS, is_whole=IS_WHOLE)})
    if facts["ends"] and all(row["unknown"] for row in facts["ends"]):
        raise ValueError(
            f"curves: no searched trial has {by}; on the CPU there are no device_seconds\n\n"
            "hint: kdsweep curves --by seconds"
        )
    return plans, facts, sort_arms(facts["ends"], plans)


def _list_steps(arm: Sequence[Row], plans: Mapping[str, Plan], cost: Field) -> Iterator[Row]:
    values = [row["val_top1"] if row["status"] == "completed" else None for row in arm]
    for step, (row, best) in enumerate(zip(arm, budgets.best_so_far(values), strict=True), start=1):
        spent = int(row["spent"]) if cost.name == "epochs" else row["spent"]
        found = {"step": step, "trial": row["number"], "status": row["status"], cost.name: spent, "val_top1": best}
        yield to_keys(row, plans) | found


def _compare(rows: Sequence[Row], cost: Field) -> Iterator[Row]:
    for pair, methods in group_by_pair(rows).items():
        common = min(steps[-1][cost.name] for steps in methods.values())
        for method, steps in methods.items():
            within = [step for step in steps if step[cost.name] <= common]
            yield dict(zip(PAIR_KEYS, pair, strict=True)) | {
                "method": method, "budget": common, "num_trials": len(within),
                "val_top1": within[-1]["val_top1"] if within else None, "total": steps[-1][cost.name],
            }


def _describe_common(rows: Sequence[Row], cost: Field) -> list[str]:
    """Per pair, one sentence with every arm's best at the smallest common budget."""
    sentences = []
    for pair, found in group_by_arm(_compare(rows, cost), PAIR_KEYS).items():
        bests = (f"{row['method']} {_per_cent(row['val_top1'])}" for row in found)
        sentences.append(
            f"{name_pair(pair)}: at {found[0]['budget']:,.0f} {cost.unit or cost.name}, the smallest budget of its "
            f"arms: {', '.join(bests)}"
        )
    return sentences


def _describe_costs(ends: Sequence[Row], plans: Mapping[str, Plan], by: str) -> Iterator[str]:
    if by != "epochs":
        yield "costs of trials that ran side by side are added, so they are not the time that passed"
    for study, rows in group_by_arm(ends, ("study_id",)).items():
        if unknown := sum(row["unknown"] for row in rows):
            yield f"{plans[study[0]].name}: {unknown:,} trials have no {by} and count as free"


def _describe_thinning(rows: Sequence[Row]) -> Iterator[str]:
    if any(arm[-1]["num_trials"] < arm[0]["num_trials"] for arm in group_by_arm(rows).values()):
        yield "later medians and quartiles are of fewer, selected trials: a trial counts up to where it ended"


def _require_draws(plan: Plan) -> None:
    """ValueError if the study's trials are not independent random draws that ran to the end."""
    sampler = (plan.config.get("search") or {}).get("sampler")
    rule = (plan.config.get("stop") or {}).get("rule")
    hint = "\n\nhint: kdsweep curves --kind budget"
    if sampler == "grid":
        raise ValueError(f"{plan.name}: a grid's points are not random draws, so no best of n is expected{hint}")
    if sampler != "random":
        raise ValueError(f"{plan.name}: proposals of {sampler} depend on earlier ones, so trials are no draws{hint}")
    if rule != "none":
        raise ValueError(f"{plan.name}: trials stopped by {rule} have no final value, so the rest is selected{hint}")


def _count_first(plans: Mapping[str, Plan], arm: tuple) -> int:
    """How many of the arm's trials are given settings, the paper's, not draws."""
    study_id, arm_id = arm
    planned = {found["arm_id"]: len(found.get("first") or ()) for found in plans[study_id].config.get("arms") or []}
    return planned.get(arm_id, 0)


def _list_values(draws: Sequence[Row]) -> list[float]:
    """Final values; a diverged trial counts as the worst of them, a failed one is not a value.

    Divergence is the setting's own outcome, and leaving it out would make the curve too good. What fails a trial after
    its retries is as a rule the machine, which says nothing about the setting.
    """
    values = [row["val_top1"] for row in draws if row["status"] == "completed" and row["val_top1"] is not None]
    num_diverged = sum(row["status"] == "diverged" for row in draws)
    return values + [min(values)] * num_diverged if values else []


def _expect(draws: Sequence[Row], plans: Mapping[str, Plan], *, biased: bool) -> Iterator[Row]:
    values = _list_values(draws)
    seconds = sum(row["wall_seconds"] or 0 for row in draws)
    for n in range(1, (len(values) if biased else len(values) // 2) + 1):
        yield to_keys(draws[0], plans) | {
            "n": n, "seconds": seconds / len(values) * n,
            "val_top1": budgets.expected_best(values, n, biased=biased), "num_draws": len(values),
        }


def _describe_draws(
    arms: Mapping[tuple, list[Row]], drawn: Mapping[tuple, list[Row]], plans: Mapping[str, Plan], *, biased: bool
) -> Iterator[str]:
    everything = [row for rows in drawn.values() for row in rows]
    if first := sum(map(len, arms.values())) - len(everything):
        yield f"{first:,} trials of given settings, each arm's first, are not draws and left out"
    if diverged := sum(row["status"] == "diverged" for row in everything):
        yield f"{diverged:,} diverged trials count as the worst completed value of their arm"
    if lost := sum(row["status"] in ("failed", "stopped") for row in everything):
        yield f"{lost:,} failed or stopped trials have no final value and are no draws; what they cost counts"
    for arm, rows in drawn.items():
        if len(_list_values(rows)) < (1 if biased else 2):
            yield f"{plans[arm[0]].name}: {arm[1]} has too few draws for an expectation: {len(_list_values(rows))}"


def _columns_of(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in ARM_COLUMNS.split(", "))


def _per_cent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f} %"

