"""What became of every arm's trials so far, from the tables alone, so that a copied study can be looked at anywhere.

A trial that is not final has no row in `trials`, and which arm it is of stands there alone: such trials are counted
per study, by the keys of their epochs.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis import tables
from analysis.queries import Query, Results
from analysis.settings import IS_WHOLE

_STATUSES = ("completed", "stopped", "diverged", "failed")

_BY_STATUS = ", ".join(f"count(*) FILTER (status = '{status}') AS {status}" for status in _STATUSES)
_COUNTS = (*_STATUSES, "repeats", "running")
_KEYS = ("study_id", "arm_id", "data", "teacher", "student", "method_label")

_ARMS = Query(f"""
    SELECT {", ".join(_KEYS)}, {_BY_STATUS},
           count(*) FILTER (status = 'completed' AND stage = 'repeat') AS repeats, 0 AS running,
           coalesce(sum(epochs_done), 0)::BIGINT AS epochs, coalesce(sum(wall_seconds), 0) AS seconds,
           max(val_top1) FILTER (status = 'completed' AND stage = 'tune' AND {IS_WHOLE}) AS best_val_top1
    FROM trials GROUP BY ALL ORDER BY study_id, arm_id NULLS LAST, data, student
""", {"trials": (*_KEYS, "status", "stage", "rung", "epochs_planned", "epochs_done", "wall_seconds", "val_top1")})

_FINAL = Query("""
    SELECT study_id, list(trial_id) AS trials FROM trials GROUP BY study_id
""", {"trials": ("study_id", "trial_id")})


def count_trials(results: Results) -> pd.DataFrame:
    """One row per arm, then teachers, then one row per study that has trials which are not final; these have no arm.

    completed, stopped, diverged, failed: trials by status, repeats among them. repeats: the completed ones. running:
    trials that have epochs and no row of their own yet. epochs, seconds: spent by final trials. best_val_top1: of the
    search's trials that completed the whole budget.
    """
    begun = {study: _find_begun(path) for path in results.directories for study in tables.keys(path, "studies")}
    facts = results.rows({"arms": _ARMS} | ({"final": _FINAL} if any(begun.values()) else {}))
    final = {row["study_id"]: row["trials"] for row in facts.get("final", ())}
    running = {study: len(trials.difference(final.get(study, ()))) for study, trials in begun.items()}
    none = dict.fromkeys(_COUNTS, 0)
    unfinished = [none | {"study_id": study, "running": number} for study, number in sorted(running.items()) if number]
    rows = pd.DataFrame(facts["arms"] + unfinished, columns=[*_KEYS, *_COUNTS, "epochs", "seconds", "best_val_top1"])
    return rows.astype(dict.fromkeys([*_COUNTS, "epochs"], "Int64") | {"seconds": float, "best_val_top1": float})


def _find_begun(directory: Path) -> set[str]:
    """Trials that may still run: they have epochs, and not in a compacted file, which a finished study alone has.

    To be listed before the trials: what is final by then runs no longer.
    """
    return {path.stem for path in tables.files(directory, "epochs") if not path.name.startswith(tables.COMPACTED)}
