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


def test_without_a_compiler_a_trial_is_refused_before_it_trains(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    says = r"^compile: default needs the C\+\+ compiler no-such-compiler, which is not here\n\nhint: install it"
    with pytest.raises(ValueError, match=says):
        next(train(make_config(**SMALL, compile="default")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("method", ["kd", "uskd"])
def test_on_a_gpu_a_compiled_student_trains_as_another(teacher, tmp_path, method, mode):
    """The last batch is shorter; each epoch is trained by a process that knows only the checkpoint."""
    fields = {**SMALL, **teacher, "method": method, "batch_size": 40, "device": "cuda"}
    plain = finish(make_config(**fields))
    compiled = run_interrupted(make_config(**fields, compile=mode), tmp_path / "c.pt")
    for one, other in zip(plain["rows"], compiled["rows"], strict=True):
        assert other["loss_total"] == pytest.approx(one["loss_total"], rel=5e-2)  # TF32, and no fixed order of sums


def test_a_compiled_trial_stopped_after_every_epoch_gives_the_same_bits(tmp_path):
    config = make_config(**SMALL, compile="default")
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))
