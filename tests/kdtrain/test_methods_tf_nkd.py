"""tf-NKD: known answers and properties, in float64.  B batch, C classes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.kdtrain.batches import from_logits, run
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC

some_logits = st.lists(st.lists(st.floats(-20, 20), min_size=4, max_size=4), min_size=1, max_size=6)


def _weights(batch, **settings) -> torch.Tensor:
    terms = run("tf_nkd", batch, **settings)
    return terms["soft"] / terms["label"]


def test_the_weights_of_the_known_batch():
    # by an independent reference in numpy, float64
    expected = torch.tensor([1.023666, 0.888979, 1.175181, 0.912174], dtype=torch.float64)
    torch.testing.assert_close(_weights(from_logits(STUDENT_BC, LABEL_B)), expected, rtol=0, atol=5e-7)


@given(some_logits)
def test_the_weights_of_hard_labels_average_one(logits):
    batch = from_logits(logits, [0] * len(logits))
    assume((run("ce", batch)["label"] > 1e-6).all())  # log p of a certain label is 0 and hides its weight
    assert _weights(batch).mean().item() == pytest.approx(1, abs=1e-9)


@given(some_logits)
def test_without_smoothing_it_adds_the_cross_entropy_again(logits):
    terms = run("tf_nkd", from_logits(logits, [1] * len(logits)), smoothing=0.0)
    torch.testing.assert_close(terms["soft"], terms["label"], rtol=1e-12, atol=1e-12)


@given(some_logits, st.floats(0, 2), st.sampled_from([1, 2]))
def test_a_batch_of_one_adds_the_cross_entropy_again(logits, smoothing, power):
    terms = run("tf_nkd", from_logits(logits[:1], [2]), smoothing=smoothing, power=power)
    torch.testing.assert_close(terms["soft"], terms["label"], rtol=1e-12, atol=1e-12)


def test_the_weight_scales_the_second_term_alone():
    batch = from_logits(STUDENT_BC, LABEL_B)
    once, thrice = run("tf_nkd", batch), run("tf_nkd", batch, weight=3.0)
    torch.testing.assert_close(thrice["soft"], 3 * once["soft"])
    torch.testing.assert_close(thrice["label"], once["label"])


def test_the_gradient_of_tf_nkd_takes_the_student_s_confidence_as_given():
    batch = from_logits(STUDENT_BC, LABEL_B)
    logits_BC = batch.student.logits_BC.requires_grad_()
    run("tf_nkd", batch)["soft"].mean().backward()
    certain_BC = torch.nn.functional.one_hot(batch.label_B, 6)
    expected_BC = _weights(batch).detach()[:, None] * (logits_BC.detach().softmax(1) - certain_BC) / 4
    torch.testing.assert_close(logits_BC.grad, expected_BC, rtol=1e-12, atol=1e-12)


def test_a_mixed_label_counts_by_its_two_largest_values_each_with_its_own_mean():
    # logits are log probabilities, so that everything can be worked out on paper
    p = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]
    soft_label = [[0.7, 0.3, 0.0], [0.0, 0.2, 0.8]]
    batch = from_logits([[math.log(x) for x in row] for row in p], [0, 2], soft_label_BC=soft_label)
    # largest: p = 0.5 and 0.3, mean 0.4; second: p = 0.3 and 0.6, mean 0.45
    first = -(0.7 + 0.5 - 0.4) * math.log(0.5) - (0.3 + 0.3 - 0.45) * math.log(0.3)
    second = -(0.8 + 0.3 - 0.4) * math.log(0.3) - (0.2 + 0.6 - 0.45) * math.log(0.6)
    assert run("tf_nkd", batch)["soft"].tolist() == pytest.approx([first, second], abs=1e-12)


def test_a_second_label_of_value_zero_counts_for_nothing():
    batch = from_logits(STUDENT_BC, LABEL_B)
    certain_BC = torch.nn.functional.one_hot(batch.label_B, 6).double()
    same = run("tf_nkd", dataclasses.replace(batch, soft_label_BC=certain_BC))
    torch.testing.assert_close(same["soft"], run("tf_nkd", batch)["soft"], rtol=1e-12, atol=0)
