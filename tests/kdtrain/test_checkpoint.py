"""Files: whole or not there, data and never code."""

import os
import pickle
import threading

import pytest
import torch

from kdtrain import checkpoint


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/kdsweep-was-here",)


def test_what_is_saved_comes_back(tmp_path):
    state = {"trial_id": "t1", "weights": torch.arange(3.0), "rows": [{"terms": {"label": 0.5}, "val_top1": None}]}
    checkpoint.save(tmp_path / "c.pt", state)
    found = checkpoint.load(tmp_path / "c.pt", trial_id="t1")
    assert found["weights"].tolist() == [0, 1, 2]
    assert found["rows"] == state["rows"]
    assert os.listdir(tmp_path) == ["c.pt"]


def test_a_save_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "c.pt", {"epoch": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(tmp_path / "c.pt", {"epoch": 2})
    assert checkpoint.load(tmp_path / "c.pt")["epoch"] == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 torn"])
def test_a_torn_file_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.pt: not a checkpoint"):
        checkpoint.load(tmp_path / "c.pt")


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Evil()))
    torch.save(_Evil(), tmp_path / "zip.pt")
    for name in ("plain.pt", "zip.pt"):
        with pytest.raises(ValueError, match="not a checkpoint"):
            checkpoint.load(tmp_path / name)
    assert not os.path.exists("/tmp/kdsweep-was-here")


def test_what_changes_while_it_is_written_is_written_as_it_was(tmp_path, monkeypatch):
    begun, changed, save = threading.Event(), threading.Event(), checkpoint.save

    def save_slowly(path, state):
        begun.set()
        assert changed.wait(timeout=30)
        save(path, state)

    monkeypatch.setattr(checkpoint, "save", save_slowly)
    state = {"weights": torch.arange(3.0), "rows": [{"terms": {"label": 0.5}}], "best": {}}
    writer = checkpoint.Writer()
    writer.begin(tmp_path / "c.pt", state)
    assert begun.wait(timeout=30)
    assert writer.is_writing
    state["weights"].zero_()
    state["rows"][0]["terms"]["label"] = 7.0
    state["rows"].append({})
    changed.set()
    writer.finish()
    assert not writer.is_writing
    found = checkpoint.load(tmp_path / "c.pt")
    assert found["weights"].tolist() == [0, 1, 2]
    assert found["rows"] == [{"terms": {"label": 0.5}}]


def test_what_a_writer_met_is_raised_where_the_next_one_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    writer = checkpoint.Writer()
    writer.begin(tmp_path / "c.pt", {"epoch": 1})
    with pytest.raises(OSError, match="no space left"):
        writer.begin(tmp_path / "c.pt", {"epoch": 2})
    assert not writer.is_writing
    writer.finish()
    writer.close()


def test_numbers_of_a_history_come_back_to_the_bit_and_so_does_what_is_no_number(tmp_path):
    rows = [{"loss_total": 1 / 3, "val_top1": None}, {"loss_total": float("nan"), "terms": {"label": float("inf")}}]
    checkpoint.save(tmp_path / "c.pt", {"rows": rows, "test_curve": []})
    found = checkpoint.load(tmp_path / "c.pt")
    assert repr(found) == repr({"rows": rows, "test_curve": []})


def test_a_checkpoint_of_before_histories_were_texts_is_read(tmp_path):
    torch.save({"trial_id": "t1", "rows": [{"epoch": 1}]}, tmp_path / "c.pt")
    assert checkpoint.load(tmp_path / "c.pt", trial_id="t1")["rows"] == [{"epoch": 1}]
