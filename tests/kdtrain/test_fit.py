"""A method that cannot train a student with a teacher is found out before anything is trained."""

import dataclasses

import pytest
import torch

from kdtrain.fit import find_mismatch
from kdtrain.method import Card, asks_teacher, build_method, list_methods

OWN = "tests.kdtrain.own_methods"
STUDENT = Card("small", 10, params=1, macs=1, pooled_width=8, map_shapes={"a": (4, 8, 8), "b": (8, 4, 4)})
TEACHER = dataclasses.replace(STUDENT, name="large", pooled_width=16)


def find(spec, student=STUDENT, teacher=TEACHER, **settings):
    method = build_method(spec, settings)
    return find_mismatch(method, student, teacher if asks_teacher(method.needs) else None)


@pytest.mark.parametrize("method", list_methods())
def test_a_model_with_a_linear_classifier_and_two_maps_fits_every_method(method):
    assert find(method) is None


def test_a_classifier_is_not_asked_of_a_model_that_has_no_linear_one():
    sentence = "the method reads the weights of the last layer, and {} has no linear one"
    without = {"student": dataclasses.replace(STUDENT, has_classifier=False)}
    assert find(f"{OWN}:ReadsClassifier") is None
    assert find(f"{OWN}:ReadsClassifier", **without) == sentence.format("small")
    without = {"teacher": dataclasses.replace(TEACHER, has_classifier=False)}
    assert find(f"{OWN}:ReadsClassifier", **without) == sentence.format("large")
    assert find("kd", **without) is None


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_maps_of_several_stages_are_not_asked_of_a_model_with_fewer_than_two(role):
    model = {"student": STUDENT, "teacher": TEACHER}[role]
    one = {role: dataclasses.replace(model, map_shapes={"a": (4, 8, 8)})}
    assert find(f"{OWN}:ReadsMaps") is None
    assert find(f"{OWN}:ReadsMaps", **one) == (
        f"the method reads feature maps of several stages, and {model.name} has 1"
    )
    assert find("kd", **one) is None


def test_widths_that_a_method_refuses_to_be_built_for_are_its_own_words():
    assert find(f"{OWN}:WideStudents", teacher=STUDENT) is None
    assert find(f"{OWN}:WideStudents") == "width 8 of the student is below 16"


def test_views_that_a_batch_has_not_are_not_asked():
    assert find(f"{OWN}:TwoViews") == "the method asks for 2 views of an image, and a batch has one"


@pytest.mark.parametrize("wrapper", ["select", "weight_by_discrepancy"])
def test_samples_of_a_term_of_a_whole_batch_cannot_be_weighed(wrapper):
    assert find(f"{wrapper}({OWN}:Mean)") is None
    spec = f"{wrapper}({OWN}:WholeBatch)"
    assert find(spec) == f"{spec}: the term `mean` is of a whole batch: its samples cannot be weighed"


def test_there_is_nothing_to_select_in_plain_training():
    assert find("select(ce)") == "select(ce): `ce` has no term but `label`: there is nothing to weigh"


def test_parameters_that_were_made_for_raw_logits_do_not_see_standardised_ones():
    sentence = find("standardize(kd1proj)")
    assert sentence.startswith("standardize(kd1proj): `kd1proj` has parameters of its own\n\nhint: standardize wraps a")


@pytest.mark.parametrize("spec", ["standardize({})", "auxiliary_head({})", "select(standardize({}))"])
def test_a_label_s_term_that_changes_with_a_wrapper_s_logits_is_refused(spec):
    assert find(spec.format(f"{OWN}:Mean")) is None
    assert find(spec.format(f"{OWN}:OwnLabel")) == (
        f"the term `label` of {OWN}:OwnLabel changes with the logits that a wrapper gives\n\n"
        "hint: take the label's cross-entropy from kdtrain.terms.label_cross_entropy"
    )
    assert find(f"select({OWN}:OwnLabel)") is None  # which changes no logits


def test_a_method_whose_state_changes_when_it_is_asked_fits():
    assert find(f"auxiliary_head({OWN}:Counts)") is None


def test_a_method_in_wrappers_is_refused_for_what_any_of_them_needs():
    without = dataclasses.replace(STUDENT, has_classifier=False)
    assert find(f"auxiliary_head(select({OWN}:ReadsClassifier))", without).endswith("small has no linear one")


def test_asking_leaves_torchs_random_numbers_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert find("auxiliary_head(kd1proj)") is None
    assert torch.equal(torch.rand(1), expected)
