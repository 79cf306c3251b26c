"""The journal against the tables: what was changed by hand is named, and what follows from the journal is not."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis import tables
from sweeps import audit as auditing
from sweeps.audit import audit, is_finished
from sweeps.exits import StudyChanged
from sweeps.journal import Journal, read_events
from tests.sweeps import studies_on_disk as disk

SIX_TABLES = ("studies", "trials", "evals", "environments", "teachers")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return disk.run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def study(undisturbed, tmp_path):
    """A finished study with its teacher, the test's own."""
    shutil.copytree(undisturbed.parent / "_weights", tmp_path / "_weights")
    return Path(shutil.copytree(undisturbed, tmp_path / "tiny"))


def _rewrite(study, table, key, **changes):
    path = study / "tables" / table / f"{key}.parquet"
    rows = [row | changes for row in pq.read_table(path).to_pylist()]
    path.unlink()
    tables.write(study, table, key, rows)


def _find(study, **where):
    rows = tables.read(study, "trials").to_pylist()
    return next(row for row in rows if all(row[name] == value for name, value in where.items()))


def test_a_finished_study_is_as_its_journal_says(study):
    assert is_finished(study)
    assert audit(study) == []


def test_it_does_not_matter_where_the_study_lies(study, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("tiny", "_weights"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert audit(tmp_path / "elsewhere" / "tiny") == []


@pytest.mark.parametrize(("column", "value"), [
    ("val_top1", 0.99), ("lr", 7.0), ("status", "stopped"), ("epochs_done", 1), ("wall_seconds", 0.5),
    ("settings_json", "{}"), ("environment_id", None), ("stage", "repeat"), ("config_hash", "x"),
])
def test_a_changed_trial_is_named_with_its_column(study, column, value):
    trial = _find(study, stage="tune", status="completed")
    _rewrite(study, "trials", trial["trial_id"], **{column: value})
    (problem,) = audit(study)
    assert problem["where"] == "trials"
    said = f"{column} of {trial['trial_id']} is {value!r}, by the journal {trial[column]!r}"
    assert problem["what"] == said


def test_changes_elsewhere_are_named_too(study):
    repeat = _find(study, stage="repeat")["trial_id"]
    _rewrite(study, "evals", repeat, top1=0.5)
    (problem, *rest) = audit(study)
    assert problem["what"].startswith(f"top1 of {repeat} val is 0.5, by the journal 0.")
    assert len(rest) == 1  # val and test
    (teacher,) = tables.keys(study, "teachers")
    _rewrite(study, "teachers", teacher, test_top1=0.25)
    assert f"test_top1 of {teacher} is 0.25" in audit(study)[-1]["what"]
    (environment,) = tables.keys(study, "environments")
    _rewrite(study, "environments", environment, host="other")
    assert any(f"host of {environment} is 'other'" in found["what"] for found in audit(study))
    (name,) = tables.keys(study, "studies")
    _rewrite(study, "studies", name, seed=9)
    assert audit(study)[0]["what"] == f"seed of {name} is 9, by the journal 0"


def test_the_commit_that_looks_need_not_be_the_one_that_ran(study):
    (name,) = tables.keys(study, "studies")
    _rewrite(study, "studies", name, code_version="older", code_dirty=True)
    assert audit(study) == []


@pytest.mark.parametrize("table", SIX_TABLES)
def test_rows_that_are_missing_are_named_and_written_again_by_a_resume(study, tmp_path, table):
    keys = sorted(tables.keys(study, table))
    shutil.rmtree(study / "tables" / table)
    found = audit(study)
    assert {problem["where"] for problem in found} == {table}
    assert sorted({problem["what"].split()[5].rstrip(",") for problem in found}) == keys
    assert all("which the journal tells of" in problem["what"] for problem in found)
    disk.run(tmp_path)
    assert audit(study) == []


def test_a_row_that_the_journal_does_not_know_is_named(study):
    tables.write(study, "trials", "t9", [{"trial_id": "t9"}])
    (problem,) = audit(study)
    assert problem["what"] == "there is a row of t9, which the journal does not know"


def test_a_file_that_cannot_be_read_is_not_named_twice(study):
    trial_id = _find(study, stage="repeat")["trial_id"]
    (study / "tables" / "trials" / f"{trial_id}.parquet").write_bytes(b"PAR1")
    assert audit(study) == []


def test_a_checkpoint_that_is_gone_is_named(study):
    trial = _find(study, stage="repeat")
    (study / trial["checkpoint"]).unlink()
    (problem,) = audit(study)
    assert problem["what"] == f"the checkpoint of {trial['trial_id']} is gone"
    assert problem["where"] == str(study / trial["checkpoint"])


def test_a_teacher_that_was_altered_or_is_gone_is_named(study, tmp_path):
    (teacher,) = (tmp_path / "_weights").iterdir()
    (teacher / "weights.pt").write_bytes(b"other")
    (problem, *_) = audit(study)
    assert "the teacher was altered since it was stored" in problem["what"]
    assert problem["hint"].startswith("remove ")
    shutil.rmtree(teacher)
    (problem, *_) = audit(study)
    assert problem["what"] == f"the weights of teacher {teacher.name} are gone"
    assert problem["where"] == str(teacher)


def test_a_journal_changed_by_hand_is_named(study):
    path = study / "journal" / "events.jsonl"
    events = list(read_events(path))
    next(event for event in events if event["type"] == "rung")["value"] += 0.1
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    (problem,) = audit(study)
    assert "does not follow from those before it" in problem["what"]
    assert problem["hint"].startswith("the journal was changed by hand")
    assert not is_finished(study)


def test_a_study_that_was_changed_and_a_directory_without_one_are_errors(study, tmp_path):
    with pytest.raises(ValueError, match="no study was begun here"):
        audit(tmp_path)
    text = (study / "study.yaml").read_text()
    (study / "study.yaml").write_text(text.replace("trials_per_arm: 3", "trials_per_arm: 4"))
    for look in (audit, is_finished):
        with pytest.raises(StudyChanged):
            look(study)


def test_rows_on_their_way_are_no_problem_while_a_driver_is_at_work(study):
    trial = _find(study, stage="repeat")["trial_id"]
    (study / "tables" / "trials" / f"{trial}.parquet").unlink()
    journal = Journal(study / "journal")
    assert audit(study) == []
    journal.close()
    assert len(audit(study)) == 1


def test_a_table_that_is_compacted_while_it_is_read_is_read_again(study, monkeypatch):
    opened = auditing.pq.ParquetFile

    def rename_first(path):
        monkeypatch.undo()
        path.rename(path.with_name("other.parquet"))
        return opened(path)

    monkeypatch.setattr(auditing.pq, "ParquetFile", rename_first)
    assert audit(study) == []
