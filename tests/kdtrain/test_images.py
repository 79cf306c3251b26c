"""Images are cut into train, validation and test as the trial says, the same way every time."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdtrain.config import TrialConfig
from kdtrain.images import Images, Split, list_data, load_images, load_info, order_by_class
from tests.kdtrain.batches import make_info
from tests.kdtrain.data_files import write_fashion_mnist


def _load(data: str = "digits", **fields) -> Images:
    return load_images(TrialConfig(data=data, student="resnet8", **fields))


def test_data_sets_are_the_files_of_their_folder():
    assert list_data() == [
        "cifar10", "cifar100", "digits", "fashion_mnist", "folder/<path>", "imagenet", "mnist", "svhn", "tiny_imagenet",
    ]


def test_digits_are_300_to_train_on_400_to_select_on_and_1097_to_test_on():
    images = _load(validation=load_info("digits").validation)
    assert (len(images.train), len(images.val), len(images.test)) == (300, 400, 1097)
    assert images.train.label_N.bincount().tolist() == [30, 30, 30, 30, 30, 31, 30, 30, 29, 30]
    assert images.val.label_N.bincount().tolist() == [39, 41, 39, 41, 41, 40, 40, 40, 39, 40]


def test_the_split_of_a_seed_never_changes():
    # written down when the split was made; another value means that earlier results used another split
    assert _load(validation=400, split_seed=0).split_hash == "78e7b46e154736d3"
    assert _load(validation=400, split_seed=1).split_hash == "59a6be85793da3e7"


def test_the_hash_is_that_of_the_held_out_positions():
    images = _load(validation=100)
    held = sorted(set(range(700)) - set(images.train_index_N.tolist()))
    text = json.dumps(held, separators=(",", ":"))
    assert images.split_hash == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_train_and_validation_share_no_image_and_lose_none():
    whole, cut = _load(), _load(validation=200)
    held = sorted(set(range(700)) - set(cut.train_index_N.tolist()))
    assert len(held) == 200
    assert torch.equal(cut.train.image_NCHW, whole.train.image_NCHW[cut.train_index_N])
    assert torch.equal(cut.val.image_NCHW, whole.train.image_NCHW[held])
    assert torch.equal(cut.val.label_N, whole.train.label_N[held])
    assert torch.equal(cut.test.image_NCHW, whole.test.image_NCHW)


def test_without_validation_nothing_is_held_out():
    images = _load()
    assert images.val is None
    assert images.train_index_N.tolist() == list(range(700))


def test_train_and_validation_together_are_everything_and_keep_the_hash_of_their_cut():
    together = _load(validation=200, train_on="train+validation")
    assert together.val is None
    assert together.train_index_N.tolist() == list(range(700))
    assert together.split_hash == _load(validation=200).split_hash


def test_fewer_train_images_are_balanced_and_contained_in_more():
    few, more = _load(validation=200, train_images=50), _load(validation=200, train_images=120)
    assert set(few.train.label_N.bincount(minlength=10).tolist()) <= {4, 5, 6}  # classes of 69 to 71 images
    assert set(few.train_index_N.tolist()) < set(more.train_index_N.tolist())
    assert few.split_hash == more.split_hash


def test_fewer_train_images_together_with_validation():
    together = _load(validation=200, train_images=50, train_on="train+validation")
    assert len(together.train) == 250
    assert set(_load(validation=200, train_images=50).train_index_N.tolist()) < set(together.train_index_N.tolist())


def test_a_data_set_is_read_once_for_all_trials():
    assert _load(validation=100).test.image_NCHW is _load(validation=200).test.image_NCHW


def test_the_folder_comes_from_the_study_or_from_the_environment(tmp_path, monkeypatch):
    write_fashion_mnist(tmp_path, monkeypatch)
    monkeypatch.setenv("KDSWEEP_DATA", str(tmp_path / "elsewhere"))
    assert len(_load("fashion_mnist", data_root=str(tmp_path)).train) == 400
    monkeypatch.setenv("KDSWEEP_DATA", str(tmp_path))
    assert len(_load("fashion_mnist").train) == 400


@pytest.mark.parametrize(("fields", "says"), [
    ({"validation": 700}, "data digits: validation 700 leaves none of 700 images to train on"),
    ({"validation": 5}, "data digits: validation 5 is fewer than one image of each of 10 classes"),
    ({"train_images": 701}, "data digits: train_images 701 is not between 10 and 700"),
    ({"validation": 400, "train_images": 301}, "data digits: train_images 301 is not between 10 and 300"),
    ({"train_images": 9}, "data digits: train_images 9 is not between 10 and 700"),
])
def test_a_cut_that_cannot_be_made_is_one_sentence_and_a_hint(fields, says):
    with pytest.raises(ValueError, match=rf"^{says}\n\nhint: "):
        _load(**fields)


def test_an_unknown_data_set_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"^no data set `cifar_10`\. Did you mean `cifar10`\? Known: cifar10, "):
        _load("cifar_10")


class OwnData:
    """A data set outside kdtrain."""

    INFO = make_info(2)

    @staticmethod
    def load(root: str | None, download: bool) -> tuple[Split, Split]:
        split = Split(torch.zeros(20, 1, 8, 8, dtype=torch.uint8), torch.arange(20) % 2)
        return split, split


def test_a_data_set_of_one_s_own_is_named_by_module_and_object():
    images = _load("tests.kdtrain.test_images:OwnData", validation=4)
    assert images.val.label_N.bincount().tolist() == [2, 2]


@given(st.integers(2, 7), st.integers(1, 9), st.integers(0, 2**32))
def test_every_prefix_of_the_order_holds_equal_classes_equally(num_classes, each, seed):
    label_N = torch.arange(num_classes * each) % num_classes
    order_N = order_by_class(label_N, seed=seed)
    assert sorted(order_N.tolist()) == list(range(len(label_N)))
    for end in range(1, len(order_N) + 1):
        counts = label_N[order_N[:end]].bincount(minlength=num_classes)
        assert counts.max() - counts.min() <= 1


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 100))
def test_every_prefix_of_the_order_holds_unequal_classes_in_proportion(first, second, seed):
    label_N = torch.tensor([0] * first + [1] * second)
    ordered_N = label_N[order_by_class(label_N, seed=seed)]
    for end in range(1, len(label_N) + 1):
        assert abs((ordered_N[:end] == 0).sum().item() - end * first / (first + second)) < 1


def test_a_single_image_of_a_class_comes_in_the_middle():
    # at 1/2 among 1/8, 3/8, 5/8 and 7/8
    label_N = torch.tensor([0, 1, 1, 1, 1])
    assert label_N[order_by_class(label_N, seed=0)].tolist() == [1, 1, 0, 1, 1]


def test_which_images_of_a_class_come_first_is_random():
    label_N = torch.zeros(100, dtype=torch.int64)
    first, second = order_by_class(label_N, seed=0), order_by_class(label_N, seed=1)
    assert not torch.equal(first, second)
    assert first.tolist() != list(range(100))
