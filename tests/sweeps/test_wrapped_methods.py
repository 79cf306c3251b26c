"""Methods in wrappers in study files: names, labels, settings, ranges, first points, and what does not fit."""

import re

import pytest

from sweeps.listing import list_rows
from sweeps.schema import MethodEntry
from tests.sweeps.tiny_study import change, read

OWN = "tests.kdtrain.own_methods"
WRAPPED = """\
- standardize(kd)
  - {label: half, method: select(standardize(kd)), share: 0.5, scale: 10}
"""
TUNE = "tune:\n  standardize(kd): {temperature: {log: [2, 4]}}\n  half: {weight: {range: [0.5, 0.9]}}\n"


def read_arms(text):
    study = read(text)
    return study, {arm.label: arm for arm in study.arms if arm.teacher in (None, "wrn_16_1")}


def refuse(new, *lines):
    with pytest.raises(ValueError, match="^" + re.escape("\n".join(lines))):
        read(change("- kd\n", f"- {new}\n"))


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("kd", "kd"),
        ("my.module:Mean", "Mean"),
        ("standardize(kd)", "standardize_kd"),
        ("select(standardize(kd))", "select_standardize_kd"),
        ("select(my.module:Mean)", "select_Mean"),
        ("my.module:Halve(kd)", "Halve_kd"),
    ],
)
def test_the_label_of_a_method_in_wrappers_is_a_name_unless_the_study_gives_one(method, label):
    assert MethodEntry.model_validate(method).label == label
    assert MethodEntry.model_validate({"method": method}).label == label
    assert MethodEntry.model_validate({"method": method, "label": "other"}).label == "other"


def test_an_arm_searches_the_ranges_of_wrapper_and_method_from_the_paper_s_settings_on():
    _, arms = read_arms(change("- kd\n", WRAPPED))
    arm = arms["standardize_kd"]
    assert arm.arm_id == "digits/wrn_16_1/resnet8(width=4)/standardize_kd"
    assert arm.method == "standardize(kd)"
    assert {name: space.to_json() for name, space in arm.space.items() if name != "lr"} == {
        "scale": {"log": [1.0, 20.0]}, "temperature": {"log": [1.0, 8.0]}, "weight": {"range": [0.1, 1.0]},
    }
    assert [{**point, "lr": None} for point in arm.first] == [
        {"lr": None, "scale": 10.0, "temperature": 2.0, "weight": 0.9}
    ]


def test_settings_and_ranges_are_given_to_a_method_in_wrappers_by_its_name_or_its_label():
    _, arms = read_arms(change("tune:\n", TUNE, change("- kd\n", WRAPPED)))
    assert arms["standardize_kd"].space["temperature"].to_json() == {"log": [2.0, 4.0]}
    assert arms["half"].fixed == {"share": 0.5, "scale": 10.0}
    assert set(arms["half"].space) == {"lr", "temperature", "weight"}
    assert arms["half"].space["weight"].to_json() == {"range": [0.5, 0.9]}
    assert arms["half"].space["temperature"].to_json() == {"log": [1.0, 8.0]}


def test_a_trial_names_the_method_as_the_study_does_and_all_settings_of_both():
    study, arms = read_arms(change("- kd\n", WRAPPED))
    config = study.trial_config(arms["half"], {"temperature": 3}, seed=1, stage="tune")
    assert config.method == "select(standardize(kd))"
    assert config.settings == {
        "criterion": "student_entropy", "scale": 10.0, "share": 0.5, "temperature": 3.0, "weight": 0.9
    }


def test_a_wrapper_that_needs_a_teacher_gives_a_teacher_free_method_an_arm_for_each_pair():
    study = read(change("- kd\n", "- weight_by_discrepancy(tf_nkd)\n  - select(tf_nkd)\n"))
    labels = [arm.label for arm in study.arms]
    assert (labels.count("weight_by_discrepancy_tf_nkd"), labels.count("select_tf_nkd")) == (2, 1)


@pytest.mark.parametrize(
    ("new", "line"),
    [
        ("standardise(kd)", "tiny.yaml: methods[2].method: no wrapper `standardise`. Did you mean `standardize`?"),
        ("select(kdd)", "tiny.yaml: methods[2].method: no method `kdd`. Did you mean `kd`?"),
        ("select", "tiny.yaml: methods[2].method: `select` is a wrapper, and needs a method\n\nhint: write select(kd)"),
        ("kd(select)", "tiny.yaml: methods[2].method: `kd` is a method, and no wrapper"),
        ("{method: select(kd), shares: 0.2}", "tiny.yaml: methods[2].shares: no such setting of method select(kd). "
         "Did you mean `share`? Known: batch_size, criterion, lr, momentum, share, temperature, weight, weight_decay"),
        ("{method: select(kd), share: 0}", "tiny.yaml: methods[2].share: share: 0.0 is not a number above 0 to 1"),
        ("{method: select(kd), criterion: loss}", "tiny.yaml: methods[2].criterion: no criterion `loss`."),
        ("{method: select(tf_nkd), criterion: divergence}",
         "tiny.yaml: methods[2].criterion: criterion: divergence needs a teacher, which `tf_nkd` has not"),
    ],
)
def test_what_is_wrong_with_a_method_in_wrappers_is_named_with_its_place(new, line):
    refuse(new, line)


def test_a_method_that_does_not_fit_is_refused_for_every_pair_at_once():
    refuse(
        f"{OWN}:WideStudents",
        "tiny.yaml: pairs[0] x methods[2] (WideStudents): width 16 of the student is below 64",
        "tiny.yaml: pairs[1] x methods[2] (WideStudents): width 16 of the student is below 64",
    )


def test_a_method_without_a_teacher_that_does_not_fit_is_refused_once_for_a_student():
    with pytest.raises(ValueError, match="select_ce") as caught:
        read(change("- kd\n", "- select(ce)\n"))
    assert str(caught.value) == (
        "tiny.yaml: pairs[0] x methods[2] (select_ce): select(ce): `ce` has no term but `label`: there is nothing to "
        "weigh"
    )


def test_settings_that_are_good_each_by_itself_and_not_together_are_refused():
    refuse(
        f"{{label: o, method: '{OWN}:Ordered', low: 5, high: 4}}",
        "tiny.yaml: pairs[0] x methods[2] (o): low 5.0 is above high 4.0",
    )


def test_wrappers_are_listed_with_what_they_wrap():
    rows = {row["name"]: row for row in list_rows("methods")}
    assert rows["select(...)"] == {
        "name": "select(...)",
        "about": "Distillation on a selected part of each batch (share, criterion)",
        "source": "Tavor et al. 2026, arXiv:2602.01395",
        "needs": "wraps a method whose terms are per sample",
    }
    assert rows["auxiliary_head(...)"]["needs"] == "pooled; wraps a method with teacher_logits"
    assert rows["kd"]["needs"] == "teacher_logits"
