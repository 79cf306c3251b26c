"""Schemas are what the design says, and a row on disk is whole, once, or not there."""

from __future__ import annotations

import json
import os
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import tables

# Version 1, typed out: name, type and unit of every column, in order. A change here is a new schema version.
COLUMNS = {
    "studies": (
        "study_id string, name string, created_at timestamp UTC, schema_version int64, config_json string JSON, "
        "config_hash string, objective string, selection_split string, epoch_rule string, seed int64, code_version "
        "string, code_dirty bool"
    ),
    "trials": (
        "study_id string, trial_id string, number int64, stage string, arm_id string, setting_id string, data string, "
        "teacher string, teacher_id string, student string, method string, method_label string, seed int64, train_on "
        "string, immune bool, status string, stop_reason string, rung int64 epochs, epochs_planned int64 epochs, "
        "epochs_done int64 epochs, val_top1 float64 fraction, val_epoch int64 epochs, test_top1 float64 fraction, lr "
        "float64, weight_decay float64, temperature float64, weight float64, gamma float64, smoothing float64, power "
        "float64, settings_json string JSON, jobs int64, retries int64, teacher_pass string, deterministic bool, "
        "precision string, memory_format string, wall_seconds float64 s, device_seconds float64 s, cpu_seconds "
        "float64 s, peak_bytes int64 bytes, student_params int64, deployed_params int64, student_macs int64, "
        "started_at timestamp UTC, ended_at timestamp UTC, environment_id string, config_hash string, checkpoint "
        "string, error_type string, error_text string"
    ),
    "epochs": (
        "study_id string, trial_id string, epoch int64 epochs, job int64, lr float64, loss_total float64, loss_label "
        "float64, loss_method float64, terms map, train_top1 float64 fraction, val_top1 float64 fraction, val_top5 "
        "float64 fraction, val_nll float64 nats, val_ece float64 fraction, val_agreement float64 fraction, num_images "
        "int64, epoch_seconds float64 s, device_seconds float64 s, ended_at timestamp UTC"
    ),
    "evals": (
        "study_id string, trial_id string, split string, epoch int64 epochs, epoch_rule string, top1 float64 "
        "fraction, top5 float64 fraction, nll float64 nats, ece float64 fraction, agreement float64 fraction, "
        "num_images int64"
    ),
    "test_curves": (
        "study_id string, trial_id string, epoch int64 epochs, test_top1 float64 fraction, test_top5 float64 "
        "fraction, test_nll float64 nats, test_ece float64 fraction, test_agreement float64 fraction, num_images "
        "int64"
    ),
    "teachers": (
        "teacher_id string, data string, model string, source string, weights_hash string, params int64, macs int64, "
        "val_top1 float64 fraction, test_top1 float64 fraction, published_top1 float64 fraction, saw_validation bool, "
        "recipe_json string JSON"
    ),
    "environments": (
        "environment_id string, host string, os string, python string, torch string, cuda string, driver string, gpu "
        "string, gpu_count int64, cpu string, num_threads int64, packages_json string JSON, ray string"
    ),
}
KEYS = {
    "studies": ("study_id",), "trials": ("trial_id",), "epochs": ("trial_id", "epoch"), "evals": ("trial_id", "split"),
    "test_curves": ("trial_id", "epoch"), "teachers": ("teacher_id",), "environments": ("environment_id",),
}
ARROW = {
    "string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"), "map": pa.map_(pa.string(), pa.float64()),
}
ROW = {"study_id": "s1", "trial_id": "t1", "epoch": 1}


def test_the_schema_of_version_1_is_exactly_this():
    assert tables.SCHEMA_VERSION == 1
    assert list(tables.TABLES) == list(COLUMNS)
    assert tables.KEYS == KEYS
    for table, text in COLUMNS.items():
        columns = [(*column.split(" "), "")[:3] for column in text.split(", ")]
        assert [(c.name, c.type, c.unit) for c in tables.TABLES[table]] == columns
        assert list(tables.schema(table)) == [pa.field(name, ARROW[kind]) for name, kind, _ in columns]


def test_the_file_says_its_table_version_and_units(tmp_path):
    path = tables.write(tmp_path, "epochs", "t1", [ROW])
    footer = pq.read_schema(path).metadata
    assert footer[b"kdsweep.schema_version"] == b"1"
    assert footer[b"kdsweep.table"] == b"epochs"
    assert json.loads(footer[b"kdsweep.units"])["epoch_seconds"] == "s"


def test_every_column_has_a_meaning_and_is_documented():
    described = tables.describe_tables()
    for table, columns in tables.TABLES.items():
        assert f"## {table}\n" in described
        for column in columns:
            assert column.meaning
            assert f"| {column.name} | {column.type} | {column.unit} | {column.meaning} |" in described


def test_units_follow_the_names():
    for columns in tables.TABLES.values():
        for column in columns:
            assert column.name.endswith("_seconds") == (column.unit == "s")
            assert column.name.endswith("_bytes") == (column.unit == "bytes")
            assert (column.type == "timestamp") == (column.unit == "UTC")


def test_absent_nan_and_infinite_are_null():
    row = tables.to_arrow("epochs", [
        {**ROW, "val_top1": float("nan"), "loss_total": float("inf"), "terms": {"a": 1, "b": float("nan"), "c": None}}
    ]).to_pylist()[0]
    assert row["lr"] is None
    assert row["val_top1"] is None
    assert row["loss_total"] is None
    assert row["terms"] == [("a", 1.0), ("b", None), ("c", None)]


def test_a_whole_number_is_a_float_where_the_column_is_one():
    assert tables.to_arrow("trials", [{"weight": 2}])["weight"].to_pylist() == [2.0]


def test_a_timestamp_is_stored_in_utc():
    there = timezone(timedelta(hours=2))
    stored = tables.to_arrow("epochs", [{"ended_at": datetime(2026, 1, 1, 2, 0, tzinfo=there)}])["ended_at"]
    assert stored.to_pylist() == [datetime(2026, 1, 1, 0, 0, tzinfo=UTC)]


@pytest.mark.parametrize(("column", "value"), [
    ("epoch", 1.0), ("epoch", True), ("epoch", 2**63), ("epoch", "1"), ("lr", "0.1"), ("lr", True), ("study_id", 7),
    ("terms", [("a", 1.0)]), ("terms", {"a": "x"}), ("terms", {1: 1.0}), ("ended_at", "2026-01-01"),
    ("ended_at", datetime(2026, 1, 1)),  # no time zone
])
def test_a_value_of_the_wrong_type_is_refused_by_name(column, value):
    with pytest.raises(ValueError, match=rf"table epochs: column {column} is .*, got"):
        tables.to_arrow("epochs", [{column: value}])


def test_an_unknown_column_or_table_is_refused_by_name():
    with pytest.raises(ValueError, match="table epochs: no column 'val_top_1'"):
        tables.to_arrow("epochs", [{"val_top_1": 0.5}])
    with pytest.raises(ValueError, match="no table `epoch`"):
        tables.schema("epoch")


def test_writing_a_key_again_replaces_it_whole(tmp_path):
    tables.write(tmp_path, "epochs", "t1", [ROW, {**ROW, "epoch": 2}])
    path = tables.write(tmp_path, "epochs", "t1", [{**ROW, "epoch": 7}])
    assert path == tmp_path / "tables" / "epochs" / "t1.parquet"
    assert tables.read(tmp_path, "epochs")["epoch"].to_pylist() == [7]


def test_reading_puts_all_files_together_under_the_fixed_schema(tmp_path):
    tables.write(tmp_path, "epochs", "t2", [{**ROW, "trial_id": "t2"}])
    tables.write(tmp_path, "epochs", "t1", [{**ROW, "val_top1": 0.5}])
    table = tables.read(tmp_path, "epochs")
    assert table.schema.equals(tables.schema("epochs"))
    assert table["trial_id"].to_pylist() == ["t1", "t2"]


def test_a_table_never_written_is_empty_with_its_schema(tmp_path):
    table = tables.read(tmp_path, "evals")
    assert table.num_rows == 0
    assert table.schema.equals(tables.schema("evals"))


def test_what_is_staged_or_torn_is_never_read(tmp_path):
    tables.write(tmp_path, "epochs", "t1", [ROW])
    tables.stage("epochs", [{**ROW, "trial_id": "t2"}], tmp_path / "staging" / "t2.parquet")
    (tmp_path / "staging" / "torn.parquet").write_bytes(b"PAR1")
    for stray in (".t3.parquet", "_t3.parquet", "t3.parquet.part"):
        (tmp_path / "tables" / "epochs" / stray).write_bytes(b"PAR1")
    assert tables.read(tmp_path, "epochs")["trial_id"].to_pylist() == ["t1"]


def test_staging_leaves_nothing_behind_but_the_staged_file(tmp_path):
    path = tmp_path / "staging" / "t1.parquet"
    tables.stage("epochs", [ROW], path)
    tables.stage("epochs", [ROW], path)
    assert os.listdir(path.parent) == ["t1.parquet"]


def test_a_failed_write_leaves_the_old_rows_and_no_litter(tmp_path, monkeypatch):
    tables.write(tmp_path, "epochs", "t1", [ROW])

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(tables.os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        tables.write(tmp_path, "epochs", "t1", [{**ROW, "epoch": 2}])
    assert tables.read(tmp_path, "epochs")["epoch"].to_pylist() == [1]
    assert os.listdir(tmp_path / "staging") == []


def test_the_file_is_durable_before_its_name_is_and_the_name_before_return(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(tables.os, "fsync", lambda handle: (events.append(_name(handle)), fsync(handle)))
    monkeypatch.setattr(tables.os, "replace", lambda a, b: (events.append(f"rename {b.name}"), replace(a, b)))
    (tmp_path / "staging").mkdir()
    (tmp_path / "tables" / "epochs").mkdir(parents=True)
    tables.write(tmp_path, "epochs", "t1", [ROW])
    assert events == ["part", "rename epochs.t1.parquet", "staging", "rename t1.parquet", "epochs"]


def test_publishing_twice_is_publishing_once(tmp_path):
    staged = tmp_path / "staging" / "t1.parquet"
    tables.stage("epochs", [ROW], staged)
    first = tables.publish(staged, tmp_path, "epochs", "t1")
    assert tables.publish(staged, tmp_path, "epochs", "t1") == first
    assert tables.read(tmp_path, "epochs").num_rows == 1


def test_publishing_what_was_never_staged_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="table epochs: nothing to publish"):
        tables.publish(tmp_path / "staging" / "t1.parquet", tmp_path, "epochs", "t1")


@pytest.mark.parametrize("key", ["", "../t1", "a/b", ".t1", "_t1", "t 1", "compacted-1"])
def test_a_key_that_cannot_name_a_file_is_refused_before_anything_is_written(tmp_path, key):
    with pytest.raises(ValueError, match="cannot name a file"):
        tables.write(tmp_path, "epochs", key, [ROW])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("table", list(COLUMNS))
def test_one_row_costs_far_less_than_what_pyarrow_would_write(tmp_path, table):
    """Of a whole trial's row the defaults made 14,961 bytes, ours are 6,363."""
    path = tables.write(tmp_path, table, "t1", [{COLUMNS[table].split(" ")[0]: "x"}])
    pq.write_table(tables.read(tmp_path, table), tmp_path / "fat.parquet")
    assert path.stat().st_size < 0.6 * (tmp_path / "fat.parquet").stat().st_size


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tables.write(tmp_path, "epochs", "t1", [{**ROW, "loss_total": 0.5}])
    data = path.read_bytes()
    place = data.index(struct.pack("<d", 0.5))
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_the_keys_of_a_table_are_those_of_all_its_files(tmp_path):
    assert tables.keys(tmp_path, "epochs") == frozenset()
    _write_compacted(tmp_path, ["t1", "t2"])
    tables.write(tmp_path, "epochs", "t3", [{**ROW, "trial_id": "t3"}])
    assert tables.keys(tmp_path, "epochs") == {"t1", "t2", "t3"}
    assert tables.compacted_keys(tmp_path, "epochs") == {"t1", "t2"}


def test_a_key_that_is_in_a_compacted_file_is_not_written_again(tmp_path):
    _write_compacted(tmp_path, ["t1"])
    staged = tmp_path / "staging" / "t1.parquet"
    tables.stage("epochs", [ROW], staged)
    with pytest.raises(ValueError, match="table epochs: t1 is in a compacted file"):
        tables.publish(staged, tmp_path, "epochs", "t1")
    staged.unlink()
    with pytest.raises(ValueError, match="table epochs: t1 is in a compacted file"):
        tables.write(tmp_path, "epochs", "t1", [ROW])
    assert os.listdir(tmp_path / "staging") == []
    assert tables.read(tmp_path, "epochs").num_rows == 1


def test_a_directory_that_is_swapped_while_it_is_listed_is_listed_again(tmp_path, monkeypatch):
    """A reader that has opened the old directory may find it emptied already."""
    tables.write(tmp_path, "epochs", "t1", [ROW])
    folder = tmp_path / "tables" / "epochs"

    def swap_first(self, pattern):
        monkeypatch.undo()
        folder.rename(tmp_path / "old")
        tables.write(tmp_path, "epochs", "t2", [ROW])
        return iter([])

    monkeypatch.setattr(Path, "glob", swap_first)
    assert [path.name for path in tables.files(tmp_path, "epochs")] == ["t2.parquet"]


def test_a_table_that_is_swapped_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    tables.write(tmp_path, "epochs", "t1", [ROW])
    dataset = tables.ds.dataset

    def swap_first(*arguments, **keywords):
        monkeypatch.undo()
        (tmp_path / "tables" / "epochs" / "t1.parquet").rename(tmp_path / "tables" / "epochs" / "t2.parquet")
        return dataset(*arguments, **keywords)

    monkeypatch.setattr(tables.ds, "dataset", swap_first)
    assert tables.read(tmp_path, "epochs").num_rows == 1


def test_a_file_that_is_listed_and_gone_is_an_error(tmp_path):
    tables.write(tmp_path, "epochs", "t1", [ROW])
    (tmp_path / "tables" / "epochs" / "t2.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        tables.read(tmp_path, "epochs")


def _write_compacted(results: Path, keys: list[str]) -> None:
    """A file as compact.py writes it, with a row for each key."""
    arrow = tables.to_arrow("epochs", [{**ROW, "trial_id": key} for key in keys])
    folder = results / "tables" / "epochs"
    folder.mkdir(parents=True)
    metadata = {**arrow.schema.metadata, "kdsweep.keys": json.dumps(keys)}
    pq.write_table(arrow.replace_schema_metadata(metadata), folder / "compacted-000001.parquet")


def _name(handle: int) -> str:
    name = os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))
    return "part" if name.endswith(".part") else name
