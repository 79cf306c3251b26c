"""Compaction: the same rows in fewer files, at every moment, for every reader, whatever is killed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import compact as compaction
from analysis import exchange, tables
from analysis.compact import compact
from tests.analysis.make_study import STUDY, make_study, write_study

ROOT = Path(__file__).parents[2]
COUNTS = {"studies": 1, "trials": 42, "epochs": 120, "evals": 18, "test_curves": 0, "teachers": 2, "environments": 1}


def test_every_table_is_one_file_with_the_same_rows(study):
    before = _read_all(study)
    answer = compact(study)
    assert {row["table"]: row["rows"] for row in answer.rows} == COUNTS
    assert [row["files_before"] for row in answer.rows] == [1, 42, 42, 18, 0, 2, 1]
    assert [row["files_after"] for row in answer.rows] == [1, 1, 1, 1, 0, 1, 1]
    assert answer.rows[1]["bytes_before"] > 10 * answer.rows[1]["bytes_after"] > 0
    assert _read_all(study) == before
    assert os.listdir(study / "staging") == []


def test_the_board_is_the_same(study):
    before = analysis.open(study).leaderboard()
    compact(study)
    assert analysis.open(study).leaderboard() == before


def test_rows_are_sorted_by_arm_stage_and_number_and_epochs_follow_their_trials(study):
    compact(study)
    trials = tables.read(study, "trials").to_pylist()
    order = [(row["arm_id"], row["stage"], row["number"]) for row in trials]
    assert order == sorted(order)
    places = {row["trial_id"]: place for place, row in enumerate(trials)}
    epochs = [(places[row["trial_id"]], row["epoch"]) for row in tables.read(study, "epochs").to_pylist()]
    assert epochs == sorted(epochs)


def test_a_compacted_file_has_the_schema_the_footer_and_its_keys(study):
    expected = {table: tables.keys(study, table) for table in tables.TABLES}
    compact(study)
    for table in ("trials", "epochs", "evals", "teachers"):
        (path,) = tables.files(study, table)
        assert path.name == "compacted-000001.parquet"
        found = pq.read_schema(path)
        assert found.equals(tables.schema(table))
        assert tables.schema(table).metadata.items() <= found.metadata.items()
        assert json.loads(found.metadata[b"kdsweep.keys"]) == sorted(expected[table])
        assert tables.keys(study, table) == expected[table]
        group = pq.read_metadata(path).row_group(0).column(1)
        assert group.compression == "ZSTD"
        assert group.is_stats_set


def test_other_tools_read_a_compacted_table_with_its_maps_and_times(study):
    compact(study)
    folder = study / "tables" / "epochs"
    expected = {"label": 0.5}, pd.Timestamp("2026-01-02 03:04:07.678901", tz="UTC")
    with duckdb.connect() as connection:
        read = connection.sql(f"FROM '{folder}/*.parquet'").to_arrow_table().to_pandas()
    polars, arrow = pl.read_parquet(folder).to_pandas(), pq.read_table(folder).to_pandas()
    for frame in (read, pd.read_parquet(folder), polars, arrow):
        first = frame[(frame["trial_id"] == f"t{STUDY}-0000") & (frame["epoch"] == 1)].iloc[0]
        pairs = [tuple(pair.values()) if isinstance(pair, dict) else pair for pair in first["terms"]]
        assert (dict(pairs), first["ended_at"]) == expected


def test_compacting_again_changes_nothing(study):
    compact(study)
    before = {path: path.stat().st_ino for path in study.rglob("*.parquet")}
    compact(study)
    assert {path: path.stat().st_ino for path in study.rglob("*.parquet")} == before


def test_what_came_after_is_compacted_too_and_no_name_comes_back(study):
    compact(study)
    for number in range(2):
        key = {"study_id": STUDY, "trial_id": f"t9{number}"}
        tables.write(study, "epochs", f"t9{number}", [{**key, "epoch": 1}])
        compact(study)
        (path,) = tables.files(study, "epochs")
        assert path.name == f"compacted-{number + 2:06d}.parquet"
        assert tables.read(study, "epochs").num_rows == 121 + number
    assert {"t90", "t91", f"t{STUDY}-0000"} < tables.keys(study, "epochs")


def test_rows_without_a_trial_and_keys_without_rows_are_kept(tmp_path):
    write_study(tmp_path)
    tables.write(tmp_path, "epochs", "t1", [{"trial_id": "t1", "epoch": 2}, {"trial_id": "t1", "epoch": 1}])
    tables.write(tmp_path, "epochs", "t2", [])
    compact(tmp_path)
    assert tables.read(tmp_path, "epochs")["epoch"].to_pylist() == [1, 2]
    assert tables.keys(tmp_path, "epochs") == {"t1", "t2"}


def test_many_rows_make_many_row_groups(tmp_path):
    """So that a query skips what it does not need, and several threads read."""
    write_study(tmp_path)
    for number in range(3):
        rows = pa.Table.from_pylist([{"trial_id": f"t{number}", "epoch": epoch} for epoch in range(60_000)])
        empty = tables.schema("epochs").empty_table()
        whole = pa.concat_tables([empty, rows], promote_options="default").cast(empty.schema)
        folder = tmp_path / "tables" / "epochs"
        folder.mkdir(exist_ok=True)
        pq.write_table(whole, folder / f"t{number}.parquet")
    compact(tmp_path)
    metadata = pq.read_metadata(tables.files(tmp_path, "epochs")[0])
    assert [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)] == [122_880, 57_120]


def test_a_file_of_another_table_is_refused_and_nothing_is_touched(study):
    shutil.copy(tables.files(study, "evals")[0], study / "tables" / "epochs" / "t8.parquet")
    before = _list_files(study)
    with pytest.raises(ValueError, match=r"t8.parquet: is of table evals, not of epochs[\s\S]*hint: `kdsweep check`"):
        compact(study)
    assert _list_files(study) - before == {"tables/trials/compacted-000001.parquet"}  # the table before it


def test_a_key_in_two_files_is_refused(study):
    compact(study)
    tables.write(study, "teachers", "other", [{"teacher_id": "id-big"}])
    (study / "tables" / "teachers" / "other.parquet").rename(study / "tables" / "teachers" / "id-big.parquet")
    with pytest.raises(ValueError, match=r"tables/teachers: a key is in two files\n\nhint: `kdsweep check`"):
        compact(study)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "folder"])
def test_what_is_not_ours_is_never_removed(study, name):
    strange = study / "tables" / "trials" / name
    strange.mkdir() if name == "folder" else strange.write_text("mine")
    with pytest.raises(ValueError, match="not a file of this table\n\nhint: move it elsewhere"):
        compact(study)
    assert strange.exists()
    assert len(tables.files(study, "trials")) == 42


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.ENOTSUP])
def test_where_two_names_cannot_be_swapped_it_says_what_else_to_do(study, monkeypatch, number):
    monkeypatch.setattr(exchange, "_call_renameat2", lambda *_: number)
    before = _list_files(study)
    with pytest.raises(ValueError, match=r"cannot swap two directories in one step[\s\S]*hint: `kdsweep export"):
        compact(study)
    assert _list_files(study) == before
    assert os.listdir(study / "staging") == []


def test_a_kernel_without_the_call_is_told_like_a_file_system_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: object())
    with pytest.raises(ValueError, match="cannot swap"):
        exchange.exchange(tmp_path, tmp_path)


def test_names_are_swapped_and_a_missing_one_is_an_error(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was {name}").touch()
    exchange.exchange(tmp_path / "new", tmp_path / "old")
    assert os.listdir(tmp_path / "old") == ["was new"]
    assert os.listdir(tmp_path / "new") == ["was old"]
    with pytest.raises(FileNotFoundError):
        exchange.exchange(tmp_path / "new", tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", ["LIMIT 17", "UNION ALL (SELECT * FROM trials LIMIT 1)"])
def test_a_compacted_file_that_lacks_a_row_or_has_one_twice_is_never_swapped_in(study, monkeypatch, wrong):
    before, select = _list_files(study), compaction.select_sorted
    monkeypatch.setattr(compaction, "select_sorted", lambda table: f"SELECT * FROM ({select(table)}) {wrong}".replace(
        "* FROM trials LIMIT", "* EXCLUDE filename FROM trials LIMIT"))
    with pytest.raises(RuntimeError, match="table trials: the compacted file does not hold the rows"):
        compact(study)
    assert _list_files(study) == before


def test_a_compacted_file_with_one_other_value_is_never_swapped_in(study, monkeypatch):
    before, select = _list_files(study), compaction.select_sorted
    monkeypatch.setattr(compaction, "select_sorted", lambda table: (
        f"SELECT * REPLACE (CASE WHEN number = 3 THEN 4 ELSE number END AS number) FROM ({select(table)})"))
    with pytest.raises(RuntimeError, match="table trials: the compacted file does not hold the rows"):
        compact(study)
    assert _list_files(study) == before


def test_a_study_without_any_table_is_compacted_to_nothing(tmp_path):
    (tmp_path / "tables").mkdir()
    assert {row["rows"] for row in compact(tmp_path).rows} == {0}


def test_everything_is_on_the_disk_before_the_swap_and_the_swap_before_the_old_files_go(study, monkeypatch):
    steps = []
    fsync, swap, remove = os.fsync, compaction.exchange, compaction._remove

    def note_fsync(handle):
        steps.append(f"sync {_short(os.readlink(f'/proc/self/fd/{handle}'))}")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(compaction, "exchange", lambda new, old: (steps.append("swap"), swap(new, old)))
    monkeypatch.setattr(compaction, "_remove", lambda path: (steps.append("remove"), remove(path)))
    for table in ("epochs", "evals", "teachers"):
        shutil.rmtree(study / "tables" / table)
    steps.clear()
    compact(study)
    assert steps == ["sync staging", "sync file", "sync new", "swap", "sync tables", "sync staging", "remove"]


CHILD = textwrap.dedent("""
    import os, shutil, signal, sys
    from pathlib import Path
    from analysis import compact as compaction, exchange, tables

    passed, crash_at = 0, int(sys.argv[2])

    def wrap(module, name):
        function = getattr(module, name)
        def wrapped(*arguments, **keywords):
            tick()
            result = function(*arguments, **keywords)
            tick()
            return result
        setattr(module, name, wrapped)

    def tick():
        global passed
        passed += 1
        if passed == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    wrap(os, "fsync")
    wrap(os, "unlink")
    wrap(os, "mkdir")
    wrap(exchange, "_call_renameat2")
    compaction.compact(Path(sys.argv[1]))
    print(passed)
""")


@pytest.mark.slow
def test_a_compaction_killed_anywhere_leaves_every_row_once_and_the_next_one_tidies_up(finished_study, tmp_path):
    kept = make_study(tmp_path / "kept")
    for table in ("epochs", "evals"):
        shutil.rmtree(kept / "tables" / table)
    for path in tables.files(kept, "trials")[4:]:
        path.unlink()
    expected = _read_all(kept)
    survived = _run_killed(Path(shutil.copytree(kept, tmp_path / "whole")), crash_at=0)
    assert survived > 20
    leftovers = 0
    for crash_at in range(1, survived + 1):
        study = Path(shutil.copytree(kept, tmp_path / "killed"))
        assert _run_killed(study, crash_at=crash_at) is None
        assert _read_all(study) == expected
        leftovers += bool(os.listdir(study / "staging"))
        compact(study)
        assert _read_all(study) == expected
        assert os.listdir(study / "staging") == []
        assert [path.name for path in tables.files(study, "trials")] == ["compacted-000001.parquet"]
        shutil.rmtree(study)
    assert leftovers > 10


def _run_killed(study: Path, *, crash_at: int) -> int | None:
    """The number of points that the compaction passed; None where it was killed at one."""
    command = [sys.executable, "-c", CHILD, str(study), str(crash_at)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


READER = textwrap.dedent("""
    import collections, json, select, sys
    import duckdb, pyarrow as pa, pyarrow.dataset as ds
    import analysis
    from analysis import tables

    folder = f"{sys.argv[1]}/tables/epochs"
    results = analysis.open(sys.argv[1])

    def count_with_duckdb():
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT count(*), sum(epoch) FROM '{folder}/*.parquet'").fetchone()

    def count_with_pyarrow():
        epochs = ds.dataset(folder).to_table(columns=["epoch"])["epoch"].to_pylist()
        return len(epochs), sum(epochs)

    def count_with_ours():
        row = results.rows({"counts": "SELECT count(*) AS n, sum(epoch)::BIGINT AS epochs FROM epochs"})["counts"][0]
        return row["n"], row["epochs"]

    def count_with_our_tables():
        epochs = tables.read(sys.argv[1], "epochs")["epoch"].to_pylist()
        return len(epochs), sum(epochs)

    seen = collections.Counter()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for count in (count_with_duckdb, count_with_pyarrow, count_with_ours, count_with_our_tables):
            try:
                found = count()
                seen[f"{count.__name__} {'right' if found == (120, 270) else found}"] += 1
            except (duckdb.Error, OSError, pa.ArrowInvalid):
                seen[f"{count.__name__} loud"] += 1
    print(json.dumps(seen))
""")


@pytest.mark.slow
def test_no_reader_ever_counts_wrongly_while_tables_are_swapped(study, tmp_path):
    """To compacted and back, 12 times: the reader asks four ways, and ours never fail.

    Arrow leaves out what vanishes while it lists a directory, so it may find no file, and then no column either: a
    query that names one fails.
    """
    small, counts = tmp_path / "small", {}
    shutil.copytree(study / "tables" / "epochs", small)
    command = [sys.executable, "-c", READER, str(study)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "ready\n"
        for turn in range(12):
            compact(study)
            back = Path(shutil.copytree(small, tmp_path / f"back{turn}"))
            for place, path in enumerate(sorted(back.iterdir())):
                path.rename(back / f"turn{turn}-{place}.parquet")  # as always, no name comes back
            exchange.exchange(back, study / "tables" / "epochs")
            shutil.rmtree(back)
        counts = json.loads(reader.communicate("stop")[0])
        assert reader.returncode == 0
    wrong = {name: number for name, number in counts.items() if not name.endswith((" right", " loud"))}
    assert wrong == {}
    for name in ("count_with_duckdb", "count_with_pyarrow", "count_with_ours", "count_with_our_tables"):
        assert counts[f"{name} right"] > 0
    assert not {"count_with_ours loud", "count_with_our_tables loud"} & counts.keys()


def _read_all(directory: Path) -> dict[str, list[dict]]:
    read = {table: tables.read(directory, table).to_pylist() for table in tables.TABLES}
    return {table: sorted(rows, key=str) for table, rows in read.items()}


def _list_files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def _short(path: str) -> str:
    name = os.path.basename(path)
    return "new" if name.startswith("compact.") else "file" if name.endswith(".parquet") else name
