"""`kdsweep data get`: steps on stderr, exit code 2 with a hint where nothing can be got. No network is used."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kdtrain.data import mnist
from kdtrain.download import Source
from tests.kdtrain.data_files import write_mnist
from tests.sweeps.cli_runs import run_here


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The miniature as what MNIST should be; its second source has it."""
    def fail(root: Path) -> None:
        raise OSError("no network")

    monkeypatch.setattr(mnist, "INFO", replace(mnist.INFO, num_train=400, num_test=200))
    monkeypatch.setattr(mnist, "SHA256", None)
    sources = (Source("the official files", fail), Source("a mirror", lambda root: write_mnist(root, monkeypatch)))
    monkeypatch.setattr(mnist, "SOURCES", sources)
    return tmp_path / "data"


def test_a_data_set_is_got_from_the_source_that_has_it(capsys, small_mnist: Path):
    ran = run_here(capsys, "data", "get", "mnist", "--root", str(small_mnist))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "mnist: trying the official files",
        "mnist: not from the official files: no network",
        "mnist: trying a mirror",
        f"mnist: 400 images to train on and 200 to test, checksums as expected, in {small_mnist}/MNIST",
    ]
    again = run_here(capsys, "data", "get", "mnist", "--root", str(small_mnist))
    assert (again.code, again.err) == (0, f"mnist is there already: {small_mnist}\n")


def test_the_root_may_come_from_the_environment(capsys, small_mnist: Path, monkeypatch):
    monkeypatch.setenv("KDSWEEP_DATA", str(small_mnist))
    assert run_here(capsys, "data", "get", "mnist").code == 0
    assert os.listdir(small_mnist) == ["MNIST"]


def test_where_no_source_has_it_the_exit_code_is_2_and_a_hint_follows(capsys, small_mnist: Path, monkeypatch):
    monkeypatch.setattr(mnist, "SOURCES", mnist.SOURCES[:1])
    ran = run_here(capsys, "data", "get", "mnist", "--root", str(small_mnist))
    assert ran.code == 2
    assert "error: data set mnist: none of its 1 sources gives it\n\nhint: MNIST, " in ran.err
    assert os.listdir(small_mnist) == []


def test_digits_need_nothing(capsys, tmp_path: Path):
    ran = run_here(capsys, "data", "get", "digits", "--root", str(tmp_path))
    assert (ran.code, ran.err[:26]) == (0, "digits needs nothing: UCI ")


@pytest.mark.parametrize(("arguments", "says"), [
    (["mnist"], "no folder is given to put data sets into\n\nhint: --root DIR, or set KDSWEEP_DATA"),
    (["mnits", "--root", "."], "no data set `mnits`. Did you mean `mnist`? Known: cifar10, "),
    (["imagenet", "--root", "."], "data set imagenet cannot be got by this command\n\nhint: ImageNet, "),
])
def test_what_cannot_be_got_is_a_wrong_argument(capsys, monkeypatch, arguments, says):
    monkeypatch.delenv("KDSWEEP_DATA", raising=False)
    ran = run_here(capsys, "data", "get", *arguments)
    assert (ran.code, says in ran.err) == (2, True), ran.err
