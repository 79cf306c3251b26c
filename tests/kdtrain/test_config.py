"""A trial's identity, and what a config may not say."""

import dataclasses
import json
import re

import pytest

from kdtrain.__main__ import main
from kdtrain.config import TrialConfig
from tests.kdtrain.trials import make_config

PLACE = {
    "device": "cuda:1", "data_root": "/data", "download": True, "weights_dir": "/weights", "workers": 2,
    "tables_dir": "/tables", "table_bytes": 10**9,
}
LOOK = {"measure_test": True, "test_curve": True}
OTHER = {
    "data": "cifar10", "student": "resnet20", "method": "kd", "settings": {"weight": 2.0}, "validation": 300,
    "split_seed": 1, "train_on": "train+validation", "train_images": 50, "augment": "none", "padding": 2, "epochs": 5,
    "batch_size": 16, "lr": 0.2, "momentum": 0.5, "nesterov": True, "weight_decay": 0.0, "schedule": "step",
    "milestones": (0.5,), "decay": 0.2, "warmup_epochs": 1, "seed": 1, "epoch_rule": "best_val", "measure_test": True,
    "deterministic": True, "image_size": 16, "rand_augment": 2, "rand_magnitude": 5, "erasing": 0.25, "mixup": 0.8,
    "cutmix": 1.0, "mix_probability": 0.5, "label_smoothing": 0.1, "min_lr": 1e-5, "poly_power": 2.0,
    "optimizer": "adamw", "decay_norms": False, "clip_norm": 5.0, "precision": "bf16", "compile": "default",
    "view_seed": 1,
}


def test_where_a_trial_runs_is_not_what_it_is():
    assert {make_config(**{name: value}).trial_id for name, value in PLACE.items()} == {make_config().trial_id}


def test_what_is_looked_at_after_every_epoch_is_not_what_a_trial_is():
    assert make_config(**LOOK).trial_id == make_config(measure_test=True).trial_id


def test_every_other_field_is_part_of_the_identity():
    named = {"teacher", "teacher_id"} | OTHER.keys() | PLACE.keys() | LOOK.keys()
    assert named == {field.name for field in dataclasses.fields(TrialConfig)}
    ids = [make_config(**{name: value}).trial_id for name, value in OTHER.items()]
    ids += [make_config(teacher="resnet20", teacher_id=name).trial_id for name in ("w1", "w2")]
    assert len({*ids, make_config().trial_id}) == len(ids) + 1


def test_the_identity_of_a_trial_never_changes():
    assert TrialConfig(data="digits", student="resnet8").trial_id == "t99f35eebabc05c68"
    assert TrialConfig.from_dict(make_config().to_dict()) == make_config()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 0}, "epochs: 0 is below 1"),
        ({"batch_size": 1}, "batch_size: 1 is below 2"),
        ({"lr": float("nan")}, "lr: nan is not a positive number"),
        ({"schedule": "cosin"}, "schedule: 'cosin' is none of constant, step, exponential, cosine"),
        ({"erasing": 1.5}, r"erasing: 1\.5 is above 1"),
        ({"clip_norm": 0.0}, r"clip_norm: 0\.0 is not a number above 0"),
        ({"image_size": 0}, "image_size: 0 is below 1"),
        ({"optimizer": "adam"}, "optimizer: 'adam' is none of sgd, adamw"),
        ({"optimizer": "adamw", "momentum": 0.5}, "momentum: has no effect with optimizer adamw\n\nhint: "),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov: has no effect with optimizer adamw\n\nhint: "),
        ({"nesterov": True, "momentum": 0.0}, "nesterov: needs a momentum above 0"),
        ({"lr": 0.01, "min_lr": 0.02}, r"lr: 0\.01 is below min_lr 0\.02"),
        ({"schedule": "one_cycle", "warmup_epochs": 1}, "warmup_epochs: has no effect with schedule one_cycle"),
        ({"compile": "on"}, "compile: 'on' is none of none, default, reduce-overhead"),
        ({"precision": "float16"}, "precision: 'float16' is none of float32, bf16, fp16"),
        ({"mixup": -0.1}, r"mixup: -0\.1 is below 0"),
        ({"cutmix": float("inf")}, "cutmix: inf is not a finite number"),
        ({"weight_decay": float("nan")}, "weight_decay: nan is below 0"),
        ({"clip_norm": float("inf")}, "clip_norm: inf is not a number above 0"),
        ({"label_smoothing": 1.1}, r"label_smoothing: 1\.1 is above 1"),
        ({"epoch_rule": "best_val", "validation": 0}, "epoch_rule: best_val needs a validation split"),
        ({"test_curve": True}, "test_curve: needs measure_test: a trial that settings are selected on never sees test"),
        ({"teacher": "resnet20"}, "teacher and teacher_id go together"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(changes, says):
    with pytest.raises(ValueError, match=says):
        make_config(**changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, r"config\.json: no such file"),
        ("{", r"config\.json: not JSON"),
        ("[]", r"config\.json: not a JSON object but list"),
        ('{"data": "digits", "studnet": "resnet8"}', "no setting `studnet`. Did you mean `student`"),
        ('{"data": "digits"}', "missing 1 required positional argument: 'student'"),
        ('{"data": "digts", "student": "resnet8"}', "Did you mean `digits`"),
        ('{"data": "digits", "student": "resnet9"}', "Did you mean `resnet8`"),
        ('{"data": "digits", "student": "resnet8", "method": "kdd"}', "Did you mean `kd`"),
        ('{"data": "digits", "student": "resnet8(width=2)", "lr": 1e9, "validation": 400}', "not a finite number"),
    ],
)
def test_the_command_answers_a_wrong_config_with_one_sentence_and_2(tmp_path, capsys, text, says):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    assert main([str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert re.search(says, said)


def test_the_command_shows_test_in_every_row_where_it_is_asked_to(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(make_config(**LOOK).to_dict()))
    assert main([str(tmp_path / "config.json")]) == 0
    *rows, _, final = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["num_images"] for row in rows] == [100, 100, 100]
    assert {len([name for name in row if name.startswith("test_")]) for row in rows} == {5}
    assert (final["split"], final["top1"]) == ("test", rows[-1]["test_top1"])


def test_the_command_goes_on_from_its_checkpoint(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(make_config().to_dict()))
    command = [str(tmp_path / "config.json"), "--checkpoint", str(tmp_path / "c.pt")]
    assert main(command) == 0
    assert [json.loads(line).get("epoch") for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 3]
    assert main(command) == 0
    assert capsys.readouterr().out == ""
