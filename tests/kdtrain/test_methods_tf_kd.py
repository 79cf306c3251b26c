"""Tf-KD with a virtual teacher: known answers and limits, in float64.  B batch, C classes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kdtrain.batches import from_logits, run
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC

BATCH = from_logits(STUDENT_BC, LABEL_B)


@pytest.mark.parametrize(("settings", "expected"), [
    # the softened teacher has two values, q_y = 1 / (1 + 5 exp(-(a - b) / T)) and (1 - q_y) / 5, b = (1 - a) / 5;
    # KL = q_y log q_y + (1 - q_y) log q_o - q_y log p_y - q_o sum of the other log p; numpy's long double
    ({}, 0.07623426565900013),
    ({"temperature": 40.0, "weight": 0.95, "multiplier": 0.01}, 0.0072184222777712005),
    ({"student_temperature": 20.0}, 0.0002847895346427391),
])
def test_known_answer(settings, expected):
    terms = run("tf_kd", BATCH, **settings)
    assert terms["virtual"].mean().item() == pytest.approx(expected, abs=1e-12)
    label = (1 - settings.get("weight", 0.1)) * 3.1129606425
    assert terms["label"].mean().item() == pytest.approx(label, abs=1e-9)


def _gradient(method: str, **settings: float) -> torch.Tensor:
    logits_BC = torch.tensor(STUDENT_BC, dtype=torch.float64).requires_grad_()
    sum(run(method, from_logits(logits_BC, LABEL_B), **settings).values()).sum().backward()
    return logits_BC.grad


def test_an_infinitely_soft_teacher_is_label_smoothing_less_a_constant():
    """KL(uniform || p) = CE(uniform, p) - log C."""
    soft, smooth = run("tf_kd", BATCH, temperature=1e12), run("label_smoothing", BATCH, smoothing=0.1)
    torch.testing.assert_close(soft["label"], smooth["label"])
    torch.testing.assert_close(soft["virtual"], smooth["uniform"] - 0.1 * math.log(6), rtol=1e-9, atol=1e-9)


@given(st.floats(0.5, 100), st.floats(0.05, 0.95), st.floats(0.2, 0.99))
def test_beside_an_unsoftened_student_it_has_the_gradient_of_label_smoothing_with_another_share(temperature, weight, a):
    """The softened teacher is (1 - s) label + s uniform with s = 6 q_o; the label already has 1 - weight."""
    other = math.exp((1 - a) / 5 / temperature)
    share = 6 * other / (5 * other + math.exp(a / temperature))
    same = _gradient("label_smoothing", smoothing=weight * share) if share <= 1 else None
    assert (same is None) == (a < 1 / 6)
    found = _gradient("tf_kd", temperature=temperature, weight=weight, confidence=a)
    torch.testing.assert_close(found, same, rtol=1e-9, atol=1e-9)


def test_a_certain_teacher_that_is_hardly_softened_is_the_label():
    terms = run("tf_kd", BATCH, temperature=1e-3, confidence=1.0, weight=0.5)
    torch.testing.assert_close(terms["virtual"], terms["label"], rtol=1e-9, atol=1e-9)


def test_a_student_that_says_what_the_virtual_teacher_says_loses_nothing():
    label_BC = torch.nn.functional.one_hot(torch.tensor(LABEL_B), 6)
    teacher_BC = (0.01 / 5 + (0.99 - 0.01 / 5) * label_BC) / 20
    assert run("tf_kd", from_logits(teacher_BC, LABEL_B))["virtual"].abs().max().item() < 1e-15


def test_the_multiplier_scales_the_virtual_teacher_alone():
    once, ten = run("tf_kd", BATCH), run("tf_kd", BATCH, multiplier=10.0)
    torch.testing.assert_close(ten["virtual"], 10 * once["virtual"])
    torch.testing.assert_close(ten["label"], once["label"])


def test_without_weight_it_is_cross_entropy():
    terms = run("tf_kd", BATCH, weight=0.0)
    torch.testing.assert_close(terms["label"], run("ce", BATCH)["label"])
    assert terms["virtual"].tolist() == [0, 0, 0, 0]


def test_the_virtual_teacher_of_a_mixed_label_is_sure_of_the_mixture():
    # a = 0.8 of three classes: rest 0.1, u = 0.1 + 0.7 (0.75, 0.25, 0) = (0.625, 0.275, 0.1), softened by 0.1
    u = [math.exp(x / 0.1) for x in (0.625, 0.275, 0.1)]
    q = [x / sum(u) for x in u]
    p = (0.5, 0.3, 0.2)
    batch = from_logits([[math.log(x) for x in p]], [0], soft_label_BC=[[0.75, 0.25, 0.0]])
    virtual = run("tf_kd", batch, temperature=0.1, confidence=0.8, weight=1.0)["virtual"].item()
    assert virtual == pytest.approx(sum(a * math.log(a / b) for a, b in zip(q, p, strict=True)), abs=1e-12)
