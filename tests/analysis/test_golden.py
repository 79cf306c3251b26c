"""Schema version 1, as it was written once, is read by this version: every table, by every tool, with its board."""

from __future__ import annotations

import json
import shutil

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import tables
from analysis.check import check
from analysis.compact import compact
from tests.analysis.make_golden import GOLDEN, make_golden, read_answers

ROWS = {"studies": 1, "trials": 15, "epochs": 31, "evals": 8, "test_curves": 12, "teachers": 2, "environments": 1}


@pytest.fixture
def golden(tmp_path):
    """A copy that may be written to."""
    return shutil.copytree(GOLDEN, tmp_path / "golden")


def test_it_is_small_and_holds_compacted_and_single_files():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 60_000
    for table in ("trials", "epochs", "evals", "test_curves"):
        assert [path.stem for path in tables.files(GOLDEN, table)] == ["compacted-000001", "t15"]


def test_every_table_is_read_whole_with_its_schema_and_its_keys():
    for table, count in ROWS.items():
        found = tables.read(GOLDEN, table)
        assert (found.num_rows, found.schema) == (count, tables.schema(table))
        assert len(tables.keys(GOLDEN, table)) == {"epochs": 15, "evals": 4, "test_curves": 4}.get(table, count)
        for path in tables.files(GOLDEN, table):
            assert tables.schema(table).metadata.items() <= pq.read_schema(path).metadata.items()


def test_every_column_holds_a_value_somewhere():
    for table in ROWS:
        found = tables.read(GOLDEN, table)
        assert [name for name in found.schema.names if found[name].null_count == found.num_rows] == []


def test_nothing_is_wrong_with_it():
    assert check(GOLDEN, finished=True).rows == ()


def test_its_board_and_the_answers_to_questions_are_what_they_were():
    expected = json.loads((GOLDEN / "answers.json").read_text(encoding="utf-8"))
    assert _round(read_answers(GOLDEN)) == _round(expected)


def test_the_board_is_what_the_typed_out_values_come_to():
    """kd gains 0.05 of the 0.09 between the plain student and its teacher."""
    board = json.loads((GOLDEN / "answers.json").read_text(encoding="utf-8"))["board"]
    plain, kd = board["pairs"]
    assert (plain["method"], kd["method"]) == ("ce", "kd, γ=1")
    assert plain["test_top1_mean"] == pytest.approx(0.81)
    assert kd["test_top1_mean"] == pytest.approx(0.86)
    assert kd["gain"] == pytest.approx(0.05)
    assert kd["teacher_top1"] == 0.90
    assert board["over_pairs"][1]["gap_closed_pooled"] == pytest.approx(5 / 9)
    assert (kd["trials"], kd["epochs"]) == (5, 8)


@pytest.mark.parametrize("table", ROWS)
def test_other_tools_read_it(table):
    folder = GOLDEN / "tables" / table
    expected = sorted(map(str, tables.read(GOLDEN, table)[tables.KEYS[table][0]].to_pylist()))
    with duckdb.connect() as connection:
        by_duckdb = connection.sql(f"FROM '{folder}/*.parquet'").to_arrow_table().to_pandas()
    polars, arrow = pl.read_parquet(folder).to_pandas(), pq.read_table(folder).to_pandas()
    for frame in (by_duckdb, pd.read_parquet(folder), polars, arrow):
        assert list(frame.columns) == tables.schema(table).names
        assert sorted(frame[tables.KEYS[table][0]]) == expected


def test_its_texts_times_and_maps_come_back_as_they_were():
    results = analysis.open(GOLDEN)
    failed = results.trials().query("status == 'failed'")
    assert set(failed["error_text"]) == {"größer als 1\nzweite Zeile, \"漢\""}
    first = results.epochs().query("trial_id == 't1'").iloc[1]
    assert first["terms"] == {"label": 0.5, "γ": None}
    assert str(first["ended_at"]) == "2026-01-02 03:04:07.678901+00:00"


def test_it_can_be_compacted_on(golden):
    before = read_answers(golden)
    compact(golden)
    assert [path.name for path in tables.files(golden, "trials")] == ["compacted-000002.parquet"]
    assert read_answers(golden) == before


def test_what_wrote_it_still_writes_the_same_rows(tmp_path):
    """Until there is a version 2: then this test goes, and the golden study stays."""
    again = make_golden(tmp_path)
    for table in ROWS:
        assert sorted(tables.read(again, table).to_pylist(), key=str) == sorted(
            tables.read(GOLDEN, table).to_pylist(), key=str)


def _round(value):
    """Without the last digits, which another scipy may compute otherwise."""
    if isinstance(value, dict):
        return {name: _round(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_round(part) for part in value]
    return round(value, 12) if isinstance(value, float) else value
