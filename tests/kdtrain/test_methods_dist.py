"""DIST: known answers and properties, in float64.  B batch, C classes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.kdtrain.batches import from_logits, run
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

BATCH = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)
ROWS = st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=3, max_size=5)


@pytest.mark.parametrize(("temperature", "inter", "intra"), [
    # numpy.corrcoef of rows and columns of the softmax written out
    (4.0, 40.480831134729925, 45.45787925101749),
    (1.0, 2.439759710646678, 3.082499419792103),
])
def test_known_answer(temperature, inter, intra):
    terms = run("dist", BATCH, temperature=temperature, beta=2.0, gamma=2.0)
    # the 1e-8 beside the norms, which are of order 0.01 at temperature 4, moves the fifth digit
    assert terms["inter"].mean().item() == pytest.approx(inter, rel=3e-5)
    assert terms["intra"].item() == pytest.approx(intra, rel=3e-5)
    assert terms["label"].mean().item() == pytest.approx(3.1129606425, abs=1e-8)


def test_the_weights_scale_rows_and_columns_apart():
    once, scaled = run("dist", BATCH, beta=1.0, gamma=1.0), run("dist", BATCH, beta=3.0, gamma=5.0)
    torch.testing.assert_close(scaled["inter"], 3 * once["inter"])
    torch.testing.assert_close(scaled["intra"], 5 * once["intra"])


def test_a_student_that_agrees_with_its_teacher_has_no_distance():
    terms = run("dist", dataclasses.replace(BATCH, student=BATCH.teacher), temperature=1.0)
    assert terms["inter"].abs().max().item() < 1e-5
    assert abs(terms["intra"].item()) < 1e-5


@given(ROWS, st.floats(0.2, 0.9))
def test_rows_that_are_the_teacher_s_but_for_scale_and_shift_have_no_distance(rows, share):
    """p -> share p + (1 - share) / C is affine in p, and again a distribution; columns move by the same map."""
    teacher_BC = torch.tensor(rows, dtype=torch.float64)
    teacher_p_BC = teacher_BC.softmax(1)
    assume(teacher_p_BC.std(dim=1).min() > 0.03)  # else the 1e-8 beside the norms is seen
    assume(teacher_p_BC.std(dim=0).min() > 0.03)
    student_BC = (share * teacher_p_BC + (1 - share) / 4).log()
    terms = run("dist", from_logits(student_BC, [0] * len(rows), teacher_BC), temperature=1.0)
    assert terms["inter"].max().item() < 1e-4
    assert terms["intra"].item() < 1e-4


def test_two_classes_named_the_other_way_round_are_as_far_as_can_be():
    batch = from_logits([[2.0, 0.0], [0.0, 1.0]], [0, 1], [[0.0, 3.0], [3.0, 0.0]])
    terms = run("dist", batch, temperature=1.0, beta=1.0, gamma=1.0)
    assert terms["inter"].tolist() == pytest.approx([2, 2], abs=1e-6)
    assert terms["intra"].item() == pytest.approx(2, abs=1e-6)


def test_a_row_that_does_not_vary_counts_as_uncorrelated():
    batch = from_logits([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]], [0, 1], [[3.0, 1.0, 0.0], [1.0, 2.0, 3.0]])
    assert run("dist", batch, temperature=1.0, beta=1.0)["inter"].tolist() == pytest.approx([1, 0], abs=1e-6)


def test_a_batch_of_one_has_no_columns_to_compare():
    terms = run("dist", from_logits(STUDENT_BC[:1], [0], TEACHER_BC[:1]), temperature=1.0, gamma=1.0)
    assert terms["intra"].item() == 1
