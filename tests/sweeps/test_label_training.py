"""A label may fix training fields for its trials alone: the controls of a method that trains with a larger gradient."""

import re

import pytest

from sweeps import study
from tests.sweeps.tiny_study import WHOLE, change, read

CONTROL = change("  - kd\n", "  - {label: ce_lr_x2, method: ce, lr: 2x, weight_decay: 0.01}\n  - kd\n")


def find_arms(text, label):
    return [arm for arm in read(text).arms if arm.label == label]


def train(found, arm, stage="tune"):
    return found.trial_config(arm, arm.first[0] if arm.first else {}, seed=0, stage=stage)


@pytest.mark.parametrize("stage", ["tune", "repeat"])
def test_a_multiple_is_of_what_the_student_would_train_with(stage):
    found = read(CONTROL)
    by_label = {arm.label: train(found, arm, stage) for arm in found.arms}
    assert (by_label["ce"].lr, by_label["ce"].weight_decay) == (0.1, 5e-4)
    assert (by_label["ce_lr_x2"].lr, by_label["ce_lr_x2"].weight_decay) == (0.2, 0.01)


def test_a_multiple_follows_the_rule_that_a_recipe_has_for_a_model(monkeypatch):
    from kdtrain.recipes import load_recipe

    monkeypatch.setattr(
        "sweeps.training.load_recipe", lambda name, model=None: load_recipe(name) | {"lr": 0.03 if model else 0.1}
    )
    (arm,) = find_arms(CONTROL, "ce_lr_x2")
    assert arm.training == {"lr": 0.06, "weight_decay": 0.01}


def test_a_field_that_a_label_fixes_is_not_searched_for_it_and_stays_searched_for_the_others():
    found = read(CONTROL)
    assert {arm.label: "lr" in arm.space for arm in found.arms} == {
        "ce": True, "ce_x2": True, "ce_lr_x2": False, "kd": True, "nkd": True,
    }  # fmt: skip
    assert all("lr" not in point for arm in found.arms if arm.label == "ce_lr_x2" for point in arm.first)


def test_the_search_of_a_control_draws_what_is_left():
    text = change("  lr: {log: [1e-2, 0.2]}\n", "  lr: {log: [1e-2, 0.2]}\n  momentum: {range: [0.5, 0.95]}\n", CONTROL)
    (arm,) = find_arms(text, "ce_lr_x2")
    assert set(arm.space) == {"momentum"}
    assert arm.first == ({"momentum": 0.9},)


def test_a_study_without_such_a_label_is_the_one_it_was():
    assert all("training" not in arm for arm in read(WHOLE).to_json()["arms"])
    ids = {name: study.load(name).study_id for name in ("digits", "fashion_mnist")}
    assert ids == {"digits": "s65773abd35d28033", "fashion_mnist": "sc2f4f18f4e9552f7"}


def test_a_label_with_such_a_field_is_another_study():
    twice, thrice = read(CONTROL), read(change("lr: 2x", "lr: 3x", CONTROL))
    assert twice.study_id != thrice.study_id


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("lr: 0x", "methods[2].lr: lr: 0.0 is not a positive number"),
        ("lr: fast", "methods[2].lr: 'fast' is not a number"),
        ("batch_size: 2x", "methods[2].batch_size: '2x' is a multiple"),
        ("batch_size: 1", "methods[2].batch_size: batch_size: 1 is below 2"),
        ("momentum: -1", "methods[2].momentum: momentum: -1.0 is below 0"),
        ("lrr: 0.1", "methods[2].lrr: no such setting of method ce. Did you mean `lr`? Known: batch_size, lr, "),
        ("epochs: 3", "methods[2].epochs: no such setting of method ce. Known: batch_size, lr, momentum, weight, w"),
    ],
)
def test_what_no_trial_could_train_with_is_refused(given, problem):
    with pytest.raises(ValueError, match="^tiny.yaml: " + re.escape(problem)):
        read(change("lr: 2x", given, CONTROL))
