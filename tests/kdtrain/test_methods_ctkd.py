"""CTKD: known answers, the reversed gradient and its curriculum, in float64.  B batch, C classes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from kdtrain.method import build_method
from tests.kdtrain.batches import from_logits, make_cards, run, with_student_logits
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

START = 15.621171572600097  # 1 + 20 / (1 + 1 / e)


def _build(**settings):
    method = build_method("ctkd", settings)
    student, teacher = make_cards(6)
    return method, method.build(student, teacher, 6, num_images=9).double()


def _batch(epoch: int):
    return from_logits(STUDENT_BC, LABEL_B, TEACHER_BC, epoch=epoch)


def _gradient_of_position(epoch: int, **settings) -> float:
    method, own = _build(**settings)
    method(_batch(epoch), own)["soft"].mean().backward()
    return own.position.grad.item()


def test_known_answer():
    """T = 15.62, weight 0.9; divergence as sum_i t_i (t_i - s_i) / T less two logsumexp; numpy's long double."""
    method, own = _build()
    terms = method(_batch(1), own)
    assert terms["soft"].mean().item() == pytest.approx(3.7155233928212987, abs=1e-9)
    assert terms["label"].mean().item() == pytest.approx(0.31129606425, abs=1e-9)


def test_it_begins_as_kd_at_its_first_temperature():
    method, own = _build()
    terms, plain = method(_batch(1), own), run("kd", _batch(1), temperature=START, weight=0.9)
    torch.testing.assert_close(terms["label"], plain["label"])
    torch.testing.assert_close(terms["soft"], plain["soft"])


def test_without_a_span_it_is_kd_at_the_lowest_temperature_and_trains_no_temperature():
    method, own = _build(lowest=4.0, span=0.0)
    soft_B = method(_batch(50), own)["soft"]
    soft_B.sum().backward()
    torch.testing.assert_close(soft_B, run("kd", _batch(50), temperature=4.0)["soft"])
    assert own.position.grad.item() == 0


def test_the_epoch_changes_the_temperature_s_gradient_and_nothing_else():
    found = []
    for epoch in (1, 200):
        method, own = _build()
        logits_BC = torch.tensor(STUDENT_BC, dtype=torch.float64).requires_grad_()
        soft_B = method(with_student_logits(_batch(epoch), logits_BC), own)["soft"]
        soft_B.sum().backward()
        found.append((soft_B.detach(), logits_BC.grad))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@pytest.mark.parametrize(("epoch", "share"), [
    (1, 0.024471741852423234),  # (1 - cos 18 degrees) / 2
    (5, 0.5),
    (10, 1.0),
    (240, 1.0),
])
def test_the_temperature_ascends_the_loss_by_a_share_that_grows_over_ten_epochs(epoch, share):
    method, own = _build()

    def loss(position: float) -> float:
        with torch.no_grad():
            own.position.fill_(position)
            return method(_batch(epoch), own)["soft"].mean().item()

    slope = (loss(1 + 1e-5) - loss(1 - 1e-5)) / 2e-5
    assert abs(slope) > 1e-3  # else this test would say nothing
    assert _gradient_of_position(epoch) == pytest.approx(-share * slope, rel=1e-6)


def test_a_shorter_curriculum_is_through_earlier():
    assert _gradient_of_position(5, curriculum_epochs=5) == pytest.approx(_gradient_of_position(10))
    assert _gradient_of_position(5, curriculum_epochs=10) == pytest.approx(0.5 * _gradient_of_position(10))


def test_a_step_of_plain_descent_raises_the_loss_by_way_of_the_temperature_alone():
    method, own = _build()
    batch = _batch(10)
    before = method(batch, own)["soft"].mean()
    before.backward()
    with torch.no_grad():
        own.position -= 0.1 * own.position.grad
    assert method(batch, own)["soft"].mean().item() > before.item()


def test_the_temperature_stays_between_its_ends():
    method, own = _build(lowest=2.0, span=3.0)
    for position, temperature in ((-1e4, 2.0), (1e4, 5.0)):
        with torch.no_grad():
            own.position.fill_(position)
        plain = run("kd", _batch(1), temperature=temperature)
        torch.testing.assert_close(method(_batch(1), own)["soft"], plain["soft"])


def test_label_and_teacher_have_weights_of_their_own():
    method, own = _build(label_weight=1.0, weight=1.0)
    terms = method(_batch(1), own)
    assert terms["label"].mean().item() == pytest.approx(3.1129606425, abs=1e-8)
    assert terms["soft"].mean().item() == pytest.approx(3.7155233928212987 / 0.9, abs=1e-8)


def test_a_teacher_that_the_student_agrees_with_pulls_on_no_temperature():
    method, own = _build()
    agreed = dataclasses.replace(_batch(10), student=_batch(10).teacher)
    method(agreed, own)["soft"].sum().backward()
    assert own.position.grad.item() == pytest.approx(0, abs=1e-12)
