"""Whether a study's tables and files are what its journal says; and who may compact them: nobody while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from analysis import tables
from kdtrain import teachers
from sweeps import results
from sweeps.driver import fold
from sweeps.journal import Journal, read_events
from sweeps.launch import find_weights, load_begun
from sweeps.planner import Planner
from sweeps.results import Row
from sweeps.status import is_driven, summarise

Key = tuple[Any, ...]
Problem = dict[str, str]
"""what, where and hint: a sentence, a path or table, and what to do."""

Result = TypeVar("Result")

# Of the code that runs now and of the place where the study lies; the hash of the configuration is compared.
_NOT_OF_THE_JOURNAL = ("code_version", "code_dirty", "config_json")
_REBUILT = ("studies", "trials", "evals", "environments", "teachers")


def compact_study(directory: Path, compact: Callable[[Path], Result]) -> Result:
    """Calls `compact` with the directory of a finished study while no driver can open it. Returns what it returns.

    Raises `Locked` while a driver is at work, ValueError for a study that is not finished.
    """
    study = load_begun(directory)
    journal = Journal(directory / "journal")
    try:
        found = summarise(Planner(study, fold(journal.events, study, where=str(journal.path))))
        if not found["finished"]:
            raise ValueError(
                f"{directory}: the study is not finished, {found['epochs_left']:,} epochs are left\n\n"
                f"hint: go on with it first: kdsweep resume {directory}"
            )
        return compact(directory)
    finally:
        journal.close()


def is_finished(directory: Path) -> bool:
    """Whether the journal tells of the study's end. A damaged one tells of nothing: that is for `audit` to name."""
    load_begun(directory)
    try:
        return summarise(_load_planner(directory))["finished"]
    except ValueError:
        return False


def audit(directory: Path) -> list[Problem]:
    """What tables, checkpoints and teachers do not have as the journal says; empty where all is well.

    Whether files can be read at all, and what they say by themselves, is analysis.check's business. ValueError where
    there is no study, StudyChanged where it is another.
    """
    directory = Path(directory)
    load_begun(directory)
    stored, spoiled = _read_tables(directory)  # first: the journal runs ahead of the tables
    try:
        planner = _load_planner(directory)
    except ValueError as error:
        return [_to_problem(error, where=directory / "journal")]
    found: list[Problem] = []
    expected = _rebuild(planner, stored["trials"]) | {"teachers": _read_cards(directory, planner, found)}
    driven = is_driven(directory)  # then a row is published a moment after the journal tells of it
    for table in _REBUILT:
        rebuilt = _by_key(table, expected[table])
        excused = {key[0] for key in rebuilt} if driven else spoiled
        found += _compare_keys(table, stored[table], rebuilt, excused=excused)
        found += _compare_rows(table, stored[table], rebuilt)
    return found + list(_check_checkpoints(directory, stored["trials"]))


def _load_planner(directory: Path) -> Planner:
    study, path = load_begun(directory), directory / "journal" / "events.jsonl"
    return Planner(study, fold(list(read_events(path)), study, where=str(path)))


def _read_tables(directory: Path) -> tuple[dict[str, dict[Key, Row]], set[str]]:
    """The rows of all files that can be read, by table and key; and the keys of those that cannot."""
    stored, spoiled = {}, set()
    for table in _REBUILT:
        rows, wrong = _read_files(directory, table)
        stored[table] = _by_key(table, rows)
        spoiled |= wrong
    return stored, spoiled


def _read_files(directory: Path, table: str) -> tuple[list[Row], set[str]]:
    rows, spoiled = [], set()
    paths = tables.files(directory, table)
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                rows += file.read().to_pylist()
        except FileNotFoundError:
            if tables.files(directory, table) == paths:
                raise
            return _read_files(directory, table)  # the table was compacted meanwhile
        except (pa.ArrowException, OSError):
            spoiled.add(path.stem)  # analysis.check names it
    return rows, spoiled


def _by_key(table: str, rows: Iterable[Row]) -> dict[Key, Row]:
    return {tuple(row.get(name) for name in tables.KEYS[table]): row for row in rows}


def _rebuild(planner: Planner, stored: Mapping[Key, Row]) -> dict[str, list[Row]]:
    """The rows that the journal leads to. `stored`: the trials, which alone say whether a checkpoint was kept."""
    trials = [trial for trial in planner.state.trials.values() if trial.is_final]
    kept = {key: row.get("checkpoint") for key, row in stored.items()}
    return {
        "studies": [results.build_study_row(planner.study, planner.state)],
        "trials": [
            results.build_trial_row(planner, trial, checkpoint=kept.get((trial.trial_id,))) for trial in trials
        ],
        "evals": [
            row for trial in trials if trial.status == "completed" for row in results.build_eval_rows(planner, trial)
        ],
        "environments": list(planner.state.environments.values()),
    }


def _read_cards(directory: Path, planner: Planner, found: list[Problem]) -> list[Row]:
    """The rows of the study's stored teachers. A teacher that is gone or altered is added to `found`."""
    rows, weights = [], find_weights(directory)
    for teacher_id, status in planner.state.teachers.items():
        if teachers.has_teacher(weights, teacher_id):
            try:
                rows.append(results.build_teacher_row(teachers.read_card(weights, teacher_id)))
            except ValueError as error:
                found.append(_to_problem(error, where=weights / teacher_id))
        elif status == "ready":
            what = f"the weights of teacher {teacher_id} are gone"
            found.append(_describe(what, where=weights / teacher_id, hint="put them back beside the study"))
    return rows


def _compare_keys(
    table: str, stored: Mapping[Key, Row], expected: Mapping[Key, Row], *, excused: set[str]
) -> Iterator[Problem]:
    for key in sorted(expected.keys() - stored.keys(), key=str):
        if key[0] not in excused:
            yield _describe(f"there is no row of {_name(key)}, which the journal tells of", where=table,
                            hint="`kdsweep resume` writes it again")
    for key in sorted(stored.keys() - expected.keys(), key=str):
        yield _describe(f"there is a row of {_name(key)}, which the journal does not know", where=table,
                        hint="it is of another study, or the journal is older than the tables")


def _compare_rows(table: str, stored: Mapping[Key, Row], expected: Mapping[Key, Row]) -> Iterator[Problem]:
    keys = [key for key in expected if key in stored]
    rebuilt = tables.to_arrow(table, [expected[key] for key in keys]).to_pylist()
    for key, row in zip(keys, rebuilt, strict=True):
        for name, value in row.items():
            if name not in _NOT_OF_THE_JOURNAL and stored[key].get(name) != value:
                what = f"{name} of {_name(key)} is {stored[key].get(name)!r}, by the journal {value!r}"
                yield _describe(what, where=table, hint="the file was changed, or written by another version")


def _check_checkpoints(directory: Path, stored: Mapping[Key, Row]) -> Iterator[Problem]:
    for key, row in stored.items():
        if (path := row.get("checkpoint")) is not None and not (directory / path).exists():
            yield _describe(f"the checkpoint of {_name(key)} is gone", where=directory / path,
                            hint="restore it from a backup; without it `kdsweep best` cannot export the weights")


def _name(key: Key) -> str:
    return " ".join(str(part) for part in key)


def _describe(what: str, *, where: Path | str, hint: str) -> Problem:
    return {"what": what, "where": str(where), "hint": hint}


def _to_problem(error: ValueError, *, where: Path) -> Problem:
    what, _, hint = str(error).partition("\n\nhint: ")
    return _describe(what, where=where, hint=hint)
