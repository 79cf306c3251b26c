"""Files from elsewhere: read as data, never run."""

import argparse
import io
import os
import pickle
import random
import re
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from kdtrain.weights_file import hash_file, read_weights

TENSORS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(4)}


def save(path, what, **options):
    torch.save(what, path, **options)
    return path


def check_tensors(file):
    assert list(file.tensors) == list(TENSORS)
    assert all(torch.equal(file.tensors[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    "what",
    [
        TENSORS,
        OrderedDict(TENSORS),
        {"model": TENSORS},                                                      # RepDistiller, mdistiller
        {"epoch": 240, "accuracy": torch.tensor(79.42), "model": TENSORS, "optimizer": {"state": {}}},
        {"state_dict": TENSORS, "best_prec1": 92.6},                             # akamaster, torch's examples
        {"net": TENSORS, "acc": 95.1, "epoch": 3},                               # kuangliu
        {"model": {"state_dict": TENSORS}},
        {f"module.{name}": tensor for name, tensor in TENSORS.items()},          # DataParallel
        {"state_dict": {f"module.module.{name}": tensor for name, tensor in TENSORS.items()}},
        {"model": {f"module.student.{name}": tensor for name, tensor in TENSORS.items()}},  # mdistiller's `latest`
        {f"_orig_mod.{name}": tensor for name, tensor in TENSORS.items()},       # torch.compile
    ],
    ids=["plain", "ordered", "model", "checkpoint", "state_dict", "net", "nested", "parallel", "parallel twice",
         "distiller", "compiled"],
)
def test_the_tensors_are_found_in_their_container(tmp_path, what):
    check_tensors(read_weights(save(tmp_path / "t.pth", what)))


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_old_and_new_torch_are_read(tmp_path, zipped):
    path = save(tmp_path / "t.pth", {"model": TENSORS}, _use_new_zipfile_serialization=zipped)
    check_tensors(read_weights(path))


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(TENSORS, tmp_path / "t.safetensors")
    file = read_weights(tmp_path / "t.safetensors")
    assert {name: tensor.tolist() for name, tensor in file.tensors.items()} == {
        "conv.weight": [[0, 1, 2], [3, 4, 5]], "fc.bias": [1, 1, 1, 1],
    }
    (tmp_path / "bad.safetensors").write_bytes(b"not at all")
    with pytest.raises(ValueError, match=r"bad.safetensors: cannot be read as weights: "):
        read_weights(tmp_path / "bad.safetensors")


def test_without_the_package_safetensors_are_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "t.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"safetensors is not installed\n\nhint: pip install safetensors"):
        read_weights(tmp_path / "t.safetensors")


def test_the_arguments_of_a_program_are_read_as_plain_values(tmp_path):
    """RepDistiller's last checkpoint holds its argparse.Namespace."""
    opt = argparse.Namespace(model="resnet32x4", lr_decay_epochs=[150, 180], lr=0.05, trial=0, x=float("nan"))
    file = read_weights(save(tmp_path / "t.pth", {"opt": opt, "model": TENSORS, "optimizer": {}}))
    check_tensors(file)
    assert file.said == {"opt": {"model": "resnet32x4", "lr": 0.05, "trial": 0}}


def test_what_a_file_says_of_itself_is_kept_where_it_is_plain_and_short(tmp_path):
    what = {"model": TENSORS, "epoch": 240, "best_acc": torch.tensor(79.42), "name": "n" * 500, "rates": [1, 2],
            "lost": float("inf"), "grid": torch.ones(2)}
    said = read_weights(save(tmp_path / "t.pth", what)).said
    assert said == {"epoch": 240, "best_acc": pytest.approx(79.42), "name": "n" * 200}
    many = {f"k{place:03}": place for place in range(500)} | {"model": TENSORS}
    assert len(read_weights(save(tmp_path / "many.pth", many)).said) == 100


def test_the_hash_is_that_of_the_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # NIST FIPS 180-2, appendix B.1
    assert hash_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path = save(tmp_path / "t.pth", TENSORS)
    assert read_weights(path).sha256 == hash_file(path)
    assert read_weights(path).name == "t.pth"


class Order:
    """Pickled, it is an order to call something when it is loaded."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("place", ["model", "tensor", "epoch", "namespace"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, place, zipped):
    order = Order(os.system, f"touch {tmp_path}/run")
    what = {
        "model": {"model": order},
        "tensor": {"model": {**TENSORS, "more.weight": order}},
        "epoch": {"model": TENSORS, "epoch": order},
        "namespace": {"model": TENSORS, "opt": argparse.Namespace(a=order)},
    }[place]
    path = save(tmp_path / "evil.pth", what, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"cannot be read as weights: it refers to `posix.system`, and nothing but"):
        read_weights(path)
    assert not (tmp_path / "run").exists()
    torch.load(path, weights_only=False)  # the trap would have sprung
    assert (tmp_path / "run").exists()


def test_a_bare_malicious_pickle_is_refused_and_not_run(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Order(os.mkdir, f"{tmp_path}/run")))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_weights(tmp_path / "evil.pth")
    assert not (tmp_path / "run").exists()


def test_a_namespace_is_the_only_class_that_is_let_in_and_only_while_reading(tmp_path):
    read_weights(save(tmp_path / "t.pth", {"model": TENSORS, "opt": argparse.Namespace(a=1)}))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    for what, name in [(argparse.FileType(), "argparse.FileType"), (np.float64(3), r"numpy\S+scalar"),
                       (nn.Linear(2, 2), "torch.nn.modules.linear.Linear")]:
        with pytest.raises(ValueError, match=f"it refers to `{name}`"):
            read_weights(save(tmp_path / "other.pth", {"model": TENSORS, "opt": what}))


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ([1, 2], "holds a list, not tensors by name"),
        (torch.ones(2), "holds a Tensor, not tensors by name"),
        ({}, "does not hold tensors by name: it is empty"),
        ({"model": {}}, "does not hold tensors by name: it is empty"),
        ({"weights": TENSORS, "epoch": 3}, "by name: `weights`, `epoch` is none of `model`, `state_dict`, `net`"),
        ({**TENSORS, "epoch": 3}, "does not hold tensors by name: `epoch` is none of"),
        ({1: torch.ones(1)}, "does not hold tensors by name: `1` is none of"),
        ({"a": torch.ones(2, 2).to_sparse()}, "does not hold tensors by name: `a` is none of"),
        ({"model": TENSORS, "state_dict": TENSORS}, "holds several networks: `model`, `state_dict`"),
    ],
)
def test_what_is_no_state_dict_is_refused_in_a_sentence(tmp_path, what, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_weights(save(tmp_path / "t.pth", what))


def test_a_file_that_contains_itself_is_refused(tmp_path):
    what = {}
    what["model"] = what
    with pytest.raises(ValueError, match="does not hold tensors by name: `model` is none of"):
        read_weights(save(tmp_path / "t.pth", what))


def test_a_missing_file_and_torchscript_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"t.pth: no such file$"):
        read_weights(tmp_path / "t.pth")
    for read in (read_weights, hash_file):
        with pytest.raises(ValueError, match=r": is a folder\n\nhint: name the file in it that holds the weights$"):
            read(tmp_path)
    with pytest.raises(ValueError, match=r"t.pth: no such file$"):
        hash_file(tmp_path / "t.pth")
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "t.pth")
    with pytest.raises(ValueError, match="it is TorchScript, which is code"):
        read_weights(tmp_path / "t.pth")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path, zipped):
    """500 random changes each, most of them in the head, where the pickle lies."""
    buffer, path = io.BytesIO(), tmp_path / "t.pth"
    torch.save({"opt": argparse.Namespace(a=[1]), "model": TENSORS}, buffer, _use_new_zipfile_serialization=zipped)
    sentences = []
    for seed in range(500):
        draw, data = random.Random(seed), bytearray(buffer.getvalue())
        for _ in range(draw.choice([1, 2, 5])):
            data[draw.randrange(min(len(data), 600) if draw.random() < 0.8 else len(data))] = draw.randrange(256)
        path.write_bytes(data[: draw.randrange(len(data))] if draw.random() < 0.2 else data)
        try:
            read_weights(path)
        except ValueError as error:
            sentences.append(str(error))
    assert len(sentences) > 100
    assert all(sentence.startswith(f"{path}: ") for sentence in sentences)
