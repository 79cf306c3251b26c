"""Files: whole or not there, data and never code."""

import os
import pickle

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
