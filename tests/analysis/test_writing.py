"""Where a file cannot be written a sentence says so, and nothing is left behind."""

from __future__ import annotations

import os

import pytest

import analysis
from analysis.export import export
from analysis.writing import write_whole


@pytest.mark.parametrize(("place", "what"), [
    ("folder", "folder: is a directory"), ("gone/new.txt", "gone: no such directory"),
    ("file/new.txt", "file: no such directory"),
])
def test_a_file_goes_into_a_directory_that_is_there(place, what, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"{what}\n\nhint: "):
        write_whole(tmp_path / place, "text")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_directory_that_is_read_only_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.writing.os.access", lambda folder, mode: False)   # root may write everywhere
    with pytest.raises(ValueError, match=f"{tmp_path}: may not be written to\n\nhint: "):
        write_whole(tmp_path / "new.txt", "text")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["csv", "parquet", "duckdb", "latex"])
def test_an_export_below_a_file_is_refused(kind, tmp_path, finished_study):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: no such directory\n\nhint: "):
        export(analysis.open(finished_study), **{kind: tmp_path / "file" / "x"})
    assert os.listdir(tmp_path) == ["file"]
