"""Trees of image files: the images, labels and order of torchvision's own reader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from kdtrain.config import TrialConfig
from kdtrain.data import imagenet, tiny_imagenet
from kdtrain.images import Files, load_images, load_info
from kdtrain.torchvision_ops import torchvision
from kdtrain.trees import list_classes, read_tree
from tests.kdtrain.data_files import write_folder, write_imagenet, write_tiny_imagenet


def _locate_all(files: Files) -> list[str]:
    return [str(files.locate(position)) for position in range(len(files))]


def _read_by_torchvision(folder: Path) -> tuple[list[str], list[int]]:
    found = torchvision.datasets.ImageFolder(str(folder))
    return [path for path, _ in found.samples], found.targets


def test_a_tree_is_read_in_the_order_of_torchvision_s_image_folder(tmp_path, monkeypatch):
    write_imagenet(tmp_path, monkeypatch)
    for part, split in zip(("train", "val"), imagenet.load(str(tmp_path), download=False), strict=True):
        paths, labels = _read_by_torchvision(tmp_path / "imagenet" / part)
        assert _locate_all(split) == paths
        assert split.label_N.tolist() == labels


def test_folders_within_a_class_are_read_too_and_other_files_are_not(tmp_path):
    for name in ("b/1.jpg", "a/deep/2.JPEG", "a/3.png", "a/boxes.txt", "a/._3.png", ".cache/4.jpg", "README.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    files = read_tree(tmp_path, ["a", "b"])
    assert files.path_N.tolist() == [b"a/3.png", b"a/deep/2.JPEG", b"b/1.jpg"]
    assert files.label_N.tolist() == [0, 0, 1]


def test_file_names_of_any_bytes_are_found_again(tmp_path):
    odd = os.fsencode(tmp_path) + b"/a/\xff\xc3\xa4 .jpg"
    (tmp_path / "a").mkdir()
    with open(odd, "wb") as file:
        file.write(b"x")
    assert read_tree(tmp_path, ["a"]).locate(0).read_bytes() == b"x"


def test_taking_positions_takes_paths_and_labels_together(tmp_path, monkeypatch):
    write_folder(tmp_path, monkeypatch)
    files = read_tree(tmp_path / "pets/train", ["cat", "dog", "owl"])
    some = files.take(torch.tensor([20, 3]))
    assert _locate_all(some) == [_locate_all(files)[20], _locate_all(files)[3]]
    assert some.label_N.tolist() == [2, 0]
    assert some.to(torch.device("cpu")) is some


def test_tiny_imagenet_s_val_images_have_the_classes_of_their_annotations(tmp_path, monkeypatch):
    write_tiny_imagenet(tmp_path, monkeypatch)
    train, test = tiny_imagenet.load(str(tmp_path), download=False)
    assert (len(train), len(test)) == (600, 200)
    assert train.path_N[3] == b"n00000001/images/n00000001_0.JPEG"
    assert test.path_N[1] == b"val_1.JPEG"
    assert test.label_N[:3].tolist() == [199, 198, 197]
    assert test.locate(1).exists()


def test_an_annotation_of_an_unknown_class_is_refused(tmp_path, monkeypatch):
    write_tiny_imagenet(tmp_path, monkeypatch)
    file = tmp_path / "tiny-imagenet-200/val/val_annotations.txt"
    file.write_text(file.read_text().replace("n00000007", "n99999999"))
    with pytest.raises(ValueError, match=r"val_annotations\.txt: n99999999 is no class of the train images\n\nhint: "):
        tiny_imagenet.load(str(tmp_path), download=False)


@pytest.mark.parametrize(("change", "says"), [
    (lambda root: (root / "train/n00000999").rename(root / "n"), r"imagenet/train: 999 classes, not 1000\n\nhint: "),
    (lambda root: (root / "val/n00000999").rename(root / "val/other"), r"imagenet/val: 1000 classes, not 1000: "),
    (lambda root: (root / "val/n00000999").rename(root / "n"), r"imagenet/val: 999 classes, not 1000: n00000999"),
    (lambda root: (root / "val").rename(root / "validation"), r"no folder \S+imagenet/val\n\nhint: "),
    (lambda root: next((root / "val/n00000005").iterdir()).unlink(), r"no image in \S+/val/n00000005\n\nhint: "),
])
def test_a_tree_that_is_not_whole_is_one_sentence_and_a_hint(tmp_path, monkeypatch, change, says):
    write_imagenet(tmp_path, monkeypatch)
    change(tmp_path / "imagenet")
    with pytest.raises(ValueError, match=rf"^data set imagenet: cannot be read from {tmp_path}: .*{says}"):
        imagenet.load(str(tmp_path), download=False)


def test_images_that_are_not_sorted_into_classes_are_no_tree(tmp_path):
    (tmp_path / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^no folder of a class in {tmp_path}$"):
        list_classes(tmp_path)


def test_a_folder_is_described_by_what_is_in_it(tmp_path, monkeypatch):
    write_folder(tmp_path, monkeypatch)
    for name, root in (("folder/pets", str(tmp_path)), (f"folder/{tmp_path}/pets", None)):
        info = load_info(name, root)
        assert (info.num_classes, info.num_train, info.num_test, info.validation) == (3, 24, 12, 3)
        assert (info.size, info.channels, info.augment) == ((224, 224), 3, "resized_crop_flip")
        assert info.needs.startswith(f"{tmp_path}/pets/train/<class>/*.jpg, ")


def test_a_folder_s_root_may_come_from_the_environment(tmp_path, monkeypatch):
    write_folder(tmp_path, monkeypatch)
    monkeypatch.setenv("KDSWEEP_DATA", str(tmp_path))
    assert load_info("folder/pets").num_train == 24


def test_a_folder_is_tested_on_test_else_on_val(tmp_path, monkeypatch):
    write_folder(tmp_path, monkeypatch)
    os.rename(tmp_path / "pets/test", tmp_path / "pets/val")
    assert load_info("folder/pets", str(tmp_path)).num_test == 12


@pytest.mark.parametrize(("name", "says"), [
    ("folder/cats", r"no folder \S+/cats/train\n\nhint: .* Folder, \S+/cats: \S+/cats/train/<class>/\*\.jpg, "),
    ("folder/", r"no folder \S+/train\n\nhint: "),
    ("folder/pets/train", r"no folder \S+/pets/train/train\n\nhint: "),
])
def test_a_folder_that_is_not_there_says_what_was_expected_where(tmp_path, monkeypatch, name, says):
    write_folder(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=rf"^data set {name}: cannot be read from {tmp_path}\S*: {says}"):
        load_info(name, str(tmp_path))


def test_cuts_of_files_are_cuts_of_the_same_files(tmp_path, monkeypatch):
    write_folder(tmp_path, monkeypatch)
    config = {"data": "folder/pets", "student": "resnet8", "data_root": str(tmp_path)}
    whole, cut = (load_images(TrialConfig(validation=number, **config)) for number in (0, 6))
    assert len(cut.train) == 18
    assert cut.val.label_N.tolist() == [0, 0, 1, 1, 2, 2]
    assert sorted([*_locate_all(cut.train), *_locate_all(cut.val)]) == sorted(_locate_all(whole.train))
    assert _locate_all(cut.train) == [_locate_all(whole.train)[index] for index in cut.train_index_N]


def test_the_size_that_networks_see_is_the_trial_s(tmp_path, monkeypatch):
    write_folder(tmp_path, monkeypatch)
    config = TrialConfig(data="folder/pets", student="resnet8", data_root=str(tmp_path), image_size=48)
    assert load_images(config).info.size == (48, 48)
