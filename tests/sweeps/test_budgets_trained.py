"""A study over compressed budgets that is really trained: what lies on the disk, and what reads it."""

import pytest

import analysis
from analysis import tables
from analysis.check import check
from sweeps import best
from sweeps.audit import audit
from tests.sweeps import studies_on_disk as disk


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return disk.run(tmp_path_factory.mktemp("compressed"), disk.COMPRESSED)


def _read(directory, stage):
    rows = [row for row in tables.read(directory, "trials").to_pylist() if row["stage"] == stage]
    return sorted(rows, key=lambda row: (row["epochs_planned"], row["number"]))


def test_each_budget_is_a_row(finished):
    """Two settings of one epoch, and the better one again for two."""
    first, second, whole = _read(finished, "tune")
    assert [(row["status"], row["epochs_done"], row["rung"]) for row in (first, second, whole)] == [
        ("completed", 1, 1), ("completed", 1, 1), ("completed", 2, None),
    ]
    better = max((first, second), key=lambda row: row["val_top1"])
    for name in ("number", "setting_id", "seed", "lr"):
        assert whole[name] == better[name]


def test_checkpoints_are_kept_of_the_whole_budget_alone(finished):
    kept = {row["trial_id"]: row["checkpoint"] for row in (*_read(finished, "tune"), *_read(finished, "repeat"))}
    cut = [row["trial_id"] for row in _read(finished, "tune") if row["epochs_planned"] == 1]
    assert [kept[trial_id] for trial_id in cut] == [None, None]
    folders = {path.name for path in (finished / "checkpoints").iterdir()}
    assert folders == set(kept) - set(cut)
    assert all((finished / kept[trial_id]).exists() for trial_id in folders)


def test_the_winner_is_of_the_whole_budget_and_repeated_at_it(finished):
    (winner,) = best.find_winners(best.read_planner(finished))
    whole = _read(finished, "tune")[-1]
    assert winner.searched.trial_id == whole["trial_id"]
    (repeat,) = _read(finished, "repeat")
    assert (repeat["epochs_planned"], repeat["setting_id"]) == (2, whole["setting_id"])
    (row,) = [row for row in analysis.open(finished).status().itertuples() if row.arm_id is not None]
    assert row.best_val_top1 == whole["val_top1"]


def test_journal_and_tables_agree(finished):
    assert audit(finished) == []
    assert check(finished, finished=True).rows == ()


def test_a_study_begun_again_asks_for_nothing_more(finished, tmp_path):
    before = disk.read_decisions(finished), disk.read_all(finished)
    disk.run(finished.parent, disk.COMPRESSED)
    assert (disk.read_decisions(finished), disk.read_all(finished)) == before
