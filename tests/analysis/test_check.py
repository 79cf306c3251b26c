"""A damaged study: each kind of damage is named, alone, with where it is."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import check as checking
from analysis import tables
from analysis.check import check
from analysis.compact import compact
from tests.analysis.make_study import STUDY, make_study

FIRST = f"t{STUDY}-0000"   # completed, 4 epochs
REPEAT = f"t{STUDY}-0010"  # has a row in evals


def test_a_whole_study_has_no_problem_and_the_note_says_what_was_looked_at(study):
    answer = check(study, finished=True)
    assert answer.rows == ()
    assert answer.title == "study: 0 problems"
    assert answer.notes == (
        "looked at studies (1 row in 1 file), trials (42 rows in 42 files), epochs (120 rows in 42 files), "
        "evals (18 rows in 18 files), test_curves (0 rows in 0 files), teachers (2 rows in 2 files), "
        "environments (1 row in 1 file)",
    )


def test_a_compacted_study_has_no_problem(study):
    compact(study)
    assert check(study, finished=True).rows == ()


def test_what_others_found_comes_last(study):
    (study / "tables" / "notes.txt").touch()
    more = [{"what": "a", "where": "b", "hint": "c"}]
    answer = check(study, more=more)
    assert answer.rows[1:] == tuple(more)
    assert answer.title == "study: 2 problems"


def test_no_study_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no study here"):
        check(tmp_path)


def _truncate(study: Path) -> None:
    path = study / "tables" / "trials" / f"{FIRST}.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def _flip(study: Path) -> None:
    path = study / "tables" / "epochs" / f"{FIRST}.parquet"
    data = path.read_bytes()
    place = data.index(struct.pack("<d", 0.25))
    path.write_bytes(data[:place] + b"x" + data[place + 1 :])


def _change(study: Path, table: str, change: Callable[[pa.Table], pa.Table], key: str = FIRST) -> None:
    """Writes a file as another program would, with our footer."""
    path = study / "tables" / table / f"{key}.parquet"
    arrow = pq.read_table(path)
    changed = change(arrow)
    pq.write_table(changed.replace_schema_metadata(changed.schema.metadata or arrow.schema.metadata), path)


def _set(arrow: pa.Table, name: str, values: pa.Array | list) -> pa.Table:
    place = arrow.schema.names.index(name)
    values = values if isinstance(values, pa.Array) else pa.array(values, arrow.schema.field(name).type)
    return arrow.set_column(place, name, values)


def _double(study: Path) -> None:
    rows = tables.read(study, "epochs").to_pylist()
    rows = [{**row, "terms": dict(row["terms"])} for row in rows if row["trial_id"] == FIRST]
    tables.write(study, "epochs", FIRST, [*rows, rows[1], rows[3]])


def _rename(study: Path) -> None:
    (study / "tables" / "epochs" / f"{FIRST}.parquet").rename(study / "tables" / "epochs" / "t0.parquet")


def _add_orphans(study: Path) -> None:
    tables.write(study, "epochs", "t9", [{"study_id": STUDY, "trial_id": "t9", "epoch": 1}])


DAMAGES = {
    "truncated": (_truncate, f"tables/trials/{FIRST}.parquet", "is not a whole Parquet file: "),
    "flipped": (_flip, f"tables/epochs/{FIRST}.parquet", "cannot be read to its end: "),
    "foreign": (
        lambda study: pq.write_table(pa.table({"x": [1]}), study / "tables" / "trials" / f"{FIRST}.parquet"),
        f"tables/trials/{FIRST}.parquet", "is of no schema version, not of 1",
    ),
    "empty": (
        lambda study: (study / "tables" / "trials" / f"{FIRST}.parquet").write_bytes(b""),
        f"tables/trials/{FIRST}.parquet", "is not a whole Parquet file: ",
    ),
    "newer": (
        lambda study: _change(study, "trials", lambda arrow: arrow.replace_schema_metadata(
            arrow.schema.metadata | {b"kdsweep.schema_version": b"2"})),
        f"tables/trials/{FIRST}.parquet", "is of schema version 2, not of 1",
    ),
    "missing column": (
        lambda study: _change(study, "trials", lambda arrow: arrow.drop_columns(["lr", "power"])),
        f"tables/trials/{FIRST}.parquet", "lacks lr, power",
    ),
    "extra column": (
        lambda study: _change(study, "trials", lambda arrow: arrow.append_column("mine", pa.array([1]))),
        f"tables/trials/{FIRST}.parquet", "has mine, which version 1 does not know",
    ),
    "wrong type": (
        lambda study: _change(study, "trials", lambda arrow: _set(arrow, "lr", pa.array([1], pa.int64()))),
        f"tables/trials/{FIRST}.parquet", "has lr as int64, not double",
    ),
    "other order": (
        lambda study: _change(study, "trials", lambda arrow: arrow.select(arrow.schema.names[::-1])),
        f"tables/trials/{FIRST}.parquet", "has its columns in another order",
    ),
    "unknown table": (lambda study: (study / "tables" / "notes").mkdir(), "tables/notes", "notes is no table"),
    "stranger": (
        lambda study: (study / "tables" / "trials" / "notes.txt").touch(),
        "tables/trials/notes.txt", "notes.txt is no file of a table",
    ),
    "left over": (
        lambda study: (study / "staging" / "epochs.t1.1.parquet.part").touch(),
        "staging/epochs.t1.1.parquet.part", "was left over by a process that was killed",
    ),
    "doubled": (_double, "epochs", f"trial_id {FIRST}, epoch 2, 4, is there more than once"),
    "renamed": (_rename, "epochs", f"t0.parquet holds a row of trial_id {FIRST}"),
    "orphan": (_add_orphans, "epochs", "trial t9 has rows and no row in trials"),
    "share": (
        lambda study: _change(study, "evals", lambda arrow: _set(arrow, "top1", [81.5]), REPEAT),
        "evals", f"top1 of {REPEAT} is 81.5",
    ),
    "negative share": (
        lambda study: _change(study, "evals", lambda arrow: _set(arrow, "ece", [-0.1]), REPEAT),
        "evals", f"ece of {REPEAT} is -0.1",
    ),
    "gap": (
        lambda study: _change(study, "epochs", lambda arrow: arrow.take([0, 1, 3])),
        "epochs", f"trial {FIRST} has epochs 1, 2, 4, not 1 to 4",
    ),
    "another epoch": (
        lambda study: _change(study, "epochs", lambda arrow: _set(arrow, "epoch", [1, 2, 3, 5])),
        "epochs", f"trial {FIRST} has epochs 1, 2, 3, 5, not 1 to 4",
    ),
    "no epochs": (
        lambda study: (study / "tables" / "epochs" / f"{FIRST}.parquet").unlink(),
        "epochs", f"trial {FIRST} has epochs none, not 1 to 4",
    ),
    "no study": (
        lambda study: shutil.rmtree(study / "tables" / "studies"),
        "studies", "study_id s1 has no row, and 42 trials name it",
    ),
    "no teacher": (
        lambda study: (study / "tables" / "teachers" / "id-big.parquet").unlink(),
        "teachers", "teacher_id id-big has no row, and 7 trials name it",
    ),
    "no machine": (
        lambda study: shutil.rmtree(study / "tables" / "environments"),
        "environments", "environment_id e1 has no row, and 42 trials name it",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named_and_nothing_else(study, name):
    damage, where, what = DAMAGES[name]
    damage(study)
    rows = check(study, finished=True).rows
    if name == "foreign":  # it lacks a lot besides
        rows = rows[:1]
    assert [row["where"] for row in rows] == [where]
    assert what in rows[0]["what"]
    assert rows[0]["hint"]


def test_a_file_of_another_table_in_one_is_named(study):
    (study / "tables" / "test_curves").mkdir()
    shutil.copy(study / "tables" / "evals" / f"{REPEAT}.parquet", study / "tables" / "test_curves")
    assert check(study).rows[0]["what"] == f"{REPEAT}.parquet is of table evals, not of test_curves"


def test_a_compacted_file_that_does_not_say_its_keys_or_says_wrong_ones_is_named(study):
    compact(study)
    (path,) = tables.files(study, "teachers")
    arrow = pq.read_table(path)
    metadata = arrow.schema.metadata
    pq.write_table(arrow.replace_schema_metadata(metadata | {b"kdsweep.keys": b'["id-big"]'}), path)
    (row,) = check(study, finished=True).rows
    assert row["what"] == "compacted-000001.parquet holds a row of teacher_id id-wide"
    pq.write_table(arrow.replace_schema_metadata({k: v for k, v in metadata.items() if b"keys" not in k}), path)
    assert "does not say which keys it holds" in check(study, finished=True).rows[0]["what"]


def test_a_key_in_a_compacted_file_and_in_one_of_its_own_is_doubled(study, tmp_path):
    row = tables.files(study, "teachers")[0]
    shutil.copy(row, tmp_path / row.name)
    compact(study)
    shutil.copy(tmp_path / row.name, study / "tables" / "teachers" / row.name)
    (problem,) = check(study, finished=True).rows
    assert problem["what"] == "teacher_id id-big is there more than once"


def test_what_a_running_study_has_for_a_while_is_no_problem(study):
    _add_orphans(study)
    DAMAGES["left over"][0](study)
    answer = check(study)
    assert answer.rows == ()
    assert answer.notes[1].startswith("the study is not finished")


def test_a_table_that_is_replaced_while_it_is_looked_at_is_looked_at_again(tmp_path, monkeypatch):
    study, look, turns = make_study(tmp_path / "study"), checking._look, []

    def swap_first(*arguments, **named):
        turns.append(1)
        if len(turns) == 1:
            compact(study)
        return look(*arguments, **named)

    monkeypatch.setattr(checking, "_look", swap_first)
    assert check(study, finished=True).rows == ()
    assert len(turns) == 2


def test_what_stays_unreadable_is_not_looked_at_for_ever(study, monkeypatch):
    def fail(*_, **__):
        raise FileNotFoundError("gone")

    monkeypatch.setattr(checking, "_look", fail)
    with pytest.raises(FileNotFoundError, match="gone"):
        check(study)
