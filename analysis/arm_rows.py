"""Rows that are about an arm: how fidelity, curves and cost read, sort and name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from analysis.arms import Plan, read_plans
from analysis.queries import Results

Row = dict[str, Any]

PAIR_KEYS = ("study", "data", "teacher", "teacher_id", "student")
ARM_KEYS = (*PAIR_KEYS, "method")
ARM_COLUMNS = "study_id, arm_id, data, teacher, teacher_id, student, method_label"  # of table trials

# A trial's arm stands in its row alone, which is written when it is final: before that its epochs belong to no arm.
_UNFINISHED = """
    SELECT study_id, count(DISTINCT trial_id) AS trials, count(*) AS epochs, sum(epoch_seconds) AS seconds,
           sum(device_seconds) AS device_seconds
    FROM epochs ANTI JOIN trials USING (study_id, trial_id) GROUP BY study_id ORDER BY study_id
"""


def read(results: Results, queries: Mapping[str, str]) -> tuple[dict[str, Plan], dict[str, list[Row]]]:
    """The studies' plans by study_id, and the queries' answers from the same state, with `unfinished` among them."""
    studies = {"studies": "SELECT * FROM studies ORDER BY created_at, study_id", "unfinished": _UNFINISHED}
    facts = results.rows(studies | dict(queries))
    return read_plans(facts["studies"]), facts


def sort_arms(rows: Iterable[Row], plans: Mapping[str, Plan]) -> list[Row]:
    """Rows with the columns of ARM_COLUMNS, arms in the order of the plans, each arm's rows as they were."""
    planned = [(plan.study["study_id"], arm.arm_id) for plan in plans.values() for arm in plan.arms()]
    places = {arm: place for place, arm in enumerate(planned)}

    def rank(row: Row) -> tuple[int, str]:
        return places.get((row["study_id"], row["arm_id"]), len(places)), row["arm_id"] or ""  # a teacher has no arm

    return sorted(rows, key=rank)


def to_keys(row: Mapping[str, Any], plans: Mapping[str, Plan]) -> Row:
    """The keys of an answer's row, from a row with the columns of ARM_COLUMNS."""
    same = {name: row[name] for name in ("data", "teacher", "teacher_id", "student")}
    return {"study": plans[row["study_id"]].name, **same, "method": row["method_label"]}


def group_by_arm(rows: Iterable[Row], keys: Sequence[str] = ARM_KEYS) -> dict[tuple, list[Row]]:
    """The rows of every arm, in the order in which the arms first appear."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def group_by_pair(rows: Iterable[Row]) -> dict[tuple, dict[str, list[Row]]]:
    """Of rows with ARM_KEYS: pair -> method -> rows. An arm without a teacher is in every pair of its student."""
    arms = group_by_arm(rows)
    taught = dict.fromkeys(arm[:-1] for arm in arms if arm[2] is not None)
    students = {_student(pair) for pair in taught}
    alone = dict.fromkeys(arm[:-1] for arm in arms if _student(arm) not in students)
    return {
        pair: {
            arm[-1]: found for arm, found in arms.items()
            if arm[:-1] == pair or (arm[2] is None and _student(arm) == _student(pair))
        }
        for pair in [*taught, *alone]
    }


def name_pair(pair: Sequence[Any]) -> str:
    """A pair, as the values of PAIR_KEYS, in words."""
    _, data, teacher, _, student = pair
    return f"{data}: {teacher} → {student}" if teacher is not None else f"{data}: {student}"


def describe_unfinished(rows: Iterable[Row], plans: Mapping[str, Plan]) -> Iterator[str]:
    """One sentence per study that has epochs of trials without a row of their own yet."""
    for row in rows:
        yield (
            f"{plans[row['study_id']].name}: {row['trials']:,} trials are not final yet; their {row['epochs']:,} "
            f"epochs ({row['seconds'] or 0:,.0f} s) are in no arm here, since a trial's arm is written when it is final"
        )


def _student(arm: Sequence[Any]) -> tuple[Any, ...]:
    study, data, _, _, student, *_ = arm
    return study, data, student
