"""Getting a data set: sources in order, everything checked, nothing half written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdtrain.arrays import read_arrays, write_arrays
from kdtrain.data import cifar10, fashion_mnist, mnist
from kdtrain.download import Source, check_data, get_data, hash_splits, list_obtainable, obtain
from kdtrain.images import Split
from tests.kdtrain.batches import make_info
from tests.kdtrain.data_files import WRITERS

TRAIN = Split(torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2), torch.tensor([7, 1]))
TEST = Split(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), torch.tensor([9]))


def _make_data(*sources: Source, sha256: str | None = None) -> SimpleNamespace:
    """A data set of two images to train on and one to test, in one file."""
    return SimpleNamespace(
        INFO=replace(make_info(10), num_train=2, num_test=1, needs="ROOT/small.npz"),
        SOURCES=sources,
        SHA256=hash_splits(TRAIN, TEST) if sha256 is None else sha256,
        load=lambda root, download: read_arrays(Path(root) / "small.npz"),
    )


def _write(root: Path, train: Split = TRAIN) -> None:
    write_arrays(root / "small.npz", train, TEST)


def _fail(root: Path) -> None:
    (root / "small.npz").write_bytes(b"half of it")
    raise OSError("the network is gone\nand more")


def _obtain(root: Path, data: SimpleNamespace) -> list[str]:
    said: list[str] = []
    obtain(data, "small", root, say=said.append)
    return said


def test_the_checksum_is_of_each_label_and_then_its_planes():
    bytes_in_order = bytes([7, *range(12), 1, *range(12, 24), 9, *[255] * 12])
    assert hash_splits(TRAIN, TEST) == hashlib.sha256(bytes_in_order).hexdigest()


def test_arrays_come_back_as_they_were_written(tmp_path):
    _write(tmp_path)
    train, test = read_arrays(tmp_path / "small.npz")
    assert torch.equal(train.image_NCHW, TRAIN.image_NCHW)
    assert train.label_N.tolist() == [7, 1]
    assert test.label_N.dtype == torch.int64


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells of its mappings on Linux only")
def test_images_are_mapped_and_who_writes_to_them_changes_no_file(tmp_path):
    _write(tmp_path)
    train, _ = read_arrays(tmp_path / "small.npz")
    assert str(tmp_path / "small.npz") in Path("/proc/self/maps").read_text()
    train.image_NCHW.zero_()
    assert torch.equal(read_arrays(tmp_path / "small.npz")[0].image_NCHW, TRAIN.image_NCHW)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_file_of_arrays_that_is_none_is_one_sentence_and_a_hint(tmp_path, content):
    (tmp_path / "small.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"small\.npz: cannot be read: .*\n\nhint: remove it"):
        read_arrays(tmp_path / "small.npz")


def test_a_cut_or_altered_file_of_arrays_is_refused(tmp_path):
    _write(tmp_path)
    file = tmp_path / "small.npz"
    content = bytearray(file.read_bytes())
    file.write_bytes(content[:-30])
    with pytest.raises(ValueError, match="cannot be read"):
        read_arrays(file)
    content[content.index(bytes(range(24)))] ^= 1  # a pixel
    file.write_bytes(content)
    with pytest.raises(ValueError, match="CRC"):
        read_arrays(file)


def test_compressed_arrays_are_refused(tmp_path):
    _write(tmp_path)
    with np.load(tmp_path / "small.npz") as arrays:
        np.savez_compressed(tmp_path / "small.npz", **arrays)
    with pytest.raises(ValueError, match=r"cannot be read: .*compressed.*\n\nhint: remove it"):
        read_arrays(tmp_path / "small.npz")


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "small.npz", train_image=np.array([os.system], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"cannot be read: .*pickle"):
        read_arrays(tmp_path / "small.npz")


def test_the_first_source_that_has_it_is_taken(tmp_path):
    never = Source("never asked", lambda root: pytest.fail("asked"))
    said = _obtain(tmp_path, _make_data(Source("a", _fail), Source("b", _write), never))
    assert said == [
        "small: trying a",
        "small: not from a: the network is gone and more",
        "small: trying b",
        f"small: 2 images to train on and 1 to test, checksums as expected, in {tmp_path}/small.npz",
    ]
    assert sorted(os.listdir(tmp_path)) == ["small.npz"]


def test_where_no_source_has_it_nothing_is_left_behind(tmp_path):
    with pytest.raises(ValueError, match=r"^data set small: none of its 2 sources gives it\n\nhint: made up"):
        _obtain(tmp_path, _make_data(Source("a", _fail), Source("b", _fail)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("train", "says"), [
    (Split(TRAIN.image_NCHW.flip(0), TRAIN.label_N), "other pixels or labels: SHA-256 "),
    (Split(TRAIN.image_NCHW, TRAIN.label_N.flip(0)), "other pixels or labels: SHA-256 "),
    (Split(TRAIN.image_NCHW[:1], TRAIN.label_N[:1]), "1 images to train on and 1 to test, not 2 and 1"),
])
def test_what_is_not_the_data_set_is_not_taken(tmp_path, train, says):
    said: list[str] = []
    with pytest.raises(ValueError, match="none of its 1 sources"):
        obtain(_make_data(Source("a", lambda root: _write(root, train))), "small", tmp_path, say=said.append)
    assert said[1].startswith(f"small: not from a: {says}")
    assert os.listdir(tmp_path) == []


def test_what_is_there_already_is_not_got_again(tmp_path):
    _write(tmp_path)
    data = _make_data(Source("never asked", lambda root: pytest.fail("asked")))
    assert _obtain(tmp_path, data) == [f"small is there already: {tmp_path}"]


def test_something_else_in_its_place_is_left_alone(tmp_path):
    _write(tmp_path, Split(TRAIN.image_NCHW.flip(0), TRAIN.label_N))
    before = (tmp_path / "small.npz").read_bytes()
    with pytest.raises(ValueError, match=r"^data set small: something else is in .*\n\nhint: move it away"):
        _obtain(tmp_path, _make_data(Source("a", _write)))
    assert (tmp_path / "small.npz").read_bytes() == before


def test_a_broken_file_in_its_place_is_not_overwritten(tmp_path):
    (tmp_path / "small.npz").write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"small\.npz is there but cannot be read\n\nhint: move it away"):
        _obtain(tmp_path, _make_data(Source("a", _write)))
    assert os.listdir(tmp_path) == ["small.npz"]


def test_a_data_set_that_compares_checksums_itself_needs_no_other(tmp_path):
    data = _make_data(Source("a", _write))
    data.SHA256 = None
    assert len(_obtain(tmp_path, data)) == 2
    check_data(data, tmp_path)


def test_digits_need_nothing_and_imagenet_cannot_be_got(tmp_path):
    said: list[str] = []
    get_data("digits", tmp_path, say=said.append)
    assert said[0].startswith("digits needs nothing: UCI ")
    with pytest.raises(ValueError, match=r"^data set imagenet cannot be got by this command\n\nhint: ImageNet, "):
        get_data("imagenet", tmp_path, say=said.append)
    assert list_obtainable() == ["cifar10", "cifar100", "digits", "fashion_mnist", "mnist", "svhn"]


@pytest.mark.parametrize("data", [cifar10, fashion_mnist, mnist])
def test_a_miniature_in_the_real_format_is_not_the_real_one(data, tmp_path, monkeypatch):
    WRITERS[data.__name__.rpartition(".")[2]](tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"^400 images to train on and 200 to test, not [56]0000 and 10000"):
        check_data(data, tmp_path)
