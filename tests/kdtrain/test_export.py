"""Exported students: what was measured is what is shipped, and the card tells how to load it."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch

from kdtrain.config import TrialConfig
from kdtrain.export import build_exported, export_student
from kdtrain.train import train
from tests.kdtrain.trials import finish, make_config, store_teacher

MEASURE = """
import json, torch
torch.set_num_threads(1)
from kdtrain.config import TrialConfig
from kdtrain.evaluate import measure
from kdtrain.images import load_images
images = load_images(TrialConfig.from_dict(json.load(open("student.pt.json"))["config"]))
print(repr(measure(model, images.test, images.info).top1))
"""
SHIPS = "tests.kdtrain.trials:ShipsItsHead"


def measure_apart(folder):
    """The test top-1 that a fresh process finds with the card's lines, where only the two files lie."""
    lines = json.loads((folder / "student.pt.json").read_text())["how_to_load"]
    assert len(lines) == 3
    code = "\n".join(lines) + MEASURE
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "tf_nkd"},
        {"method": SHIPS},
        {"epoch_rule": "best_val", "lr": 1.0, "schedule": "constant", "epochs": 6},
        {"train_on": "train+validation", "epochs": 1},
    ],
    ids=["a student", "a student with another head", "best_val", "all of train"],
)
def test_a_fresh_process_measures_of_the_exported_student_what_its_trial_measured(tmp_path, changes):
    config = make_config(measure_test=True, **changes)
    state = finish(config)
    card = export_student(state, tmp_path / "student.pt", config=config, facts={})
    measured = {found["split"]: found["top1"] for found in state["evals"]}
    assert measure_apart(tmp_path) == card["test_top1"] == measured["test"]
    assert card["val_top1"] == measured.get("val")
    assert card["epoch"] == state["evals"][0]["epoch"]


def test_a_student_is_exported_where_its_teachers_weights_are_not(tmp_path):
    config = make_config(method="kd", epochs=1, **store_teacher(tmp_path / "weights", epochs=1))
    state = finish(config)
    apart = TrialConfig.from_dict({**config.to_dict(), "weights_dir": None})
    card = export_student(state, tmp_path / "student.pt", config=apart, facts={})
    weights = torch.load(tmp_path / "student.pt", weights_only=True)
    assert type(weights) is dict
    assert weights.keys() == state["modules"]["student"].keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in state["modules"]["student"].items())
    assert card["test_top1"] is None


def test_a_card_says_what_the_weights_are_and_what_they_are_fed_with(tmp_path):
    config = make_config(epochs=2, measure_test=True, seed=3)
    card = export_student(finish(config), tmp_path / "student.pt", config=config, facts={"study_id": "s1"})
    assert json.loads((tmp_path / "student.pt.json").read_text()) == card
    assert card["weights_sha256"] == hashlib.sha256((tmp_path / "student.pt").read_bytes()).hexdigest()
    assert (card["model"], card["data"], card["num_classes"]) == ("resnet8(width=2)", "digits", 10)
    assert card["image"] == {"channels": 1, "height": 8, "width": 8}
    assert card["normalisation"] == {"scale": 255, "mean": [0.3053], "std": [0.376]}
    assert (card["epoch"], card["epoch_rule"], card["study_id"]) == (2, "last", "s1")
    assert card["params"] == sum(parameter.numel() for parameter in build_exported(card).parameters())
    assert TrialConfig.from_dict(card["config"]).trial_id == config.trial_id
    assert card["how_to_load"] == [
        "import torch; from kdtrain.model import build_model",
        "model = build_model('resnet8(width=2)', 10, 1)",
        "model.load_state_dict(torch.load('student.pt', weights_only=True)); model.eval()",
    ]


@pytest.mark.parametrize("there", ["student.pt", "student.pt.json"])
def test_nothing_is_overwritten_and_nothing_written_by_halves(tmp_path, there):
    (tmp_path / there).write_text("mine")
    config = make_config(epochs=1)
    with pytest.raises(ValueError, match=rf"{there}: exists, and is not overwritten\n\nhint: "):
        export_student(finish(config), tmp_path / "student.pt", config=config, facts={})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_a_directory_that_is_read_only_is_told(tmp_path, monkeypatch):
    config = make_config(epochs=1)
    stored = finish(config)
    monkeypatch.setattr("kdtrain.export.os.access", lambda path, mode: False)   # root may write everywhere
    with pytest.raises(ValueError, match="may not be written to\n\nhint: "):
        export_student(stored, tmp_path / "student.pt", config=config, facts={})
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_told(tmp_path):
    config = make_config(epochs=1)
    with pytest.raises(ValueError, match=r"there is no directory .*nowhere"):
        export_student(finish(config), tmp_path / "nowhere" / "student.pt", config=config, facts={})


def test_an_export_that_dies_leaves_no_weights(tmp_path, monkeypatch):
    config = make_config(epochs=1)
    state = finish(config)
    replace = os.replace

    def die_at_the_weights(part, path):
        if path.name == "student.pt":
            raise OSError("no space left")
        replace(part, path)

    monkeypatch.setattr(os, "replace", die_at_the_weights)
    with pytest.raises(OSError, match="no space left"):
        export_student(state, tmp_path / "student.pt", config=config, facts={})
    assert os.listdir(tmp_path) == ["student.pt.json"]


def test_exporting_draws_no_random_number(tmp_path):
    config = make_config(epochs=1)
    state = finish(config)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    export_student(state, tmp_path / "student.pt", config=config, facts={})
    assert torch.equal(torch.rand(1), expected)


def test_of_a_checkpoint_on_the_way_the_epoch_on_the_card_is_the_one_of_the_weights(tmp_path):
    """lr 1 and no decay: the best of four epochs is not the fourth, which the checkpoint's own weights are of."""
    config = make_config(epoch_rule="best_val", lr=1.0, schedule="constant", epochs=6)
    state = [epoch.run.state_dict() for epoch, _ in zip(train(config), range(4), strict=False)][-1]
    card = export_student(state, tmp_path / "student.pt", config=config, facts={})
    weights = torch.load(tmp_path / "student.pt", weights_only=True)
    assert card["epoch"] == state["best"]["epoch"] < 4
    assert torch.equal(weights["classifier.weight"], state["best"]["modules"]["student"]["classifier.weight"])
