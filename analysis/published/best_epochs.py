"""Our own best epoch on test, from the opt-in table test_curves: for comparison with numbers of that kind alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from analysis.arms import read_plans
from analysis.queries import Results

# The maximum over epochs of each completed repeat; a study that asked for no test curves has no rows.
_QUERY = """
    SELECT study_id, data, teacher_id, student, method_label, list(best ORDER BY seed) AS seeds
    FROM (
        SELECT t.study_id, t.data, t.teacher_id, t.student, t.method_label, t.seed, t.trial_id, max(c.test_top1) AS best
        FROM trials t JOIN test_curves c ON c.study_id = t.study_id AND c.trial_id = t.trial_id
        WHERE t.stage = 'repeat' AND t.status = 'completed' AND c.test_top1 IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY ALL
"""


class Key(NamedTuple):
    """What a row of a board is of. `teacher_id` is None for an arm without a teacher, whichever pair shows it."""

    study: str      # as the board calls it
    data: str
    teacher_id: str | None
    student: str
    method: str


BestTest = Mapping[Key, list[float]]


def read_best_test(results: Results) -> BestTest:
    """Of each arm with test curves, the highest test top-1 over the epochs of every repeat, in the order of seeds."""
    facts = results.rows({"studies": "SELECT * FROM studies ORDER BY created_at, study_id", "best": _QUERY})
    plans = read_plans(facts["studies"])
    return {
        Key(plans[row["study_id"]].name, row["data"], row["teacher_id"], row["student"], row["method_label"]):
            row["seeds"]
        for row in facts["best"]
    }
