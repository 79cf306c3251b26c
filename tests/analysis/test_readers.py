"""Every table directory is plain Parquet: other tools read it as it lies, all files and all columns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from analysis import tables

EXAMPLES = {
    "string": "x", "int64": 7, "float64": 0.25, "bool": True,
    "timestamp": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "map": {"label": 0.5, "nkd": 1.5},
}


@pytest.fixture(params=list(tables.TABLES))
def table(request) -> str:
    return request.param


@pytest.fixture
def folder(tmp_path, table) -> Path:
    """Three files: all columns full, all but the first null, and all null but of two rows."""
    columns = tables.TABLES[table]
    key = columns[0].name
    tables.write(tmp_path, table, "b", [{c.name: EXAMPLES[c.type] for c in columns}])
    tables.write(tmp_path, table, "a", [{key: "only"}])
    return tables.write(tmp_path, table, "c", [{}, {}]).parent


def test_pandas_reads_the_directory(folder, table):
    _check(pd.read_parquet(folder), table)


def test_pyarrow_reads_the_directory(folder, table):
    read = pq.read_table(folder)
    assert read.schema.equals(tables.schema(table))
    _check(read.to_pandas(), table)


def test_polars_reads_the_directory(folder, table):
    _check(pl.read_parquet(folder).to_pandas(), table)


def test_duckdb_reads_the_directory(folder, table):
    with duckdb.connect() as connection:
        _check(connection.sql(f"FROM '{folder}/*.parquet'").to_arrow_table().to_pandas(), table)


def _check(frame: pd.DataFrame, table: str) -> None:
    """All rows of all files, all columns in order, and the values of the full row."""
    columns = tables.TABLES[table]
    key = columns[0].name
    assert list(frame.columns) == [c.name for c in columns]
    assert sorted(frame[key].fillna("-")) == ["-", "-", "only", "x"]
    full = frame[frame[key] == "x"].iloc[0]
    for column in columns:
        assert _to_python(full[column.name], column.type) == EXAMPLES[column.type], column.name
    rest = frame[frame[key] != "x"].drop(columns=key)
    assert rest.isna().all(axis=None)


def _to_python(value: object, kind: str) -> object:
    """The value as typed above: readers give a map as pairs, as records or as a dict, and a time in their own class."""
    if kind == "map":
        pairs = value.items() if isinstance(value, dict) else value
        return dict(tuple(pair.values()) if isinstance(pair, dict) else tuple(pair) for pair in pairs)
    return value.to_pydatetime() if kind == "timestamp" else value
