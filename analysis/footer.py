"""What must stand under a board: how it was made, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from analysis.arms import Arm, Plan
from analysis.formatting import count
from analysis.queries import Query

Facts = Mapping[str, Sequence[Mapping[str, Any]]]  # rows by the query's name

QUERIES = {
    "spent": Query("""
        SELECT study_id, count(*) AS trials, sum(epochs_done)::BIGINT AS epochs, sum(wall_seconds) AS seconds
        FROM trials GROUP BY study_id
    """, {"trials": ("study_id", "epochs_done", "wall_seconds")}),
    "planned": Query("""
        SELECT study_id, list(DISTINCT epochs_planned ORDER BY epochs_planned) AS epochs
        FROM trials WHERE stage IN ('tune', 'repeat') GROUP BY study_id
    """, {"trials": ("study_id", "stage", "epochs_planned")}),
    "hardware": Query("""
        SELECT coalesce(gpu, cpu, 'unknown machine') AS name, list(DISTINCT torch ORDER BY torch) AS torch
        FROM trials JOIN environments USING (environment_id) GROUP BY 1 ORDER BY 1
    """, {"trials": ("environment_id",)}),
    "unfair_teachers": Query("SELECT model, data FROM teachers WHERE saw_validation ORDER BY ALL"),
}


def build_footer(facts: Facts, plans: Mapping[str, Plan]) -> Iterator[tuple[str, str]]:
    """(word, sentence) per line; with several studies a sentence says what holds for each."""
    planned = {row["study_id"]: row["epochs"] for row in facts["planned"]}
    spent = {row["study_id"]: row for row in facts["spent"]}
    yield "selection", _each(plans, lambda plan: f"settings on {plan.study['selection_split'] or 'an unknown split'}; "
                                                 "test read once, by the repeats")
    yield "epoch", _each(plans, lambda plan: {"last": "the last one", "best_val": "the best on val"}.get(
        plan.study["epoch_rule"], "unknown"))
    yield "budget", _each(plans, lambda plan: _describe_budget(plan, planned.get(plan.study["study_id"]) or []))
    yield "spent", _each(plans, lambda plan: _describe_spent(spent.get(plan.study["study_id"])))
    yield "seeds", _each(plans, _describe_seeds)
    yield "interval", "95 % Student-t over the repeat seeds; ± is half of it, sd is over seeds"
    yield "code", _each(plans, _describe_code)
    yield "hardware", "; ".join(_describe_hardware(facts)) or "unknown"


def find_missing(arms: Sequence[Arm], plans: Mapping[str, Plan]) -> Iterator[str]:
    """One sentence per arm that lacks something that was planned."""
    if not any(arm.measured for arm in arms):
        yield "no trial is final yet"
    for arm in arms:
        plan = plans.get(arm.pair.study_id)
        if lacking := _describe_lacking(arm, plan) if plan else "":
            yield f"{name_arm(arm)}: {lacking}"


def _describe_lacking(arm: Arm, plan: Plan) -> str:
    tuned, lost = arm.measured.get("num_tuned") or 0, arm.measured.get("num_lost") or 0
    lacking = []
    if tuned < (plan.trials_per_arm or 0):
        lacking.append(f"{tuned} of {plan.trials_per_arm} trials searched")
    if len(arm.seeds) < (plan.num_seeds or 0):
        lacking.append(f"{len(arm.seeds)} of {plan.num_seeds} repeats completed")
    if lost:
        lacking.append(f"{lost} diverged or failed")
    return ", ".join(lacking)


def name_arm(arm: Arm) -> str:
    """The arm in words: method, data, teacher and student."""
    models = f"{arm.pair.teacher} to {arm.pair.student}" if arm.pair.teacher else arm.pair.student
    return f"{arm.label} on {arm.pair.data}, {models}"


def _each(plans: Mapping[str, Plan], describe: Callable[[Plan], str]) -> str:
    """One sentence if it holds for every study, else one per study."""
    said = {plan.name: describe(plan) for plan in plans.values()}
    if len(set(said.values())) <= 1:
        return next(iter(said.values()), "unknown")
    return "; ".join(f"{name}: {text}" for name, text in said.items())


def _describe_budget(plan: Plan, epochs: Iterable[int]) -> str:
    search, stop = plan.config.get("search") or {}, plan.config.get("stop") or {}
    searched = "setting" if plan.compresses else "trial"  # compressed, a setting is a trial of each budget it reaches
    number = plan.trials_per_arm
    parts = [f"{count(number, searched) if number else f'unknown {searched}s'} per arm"]
    if "sampler" in search:
        parts.append(f"proposed by {search['sampler']}")
    if stop.get("rule", "none") != "none":
        parts.append(f"stopped by {stop['rule']}")
    if plan.compresses:
        parts.append("each budget with a schedule of its own")
    planned = " or ".join(str(number) for number in epochs if number is not None)
    return ", ".join([*parts, f"{planned or 'unknown'} epochs each"])


def _describe_spent(spent: Mapping[str, Any] | None) -> str:
    if spent is None:
        return "nothing yet"
    hours = (spent["seconds"] or 0) / 3600
    done = f"{count(spent['trials'], 'trial')}, {count(spent['epochs'] or 0, 'epoch')}"
    return f"{done}, {hours:.2f} h of workers, teachers included"


def _describe_seeds(plan: Plan) -> str:
    repeat = plan.config.get("repeat") or {}
    trained = f", trained on {repeat['train_on']}" if "train_on" in repeat else ""
    return f"{'unknown' if plan.num_seeds is None else plan.num_seeds} per arm{trained}"


def _describe_code(plan: Plan) -> str:
    dirty = " with uncommitted changes" if plan.study["code_dirty"] else ""
    return f"{plan.study['code_version'] or 'unknown'}{dirty}"


def _describe_hardware(facts: Facts) -> Iterator[str]:
    for row in facts["hardware"]:
        yield f"{row['name']}, torch {' and '.join(row['torch'])}" if row["torch"] else row["name"]
