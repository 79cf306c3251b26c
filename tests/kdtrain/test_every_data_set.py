"""The law that every file of kdtrain/data obeys. A set without a miniature is read from the real files, if any."""

from __future__ import annotations

import os

import pytest
import torch

from kdtrain.images import list_data, load_info
from kdtrain.names import load_named
from tests.kdtrain.data_files import WRITERS

NEEDS_NO_FILES = {"digits"}
every_data_set = pytest.mark.parametrize("name", list_data())


@pytest.fixture
def root(name, tmp_path, monkeypatch) -> str | None:
    """A folder where the data set lies, in miniature if it can be."""
    if name in NEEDS_NO_FILES:
        return None
    if name in WRITERS:
        WRITERS[name](tmp_path, monkeypatch)
        return str(tmp_path)
    return os.environ.get("KDSWEEP_DATA") or pytest.skip(f"no miniature of {name}, and KDSWEEP_DATA is not set")


def _load(name: str, root: str | None):
    return load_named("data set", name, room="kdtrain.data").load(root, download=False)


@every_data_set
def test_its_description_agrees_with_itself(name):
    info = load_info(name)
    assert info.num_classes >= 2
    assert len(info.mean) == len(info.std) == info.channels
    assert all(0 < mean < 1 for mean in info.mean)
    assert all(0 < std < 1 for std in info.std)
    assert info.num_classes <= info.validation < info.num_train
    assert info.num_test > 0
    assert info.augment in {"none", "crop", "crop_flip"}
    assert 2 * info.padding < min(info.size)
    assert (info.padding > 0) == (info.augment != "none")
    assert info.source


@every_data_set
def test_images_are_bytes_of_the_described_shape(name, root):
    info = load_info(name)
    for split in _load(name, root):
        assert split.image_NCHW.dtype == torch.uint8
        assert split.image_NCHW.shape == (len(split), info.channels, *info.size)
        assert split.image_NCHW.is_contiguous()
        assert split.image_NCHW.float().std() > 0


@every_data_set
def test_labels_are_all_the_classes(name, root):
    info = load_info(name)
    for split in _load(name, root):
        assert split.label_N.dtype == torch.int64
        assert split.label_N.shape == (len(split),)
        assert split.label_N.unique().tolist() == list(range(info.num_classes))


@every_data_set
def test_it_is_the_same_every_time(name, root):
    for first, second in zip(_load(name, root), _load(name, root), strict=True):
        assert torch.equal(first.image_NCHW, second.image_NCHW)
        assert torch.equal(first.label_N, second.label_N)


@pytest.mark.parametrize("name", sorted(set(list_data()) - NEEDS_NO_FILES))
def test_missing_files_are_one_sentence_and_a_hint(name, tmp_path):
    says = rf"^data set \w+: cannot be read from {tmp_path}: .*\n\nhint: set .* ROOT that holds it\. \S+, "
    with pytest.raises(ValueError, match=says):
        _load(name, str(tmp_path))


@pytest.mark.parametrize("name", sorted(set(list_data()) - NEEDS_NO_FILES))
def test_no_folder_is_one_sentence_and_a_hint(name):
    says = r"^data set \w+: no folder is given\n\nhint: set .* ROOT that holds it\. \S+, "
    with pytest.raises(ValueError, match=says):
        _load(name, None)
