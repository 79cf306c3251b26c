"""What studies cost: trials, epochs, seconds and memory, by arm and stage, teachers by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analysis.answer import Answer, Field
from analysis.arm_rows import ARM_COLUMNS, ARM_KEYS, Row, read, sort_arms, to_keys
from analysis.arms import Plan
from analysis.queries import Results

_COSTS = f"""
    SELECT {ARM_COLUMNS}, stage, count(*) AS num_trials,
           count(*) FILTER (status = 'completed') AS completed, count(*) FILTER (status = 'stopped') AS stopped,
           count(*) FILTER (status = 'diverged') AS diverged, count(*) FILTER (status = 'failed') AS failed,
           coalesce(sum(epochs_done), 0)::BIGINT AS num_epochs,
           (sum(epochs_planned - epochs_done) FILTER (stage = 'tune' AND status = 'stopped'))::BIGINT AS epochs_saved,
           sum(wall_seconds) AS wall_seconds, sum(cpu_seconds) AS cpu_seconds, sum(device_seconds) AS device_seconds,
           max(peak_bytes) AS peak_bytes, count(*) - count(wall_seconds) AS unknown
    FROM trials GROUP BY ALL ORDER BY study_id, arm_id, stage DESC, student
"""  # descending: tune before repeat

_FIELDS = (
    Field("num_trials", "", "trials, whatever became of them"),
    Field("completed", "", "trials that ran to the end of their budget"),
    Field("stopped", "", "trials that a rung, the end of their arm or of the study stopped"),
    Field("diverged", "", "trials whose loss was no number any more"),
    Field("failed", "", "trials that failed after all retries"),
    Field("num_epochs", "", "epochs trained, each counted once"),
    Field("epochs_saved", "", "epochs that stopped trials of the search were spared; diverged and failed ones do not "
                              "count"),
    Field("wall_seconds", "s", "elapsed time of all jobs, added up even where they ran side by side"),
    Field("cpu_seconds", "s", "processor time of their workers"),
    Field("device_seconds", "s", "time that accelerators computed; none on the CPU"),
    Field("peak_bytes", "bytes", "most memory that one of the trials held"),
    Field("share", "share", "of the study's elapsed time"),
)
_ADDED = tuple(field.name for field in _FIELDS[:-2])


def measure(results: Results) -> Answer:
    """What every teacher, arm and stage cost, then each study in all and, of several, all of them.

    A search costs what all its trials cost, whatever became of them. Epochs of trials that are not final yet have a row
    of their own, stage `unfinished`: their arm is not in the tables yet.
    """
    plans, facts = read(results, {"costs": _COSTS})
    found = sort_arms(facts["costs"], plans)
    rows, totals = [], []
    for study_id, plan in plans.items():
        own = [row for row in found if row["study_id"] == study_id]
        unfinished = [row for row in facts["unfinished"] if row["study_id"] == study_id]
        parts = [*_name_teachers(own, plan), *_name_arms(own, plans), *_name_unfinished(unfinished, plan)]
        total = _add_up(parts) | {"study": plan.name, "stage": "total"}
        rows += [part | {"share": _find_share(part, total)} for part in [*parts, total]]
        totals.append(total)
    if len(totals) > 1:
        rows.append(_add_up(totals) | {"stage": "total", "share": None})
    keys = (*ARM_KEYS, "stage")
    return Answer(
        title="What it cost",
        keys=keys,
        fields=_FIELDS,
        rows=tuple({name: row.get(name) for name in (*keys, *(field.name for field in _FIELDS))} for row in rows),
        notes=tuple(_describe(found, plans)),
    )


def _name_teachers(rows: Sequence[Row], plan: Plan) -> Iterator[Row]:
    """A teacher's training: the model that it trained is the teacher here."""
    for row in rows:
        if row["stage"] == "teacher":
            named = {"study": plan.name, "data": row["data"], "teacher": row["student"]}
            yield _pick(row) | dict.fromkeys(("teacher_id", "student", "method")) | named


def _name_arms(rows: Sequence[Row], plans: Mapping[str, Plan]) -> Iterator[Row]:
    for row in rows:
        if row["stage"] != "teacher":
            yield _pick(row) | to_keys(row, plans)


def _name_unfinished(rows: Sequence[Row], plan: Plan) -> Iterator[Row]:
    for row in rows:
        yield {
            "study": plan.name, "stage": "unfinished", "num_trials": row["trials"], "num_epochs": row["epochs"],
            "wall_seconds": row["seconds"], "device_seconds": row["device_seconds"],
        }


def _pick(row: Row) -> Row:
    return {name: row[name] for name in ("stage", *_ADDED, "peak_bytes")}


def _add_up(rows: Sequence[Row]) -> Row:
    """Sums, and the highest peak; None where no row knows."""
    known = {name: [row[name] for row in rows if row.get(name) is not None] for name in (*_ADDED, "peak_bytes")}
    added = {name: sum(known[name]) if known[name] else None for name in _ADDED}
    return added | {"peak_bytes": max(known["peak_bytes"], default=None)}


def _find_share(part: Row, total: Row) -> float | None:
    seconds = part["wall_seconds"]
    return seconds / total["wall_seconds"] if seconds is not None and total["wall_seconds"] else None


def _describe(rows: Sequence[Row], plans: Mapping[str, Plan]) -> Iterator[str]:
    yield "trials that ran side by side are added, so seconds are not the time that passed"
    for study_id, plan in plans.items():
        own = [row for row in rows if row["study_id"] == study_id]
        if unknown := sum(row["unknown"] for row in own):
            yield f"{plan.name}: {unknown:,} trials have no seconds, as a worker that dies takes them along"
