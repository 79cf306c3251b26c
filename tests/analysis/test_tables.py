"""Schemas are what the design says, and a row on disk is whole, once, or not there."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import tables

# Version 1, typed out: a change here is a new schema version.
COLUMNS = {
    "studies": (
        "study_id string, name string, created_at timestamp, schema_version int64, config_json string, "
        "config_hash string, objective string, selection_split string, epoch_rule string, seed int64, "
        "code_version string, code_dirty bool"
    ),
    "trials": (
        "study_id string, trial_id string, number int64, stage string, arm_id string, setting_id string, data string, "
        "teacher string, teacher_id string, student string, method string, method_label string, seed int64, "
        "train_on string, immune bool, status string, rung int64, epochs_planned int64, epochs_done int64, "
        "val_top1 float64, val_epoch int64, test_top1 float64, lr float64, weight_decay float64, temperature float64, "
        "weight float64, gamma float64, smoothing float64, power float64, settings_json string, jobs int64, "
        "retries int64, teacher_pass string, deterministic bool, wall_seconds float64, device_seconds float64, "
        "cpu_seconds float64, peak_bytes int64, student_params int64, deployed_params int64, student_macs int64, "
        "started_at timestamp, ended_at timestamp, environment_id string, config_hash string, checkpoint string, "
        "error_type string, error_text string"
    ),
    "epochs": (
        "study_id string, trial_id string, epoch int64, job int64, lr float64, loss_total float64, loss_label float64, "
        "loss_method float64, terms map, train_top1 float64, val_top1 float64, val_top5 float64, val_nll float64, "
        "val_ece float64, val_agreement float64, num_images int64, epoch_seconds float64, device_seconds float64, "
        "ended_at timestamp"
    ),
    "evals": (
        "study_id string, trial_id string, split string, epoch int64, epoch_rule string, top1 float64, top5 float64, "
        "nll float64, ece float64, agreement float64, num_images int64"
    ),
    "teachers": (
        "teacher_id string, data string, model string, source string, weights_hash string, params int64, macs int64, "
        "val_top1 float64, test_top1 float64, published_top1 float64, saw_validation bool, recipe_json string"
    ),
    "environments": (
        "environment_id string, host string, os string, python string, torch string, cuda string, driver string, "
        "gpu string, gpu_count int64, cpu string, num_threads int64, packages_json string, ray string"
    ),
}
ARROW = {
    "string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"), "map": pa.map_(pa.string(), pa.float64()),
}
ROW = {"study_id": "s1", "trial_id": "t1", "epoch": 1}


def test_the_schema_of_version_1_is_exactly_this():
    assert tables.SCHEMA_VERSION == 1
    assert list(tables.TABLES) == list(COLUMNS)
    for table, columns in COLUMNS.items():
        expected = [pa.field(name, ARROW[kind]) for name, kind in (c.split() for c in columns.split(", "))]
        assert list(tables.schema(table)) == expected


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


@pytest.mark.parametrize("key", ["", "../t1", "a/b", ".t1", "_t1", "t 1"])
def test_a_key_that_cannot_name_a_file_is_refused_before_anything_is_written(tmp_path, key):
    with pytest.raises(ValueError, match="cannot name a file"):
        tables.write(tmp_path, "epochs", key, [ROW])
    assert os.listdir(tmp_path) == []


def _name(handle: int) -> str:
    name = os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))
    return "part" if name.endswith(".part") else name
