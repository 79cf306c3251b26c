"""A student that torch compiles trains as one that it does not, to rounding, and nothing else is compiled."""

import shutil

import pytest
import torch

from kdtrain.train import train
from tests.kdtrain.trials import finish, make_config, run_interrupted, store_teacher, without_times

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")

SMALL = {"student": "resnet8(width=1)", "train_images": 90, "batch_size": 45, "epochs": 2}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("method", ["kd", "uskd"])  # of logits, and of a map
def test_a_compiled_student_trains_as_another(teacher, method):
    fields = {**SMALL, **teacher, "method": method}
    plain, compiled = (list(train(make_config(**fields, compile=mode))) for mode in ("none", "default"))
    for one, other in zip(plain, compiled, strict=True):
        for name in ("loss_total", "loss_label", "val_nll"):
            assert other.row[name] == pytest.approx(one.row[name], rel=1e-3)
    students = [epochs[-1].run.student.state_dict() for epochs in (plain, compiled)]
    assert students[0].keys() == students[1].keys()
    assert any(not torch.equal(students[0][name], students[1][name]) for name in students[0])  # other kernels round so


def test_only_the_steps_of_the_student_are_compiled(teacher, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda call, **how: asked.append((call, how)) or call)
    run = [epoch.run for epoch in train(make_config(**SMALL, **teacher, method="kd", compile="default"))][-1]
    assert asked == [(run.student, {"mode": "default", "dynamic": False})]


def test_a_compiled_trial_stopped_after_every_epoch_gives_the_same_bits(tmp_path):
    config = make_config(**SMALL, compile="default")
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))
