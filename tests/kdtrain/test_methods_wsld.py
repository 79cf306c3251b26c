"""WSLD: known answers and properties, in float64.  B batch, C classes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.kdtrain.batches import from_logits, run, with_student_logits
from tests.kdtrain.derivatives import differentiate
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

BATCH = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)
# 1 - exp(-log S_y / log T_y) from the softmax written out, in numpy's long double, without the 1e-7
WEIGHT_B = [0.9998798820853527, 0.9992282339074153, 0.819235351044164, 0.48592024828978697]


def _divide(one: torch.Tensor, other: torch.Tensor) -> list[float]:
    return (one / other).tolist()


def _plain_cross_entropy(temperature: float) -> torch.Tensor:
    """T^2 CE(teacher^T, student^T) of the known batch, (B,), as logsumexp less a mean."""
    rows = []
    for s, t in zip(np.array(STUDENT_BC) / temperature, np.array(TEACHER_BC) / temperature, strict=True):
        teacher = np.exp(t) / np.exp(t).sum()
        rows.append(temperature**2 * (np.log(np.exp(s).sum()) - teacher @ s))
    return torch.tensor(rows)


@pytest.mark.parametrize(("settings", "expected"), [
    # long double as above, soft loss as logsumexp(s / T) - sum_i T_i s_i / T
    ({"temperature": 4.0, "weight": 2.25}, 55.859346362004544),
    ({"temperature": 2.0, "weight": 2.5}, 17.353773075622403),
])
def test_known_answer(settings, expected):
    terms = run("wsld", BATCH, **settings)
    assert terms["soft"].mean().item() == pytest.approx(expected, rel=1e-6)  # the 1e-7 moves the seventh digit
    assert terms["label"].mean().item() == pytest.approx(3.1129606425, abs=1e-8)


def test_the_weights_of_the_known_batch():
    soft_B = run("wsld", BATCH, temperature=4.0, weight=1.0)["soft"]
    assert _divide(soft_B, _plain_cross_entropy(4.0)) == pytest.approx(WEIGHT_B, abs=1e-7)


def test_a_student_as_good_as_its_teacher_is_weighed_by_1_less_1_over_e():
    agreed = dataclasses.replace(BATCH, student=BATCH.teacher)
    soft_B = run("wsld", agreed, temperature=1.0, weight=1.0)["soft"]
    entropy_B = -(agreed.student.logits_BC.softmax(1) * agreed.student.logits_BC.log_softmax(1)).sum(1)
    assert _divide(soft_B, entropy_B) == pytest.approx([1 - math.exp(-1)] * 4, abs=1e-6)


def test_a_student_that_is_certain_of_the_label_is_left_to_it():
    certain_BC = 1e4 * torch.nn.functional.one_hot(torch.tensor(LABEL_B), 6)
    assert run("wsld", from_logits(certain_BC, LABEL_B, TEACHER_BC))["soft"].tolist() == [0, 0, 0, 0]


def test_behind_a_certain_teacher_the_soft_loss_is_cross_entropy_times_the_weight():
    certain_BC = 1e4 * torch.nn.functional.one_hot(torch.tensor(LABEL_B), 6)
    terms = run("wsld", from_logits(STUDENT_BC, LABEL_B, certain_BC), temperature=1.0, weight=2.5)
    torch.testing.assert_close(terms["soft"], 2.5 * terms["label"])


def test_a_student_far_behind_gets_the_gradient_of_kd():
    """w is 1 but for e^-CE_s/CE_t, and cross-entropy differs from KD's divergence by a constant."""
    student_BC = 30.0 * torch.nn.functional.one_hot((torch.tensor(LABEL_B) + 1) % 6, 6).double()
    sure_BC = 8.0 * torch.nn.functional.one_hot(torch.tensor(LABEL_B), 6)
    gradients = []
    for name, weight in (("wsld", 0.9), ("kd", 0.9)):
        logits_BC = student_BC.clone().requires_grad_()
        run(name, from_logits(logits_BC, LABEL_B, sure_BC), temperature=4.0, weight=weight)["soft"].sum().backward()
        gradients.append(logits_BC.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


def test_mixed_labels_weigh_by_the_losses_against_the_mixture():
    # logits are log probabilities: CE_s = -(0.75 log 0.5 + 0.25 log 0.25), CE_t = -(0.75 log 0.8 + 0.25 log 0.1)
    batch = from_logits([[math.log(x) for x in (0.5, 0.25, 0.25)]], [0], [[math.log(x) for x in (0.8, 0.1, 0.1)]],
                        soft_label_BC=[[0.75, 0.25, 0.0]])
    weight = 1 - math.exp(-0.8664339756999316 / 0.7430039361763796)
    cross_entropy = -(0.8 * math.log(0.5) + 0.2 * math.log(0.25))
    soft = run("wsld", batch, temperature=1.0, weight=1.0)["soft"].item()
    assert soft == pytest.approx(weight * cross_entropy, abs=1e-6)


def test_the_gradient_of_wsld_takes_the_weights_as_given():
    """Central differences of the loss with the weights of the known batch held still; not of the loss itself."""
    logits_BC = torch.tensor(STUDENT_BC, dtype=torch.float64).requires_grad_()
    run("wsld", with_student_logits(BATCH, logits_BC), temperature=4.0, weight=2.25)["soft"].sum().backward()
    teacher = np.exp(np.array(TEACHER_BC) / 4)
    teacher /= teacher.sum(1, keepdims=True)

    def frozen(s: np.ndarray) -> float:
        soft = np.log(np.exp(s / 4).sum(1)) - (teacher * s).sum(1) / 4
        return 2.25 * 16 * (np.array(WEIGHT_B) * soft).sum()

    assert logits_BC.grad.numpy() == pytest.approx(differentiate(frozen, np.array(STUDENT_BC)), abs=2e-6)
