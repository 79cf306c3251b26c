"""What is read from disk is what lies there, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from kdtrain.arrays import write_arrays
from kdtrain.data import cifar10, cifar100, digits, fashion_mnist, mnist, svhn
from kdtrain.images import find_data
from kdtrain.torchvision_data import read_both
from kdtrain.torchvision_ops import torchvision
from tests.kdtrain.data_files import NUM_TEST, NUM_TRAIN, WRITERS, draw_images

MNIST = torchvision.datasets.MNIST


@pytest.mark.parametrize(("data", "name"), [(mnist, "mnist"), (fashion_mnist, "fashion_mnist")])
def test_idx_files_are_read_row_by_row(data, name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    train, test = data.load(str(tmp_path), download=False)
    assert torch.equal(train.image_NCHW, torch.from_numpy(draw_images(NUM_TRAIN, 28, 28))[:, None])
    assert torch.equal(test.image_NCHW, torch.from_numpy(draw_images(NUM_TEST, 28, 28))[:, None])
    assert train.label_N[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize(("data", "name"), [(cifar10, "cifar10"), (cifar100, "cifar100")])
def test_cifar_is_read_plane_by_plane(data, name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    train, test = data.load(str(tmp_path), download=False)
    # on disk a row is the red plane, then the green, then the blue, each row by row
    assert torch.equal(train.image_NCHW.flatten(1), torch.from_numpy(draw_images(NUM_TRAIN, 3072)))
    assert torch.equal(test.image_NCHW.flatten(1), torch.from_numpy(draw_images(NUM_TEST, 3072)))
    assert train.label_N[:12].tolist() == [number % data.INFO.num_classes for number in range(12)]


def test_svhn_is_read_pixel_by_pixel_and_its_digit_0_is_label_0(tmp_path, monkeypatch):
    WRITERS["svhn"](tmp_path, monkeypatch)
    train, test = svhn.load(str(tmp_path), download=False)
    assert torch.equal(train.image_NCHW, torch.from_numpy(draw_images(NUM_TRAIN, 32, 32, 3)).permute(0, 3, 1, 2))
    assert torch.equal(test.image_NCHW, torch.from_numpy(draw_images(NUM_TEST, 32, 32, 3)).permute(0, 3, 1, 2))
    assert train.label_N[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_an_altered_svhn_file_is_refused(tmp_path, monkeypatch):
    WRITERS["svhn"](tmp_path, monkeypatch)
    file = tmp_path / "svhn/test_32x32.mat"
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(ValueError, match=r"^data set SVHN: cannot be read from .*: its files are not there or"):
        svhn.load(str(tmp_path), download=False)


def test_cifar10_in_one_file_of_arrays_comes_first(tmp_path, monkeypatch):
    WRITERS["cifar10"](tmp_path, monkeypatch)
    train, test = cifar10.load(str(tmp_path), download=False)
    write_arrays(tmp_path / "cifar10.npz", test, train)
    found, _ = cifar10.load(str(tmp_path), download=False)
    assert torch.equal(found.image_NCHW, test.image_NCHW)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_altered_cifar_file_is_refused(name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    data = {"cifar10": cifar10, "cifar100": cifar100}[name]
    altered = next(tmp_path.glob("*/test*"))
    altered.write_bytes(altered.read_bytes() + b"!")
    with pytest.raises(ValueError, match=r": its files are not there or not whole\n"):
        data.load(str(tmp_path), download=False)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "mnist", "svhn"])
def test_missing_files_are_told_of_in_the_words_of_a_study_and_not_of_torchvision(name, tmp_path):
    with pytest.raises(ValueError, match=r"^data set") as error:
        find_data(name, str(tmp_path)).load(str(tmp_path), download=False)
    sentence, _, hint = str(error.value).partition("\n\nhint: ")
    assert sentence.endswith(f": cannot be read from {tmp_path}: its files are not there or not whole")
    assert hint.endswith("; or write data: {download: true}, which gets it when a study runs")
    assert "download=True" not in str(error.value)


def test_files_that_are_not_whole_after_a_download_are_not_offered_for_download_again(tmp_path):
    def open_part(root, train, download):
        raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")

    with pytest.raises(ValueError, match=r"its files are not there or not whole\n\nhint: .*Made up$"):
        read_both("MNIST", source="Made up", root=str(tmp_path), download=True, open_part=open_part)


def test_another_failure_is_told_as_it_is(tmp_path):
    def open_part(root, train, download):
        raise OSError("no route to host")

    with pytest.raises(ValueError, match=r"^data set MNIST: cannot be read from /.*: no route to host\n\nhint:"):
        read_both("MNIST", source="Made up", root=str(tmp_path), download=True, open_part=open_part)


def test_a_truncated_fashion_mnist_file_is_refused(tmp_path, monkeypatch):
    WRITERS["fashion_mnist"](tmp_path, monkeypatch)
    file = tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"^data set FashionMNIST: cannot be read from"):
        fashion_mnist.load(str(tmp_path), download=False)


def test_digits_keep_their_seventeen_grey_levels_apart():
    train, test = digits.load(None, download=False)
    levels = torch.cat([train.image_NCHW, test.image_NCHW]).unique().tolist()
    assert levels == [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]


def test_digits_are_cut_into_700_and_1097_by_class():
    train, test = digits.load(None, download=False)
    assert train.label_N.bincount().tolist() == [69, 71, 69, 71, 71, 71, 70, 70, 68, 70]
    assert test.label_N.bincount().tolist() == [109, 111, 108, 112, 110, 111, 111, 109, 106, 110]


def test_the_mean_and_deviation_of_digits_are_those_of_the_images_that_may_be_trained_on():
    pixels = digits.load(None, download=False)[0].image_NCHW.double() / 255
    assert pixels.mean().item() == pytest.approx(digits.INFO.mean[0], abs=5e-5)
    assert pixels.std(correction=0).item() == pytest.approx(digits.INFO.std[0], abs=5e-5)
