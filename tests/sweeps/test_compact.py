"""Compaction of real studies: only when they are finished and nobody drives them, and a resume adds nothing."""

import shutil
from pathlib import Path

import pytest

import analysis
from analysis import tables
from analysis.check import check
from analysis.compact import compact
from sweeps import trial
from sweeps.audit import audit, compact_study
from sweeps.exits import LOCKED, find_exit_code
from sweeps.journal import Journal, Locked
from tests.sweeps import studies_on_disk as disk


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return disk.run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def study(undisturbed, tmp_path):
    """A finished study with its teacher, the test's own."""
    shutil.copytree(undisturbed.parent / "_weights", tmp_path / "_weights")
    return Path(shutil.copytree(undisturbed, tmp_path / "tiny"))


def _count_files(study):
    return {table: len(tables.files(study, table)) for table in tables.TABLES}


def _drop_code(board):
    """The board without the commit, which may move on while the tests run."""
    return [line for line in board.footer if line[0] != "code"], board.summary, board.pairs, board.missing


def test_a_finished_study_that_is_compacted_and_resumed_stays_as_it_is(study, tmp_path):
    expected, board = disk.read_all(study), _drop_code(analysis.open(study).leaderboard())
    keys = {table: tables.keys(study, table) for table in tables.TABLES}
    compact_study(study, compact)
    once = {"studies", "trials", "epochs", "evals", "test_curves", "teachers", "environments"}
    assert _count_files(study) == dict.fromkeys(once, 1)
    disk.run(tmp_path)
    assert _count_files(study) == dict.fromkeys(once, 1)
    assert disk.read_all(study) == expected
    assert {table: tables.keys(study, table) for table in tables.TABLES} == keys
    assert _drop_code(analysis.open(study).leaderboard()) == board
    assert audit(study) == []
    assert check(study, finished=True).rows == ()


def test_what_an_orphan_leaves_after_the_compaction_is_removed_by_a_resume(study, tmp_path):
    (row,) = [row for row in tables.read(study, "trials").to_pylist() if row["stage"] == "teacher"]
    rows = [{**r, "terms": dict(r["terms"])} for r in tables.read(study, "epochs").to_pylist()
            if r["trial_id"] == row["trial_id"]]
    compact_study(study, compact)
    staged = trial.staged_path(study, "epochs", trial_id=row["trial_id"], job=row["jobs"])
    tables.stage("epochs", rows, staged)
    expected = disk.read_all(study)
    disk.run(tmp_path)
    assert disk.read_all(study) == expected
    assert not staged.exists()


def test_what_a_killed_driver_had_not_published_is_published_after_the_compaction(study, tmp_path):
    """Its row in trials was not there yet, those in evals were."""
    expected = disk.read_all(study)
    victim = next(row for row in tables.read(study, "trials").to_pylist() if row["stage"] == "repeat")["trial_id"]
    (study / "tables" / "trials" / f"{victim}.parquet").unlink()
    compact_study(study, compact)
    assert victim in tables.compacted_keys(study, "evals")
    disk.run(tmp_path)
    assert disk.read_all(study) == expected
    assert [path.stem for path in tables.files(study, "trials")] == ["compacted-000001", victim]
    compact_study(study, compact)
    assert disk.read_all(study) == expected


def test_a_study_that_a_driver_holds_is_not_compacted(study):
    journal = Journal(study / "journal")
    with pytest.raises(Locked, match="another driver is at work") as caught:
        compact_study(study, compact)
    assert find_exit_code(caught.value) == LOCKED
    journal.close()
    compact_study(study, compact)


def test_no_driver_opens_a_study_while_it_is_compacted_and_one_does_after_a_failure(study, tmp_path):
    def try_to_drive(directory):
        with pytest.raises(Locked):
            disk.open_driver(tmp_path)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        compact_study(study, try_to_drive)
    assert compact_study(study, lambda directory: directory) == study


def test_a_study_that_is_not_finished_is_not_compacted(tmp_path):
    driver, directory = disk.open_driver(tmp_path)
    job = driver.next_job()
    for report in trial.run(job, directory=directory):
        if not driver.tell(job, report):
            break
    driver.close()
    with pytest.raises(ValueError, match=r"not finished, \d+ epochs are left\n\nhint: go on with it first"):
        compact_study(directory, compact)
    with pytest.raises(ValueError, match="no study was begun here"):
        compact_study(tmp_path / "nowhere", compact)
    assert not (tmp_path / "nowhere").exists()
