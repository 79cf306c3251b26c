"""What a study settles for each pair: a recipe's own rules for a model, and a paper's settings for a pair."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from kdtrain.method import Distillation, Needs
from sweeps import study
from tests.sweeps.tiny_study import WHOLE, change, read


@dataclass(frozen=True)
class ByPair(Distillation):
    """A method whose paper has a setting for one pair."""

    needs: ClassVar = Needs(teacher_logits=True)
    search_space: ClassVar = {"strength": {"range": [0, 9]}}
    paper_settings: ClassVar = [{"strength": 1.0}]
    strength: float = 0.5

    @classmethod
    def list_paper_settings(cls, *, data, teacher, student):
        own = [{"strength": 7.0}] if (data, teacher, student) == ("digits", "resnet20", "resnet8(width=4)") else []
        return own + cls.paper_settings


@pytest.fixture
def with_a_rule(monkeypatch):
    """Recipe `small` trains wrn_16_1 at a tenth of its learning rate."""
    from kdtrain.recipes import load_recipe

    def load(name, model=None):
        return load_recipe(name) | ({"lr": 0.01} if model is not None and model.startswith("wrn_16_1") else {})

    monkeypatch.setattr("sweeps.training.load_recipe", load)


def find_trial(found, arm_id):
    arm = next(arm for arm in found.arms if arm.arm_id == arm_id)
    return found.trial_config(arm, arm.first[0], seed=0, stage="tune")


def test_shipped_studies_keep_their_identity():
    assert study.load("digits").study_id == "s65773abd35d28033"
    assert study.load("fashion_mnist").study_id == "sc2f4f18f4e9552f7"


@pytest.mark.usefixtures("with_a_rule")
def test_a_recipes_rule_for_a_model_holds_for_its_trials_and_is_tried_first_where_it_is_searched():
    text = change("student: resnet8(width=4)}", "student: wrn_16_1(width=4)}")
    found = read(text)
    assert found.exceptions == {"wrn_16_1(width=4)": {"lr": 0.01}}
    assert found.to_json()["exceptions"] == {"wrn_16_1(width=4)": {"lr": 0.01}}
    assert find_trial(found, "digits/none/wrn_16_1(width=4)/ce").lr == 0.01
    assert find_trial(found, "digits/none/resnet8(width=4)/ce").lr == 0.1
    unsearched = read(change("  lr: {log: [1e-2, 0.2]}\n", "", text))
    assert find_trial(unsearched, "digits/wrn_16_1/wrn_16_1(width=4)/nkd").lr == 0.01


@pytest.mark.usefixtures("with_a_rule")
def test_what_the_study_says_goes_before_a_recipes_rule():
    found = read(change("fix: {recipe: small, epochs: 9}", "fix: {recipe: small, epochs: 9, lr: 0.05}"))
    assert found.exceptions == {}
    assert "exceptions" not in found.to_json()


@pytest.mark.usefixtures("with_a_rule")
def test_a_recipes_rule_holds_for_teachers_too_also_where_they_train_as_the_students_do():
    lrs = {teacher.config.student: teacher.config.lr for teacher in read(WHOLE).teachers}
    assert lrs == {"wrn_16_1": 0.01, "resnet20": 0.1}
    bare = change("{recipe: small, epochs: 3, seeds: [5, 6], gate: {val_top1: 0.7}}", "{seeds: [5, 6]}")
    lrs = {teacher.config.student: teacher.config.lr for teacher in read(bare).teachers}
    assert lrs == {"wrn_16_1": 0.01, "resnet20": 0.1}


def test_a_papers_setting_for_a_pair_is_tried_first_in_that_pair_alone():
    text = change("  nkd: {temperature: {log: [2, 8]}}\n", "")
    found = read(change("  - nkd\n", "  - {label: by_pair, method: tests.sweeps.test_study_pairs:ByPair}\n", text))
    first = {arm.arm_id: arm.first for arm in found.arms if arm.label == "by_pair"}
    assert first == {
        "digits/wrn_16_1/resnet8(width=4)/by_pair": ({"lr": 0.1, "strength": 1.0},),
        "digits/resnet20/resnet8(width=4)/by_pair": ({"lr": 0.1, "strength": 7.0}, {"lr": 0.1, "strength": 1.0}),
    }
