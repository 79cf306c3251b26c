"""KD through a logit projector: known answers and limits, in float64.  B batch, C classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdtrain.method import build_method
from tests.kdtrain.batches import from_logits, make_cards, run
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

BATCH = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)


def _make_projector(weight_CC: torch.Tensor, bias_C: list[float]) -> nn.Linear:
    projector = nn.Linear(6, 6, dtype=torch.float64)
    with torch.no_grad():
        projector.weight.copy_(weight_CC)
        projector.bias.copy_(torch.tensor(bias_C))
    return projector


def test_known_answer():
    """P z = twice the logits in reversed order, plus a bias; T = 4, weight 0.9; numpy's long double, logsumexp form."""
    projector = _make_projector(2 * torch.eye(6).flip(0), [0, 0.5, -0.5, 1, -1, 0.25])
    terms = build_method("kd1proj", {})(BATCH, projector)
    assert terms["soft"].mean().item() == pytest.approx(5.724355483337436, abs=1e-9)
    assert terms["label"].mean().item() == pytest.approx(0.31129606425, abs=1e-9)


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "weight": 0.5}])
@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_with_the_identity_for_a_projector_it_is_kd(settings, bias):
    """One bias for all classes moves no probability."""
    terms = build_method("kd1proj", settings)(BATCH, _make_projector(torch.eye(6), [bias] * 6))
    plain = run("kd", BATCH, **settings)
    torch.testing.assert_close(terms["label"], plain["label"])
    torch.testing.assert_close(terms["soft"], plain["soft"], rtol=1e-10, atol=1e-10)


def test_the_label_sees_the_logits_themselves():
    terms = build_method("kd1proj", {})(BATCH, _make_projector(torch.zeros(6, 6), [0] * 6))
    torch.testing.assert_close(terms["label"], run("kd", BATCH)["label"])


def test_the_projector_is_a_trained_linear_map_of_the_classes_that_is_not_shipped():
    method = build_method("kd1proj", {})
    student, teacher = make_cards(5)
    own = method.build(student, teacher, 5, num_images=9)
    assert [tuple(parameter.shape) for parameter in own.parameters()] == [(5, 5), (5,)]
    network = nn.Identity()
    assert method.deployed(network, own) is network
