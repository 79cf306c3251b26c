"""Arms and pairs of the studies, as the tables and the study's own plan tell of them.

An arm without a teacher (plain training, label smoothing, tf-NKD) is trained once per student and shown in every
pair of that student.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from analysis.queries import Query

# Of compressed budgets every setting begins with the smallest, and a promotion is a further trial of it.
_SMALLEST = """
    SELECT study_id, arm_id, min(epochs_planned) AS epochs FROM trials WHERE stage = 'tune' GROUP BY study_id, arm_id
"""

# One row per trial; `tuned` and `repeated` say which trials count as search and which as result. Test is never read
# from the search's trials: the best of many is high by luck.
_RUNS = f"""
    SELECT t.*, e.top1, e.top5, e.nll, e.ece, e.agreement,
           t.stage = 'tune' AS tuned,
           t.stage = 'tune' AND t.epochs_planned IS NOT DISTINCT FROM f.epochs AS first_of_setting,
           t.stage = 'repeat' AND t.status = 'completed' AS repeated,
           t.stage = 'repeat' AND t.status <> 'completed' AS lost
    FROM trials t
    LEFT JOIN studies s ON s.study_id = t.study_id
    LEFT JOIN ({_SMALLEST}) f ON f.study_id = t.study_id AND f.arm_id = t.arm_id
    LEFT JOIN evals e ON e.study_id = t.study_id AND e.trial_id = t.trial_id AND e.split = 'test'
                     AND e.epoch_rule = coalesce(s.epoch_rule, e.epoch_rule)
    WHERE t.stage IN ('tune', 'repeat')
"""

# What the query for arms may read; a board's SQL column that needs another one adds it here.
_READS = {
    "trials": (
        "study_id", "trial_id", "number", "stage", "arm_id", "setting_id", "data", "teacher", "teacher_id", "student",
        "method", "method_label", "seed", "status", "epochs_planned", "epochs_done", "wall_seconds",
    ),
    "evals": ("study_id", "trial_id", "split", "epoch_rule", "top1", "top5", "nll", "ece", "agreement"),
}

_MEASURED = {
    "seeds": "list(top1 ORDER BY seed) FILTER (repeated AND top1 IS NOT NULL)",
    "num_tuned": "count(*) FILTER (first_of_setting)",
    "num_lost": "count(*) FILTER (lost)",
    # not count(DISTINCT ...), which hashes every trial for the sake of the few repeats: 20 ms of 100,000 trials
    "num_settings": "coalesce(len(list_distinct(list(setting_id) FILTER (repeated))), 0)",
}


class Pair(NamedTuple):
    """What a method is judged on. `teacher` is None where a study has none."""

    study_id: str
    data: str
    teacher: str | None
    teacher_id: str | None
    student: str


@dataclass(frozen=True)
class Arm:
    """One method on one pair, or on one student where it has no teacher, with what was measured of it."""

    arm_id: str
    pair: Pair
    label: str
    method: str
    measured: Mapping[str, Any]         # of _MEASURED and of the board's SQL columns; empty where no trial is final

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all arms of all studies."""
        return self.pair.study_id, self.arm_id

    @property
    def seeds(self) -> list[float]:
        """Test top-1 of the completed repeats, in the order of their seeds."""
        return self.measured.get("seeds") or []


class Plan:
    """What a study set out to do, from its resolved configuration; what is absent there is None or empty."""

    def __init__(self, study: Mapping[str, Any], *, name: str) -> None:
        self.study = study
        self.name = name    # tells it from the other studies on the board
        self.config: dict[str, Any] = json.loads(study["config_json"] or "{}")

    @property
    def num_seeds(self) -> int | None:
        return (self.config.get("repeat") or {}).get("seeds")

    @property
    def trials_per_arm(self) -> int | None:
        return (self.config.get("search") or {}).get("trials_per_arm")

    @property
    def compresses(self) -> bool:
        """Whether a rung is a trial of a smaller budget, and not an epoch of the one trial."""
        return (self.config.get("stop") or {}).get("budgets") == "compress"

    def pairs(self) -> list[Pair]:
        return [self._pair(given) for given in self.config.get("pairs") or []]

    def arms(self) -> list[Arm]:
        return [
            Arm(arm["arm_id"], self._pair(arm), arm["label"], arm.get("method", arm["label"]), {})
            for arm in self.config.get("arms") or []
        ]

    def _pair(self, given: Mapping[str, Any]) -> Pair:
        return Pair(
            self.study["study_id"], given["data"], given.get("teacher"), given.get("teacher_id"), given["student"]
        )


def read_plans(studies: Sequence[Mapping[str, Any]]) -> dict[str, Plan]:
    """The plan of every row of table studies, by study_id."""
    names = Counter(row["name"] for row in studies)
    return {row["study_id"]: Plan(row, name=_name(row, names)) for row in studies}


def select_arms(columns: Mapping[str, str]) -> Query:
    """The query for `read_arms`, with `columns`: name to SQL aggregate over an arm's trials."""
    aggregates = ", ".join(f"{sql} AS {name}" for name, sql in {**_MEASURED, **columns}.items())
    same = ("data", "teacher", "teacher_id", "student", "method_label", "method")    # in every trial of an arm
    sql = f"""
        SELECT arm_id, study_id, {", ".join(f"first({name}) AS {name}" for name in same)}, {aggregates}
        FROM ({_RUNS}) GROUP BY arm_id, study_id ORDER BY min(number), arm_id, study_id
    """
    return Query(sql, _READS)


def read_arms(rows: Sequence[dict[str, Any]], plans: Iterable[Plan]) -> list[Arm]:
    """Every arm that has a final trial, a row each, and then those only planned."""
    arms = [_arm(row) for row in rows]
    seen = {(arm.pair.study_id, arm.arm_id) for arm in arms}
    planned = [arm for plan in plans for arm in plan.arms()]
    return arms + [arm for arm in planned if (arm.pair.study_id, arm.arm_id) not in seen]


def find_pairs(arms: Iterable[Arm], plans: Iterable[Plan]) -> list[Pair]:
    """The pairs that arms have, those only planned, and one without a teacher for a student that has no other.

    In the order of the studies' plans, so that a board looks the same whenever it is made. A planned pair without a
    teacher_id is the one that the arms tell of.
    """
    known = {arm.pair: None for arm in arms if arm.pair.teacher is not None}
    planned = [pair for plan in plans for pair in plan.pairs()]
    for pair in planned:
        same = [p for p in known if p._replace(teacher_id=None) == pair._replace(teacher_id=None)]
        if pair.teacher_id is not None or not same:
            known[pair] = None
    students = {_student(pair) for pair in known}
    places = {pair._replace(teacher_id=None): place for place, pair in reversed(list(enumerate(planned)))}
    ordered = sorted(known, key=lambda pair: places.get(pair._replace(teacher_id=None), len(planned)))
    return ordered + list(dict.fromkeys(arm.pair for arm in arms if _student(arm.pair) not in students))


def find_arms(pair: Pair, arms: Iterable[Arm]) -> dict[str, Arm]:
    """The arms that are shown in a pair, by label: its own, and those of its student that have no teacher."""
    return {
        arm.label: arm
        for arm in arms
        if arm.pair == pair or (arm.pair.teacher is None and _student(arm.pair) == _student(pair))
    }


def _name(study: Mapping[str, Any], names: Counter) -> str:
    """The study's name, with its identity where it has none of its own."""
    name, study_id = study["name"], study["study_id"]
    return study_id if name is None else name if names[name] == 1 else f"{name} ({study_id})"


def _arm(row: dict[str, Any]) -> Arm:
    pair = Pair(row["study_id"], row["data"], row["teacher"], row["teacher_id"], row["student"])
    return Arm(row["arm_id"], pair, row["method_label"], row["method"], row)


def _student(pair: Pair) -> tuple[str, str, str]:
    return pair.study_id, pair.data, pair.student
