"""What KD, DKD and NKD have to do with each other, on drawn batches, in float64.  B batch, C classes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdtrain.method import Batch
from tests.kdtrain.batches import from_logits, run, with_student_logits
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

temperatures = st.floats(0.5, 8)
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


@st.composite
def batches(draw) -> Batch:
    count, num_classes = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    row = st.lists(st.floats(-10, 10), min_size=num_classes, max_size=num_classes)
    table = st.lists(row, min_size=count, max_size=count)
    label_B = draw(st.lists(st.integers(0, num_classes - 1), min_size=count, max_size=count))
    return from_logits(draw(table), label_B, draw(table))


def _gradient(method: str, term: str, batch: Batch, **settings: float) -> torch.Tensor:
    logits_BC = batch.student.logits_BC.clone().requires_grad_()
    run(method, with_student_logits(batch, logits_BC), **settings)[term].sum().backward()
    return logits_BC.grad


def _target_column(batch: Batch) -> torch.Tensor:
    return torch.nn.functional.one_hot(batch.label_B, batch.student.logits_BC.shape[1]).bool()


@given(batches(), temperatures, st.floats(0.1, 10))
def test_the_distributed_loss_of_nkd_has_the_gradient_of_dkd_s_nontarget_part(batch, temperature, gamma):
    nkd_BC = _gradient("nkd", "distributed", batch, temperature=temperature, gamma=gamma)
    dkd_BC = _gradient("dkd", "nontarget", batch, temperature=temperature, beta=gamma, warmup_epochs=0)
    torch.testing.assert_close(nkd_BC, dkd_BC, **TIGHT)


@given(batches(), temperatures)
def test_the_distributed_loss_of_nkd_leaves_the_target_logit_alone(batch, temperature):
    gradient_BC = _gradient("nkd", "distributed", batch, temperature=temperature)
    assert (gradient_BC[_target_column(batch)] == 0).all()


@given(batches(), temperatures, st.floats(-10, 10), st.floats(-10, 10))
def test_the_distributed_loss_of_nkd_sees_neither_target_logits_nor_constants(batch, temperature, target, constant):
    def move(logits_BC: torch.Tensor) -> torch.Tensor:
        return torch.where(_target_column(batch), target, logits_BC) + constant

    moved = from_logits(move(batch.student.logits_BC), batch.label_B, move(batch.teacher.logits_BC))
    before, after = (run("nkd", b, temperature=temperature)["distributed"] for b in (batch, moved))
    torch.testing.assert_close(after, before, **TIGHT)


@given(batches(), temperatures)
def test_the_distributed_loss_of_nkd_is_least_where_student_and_teacher_agree(batch, temperature):
    agreed = dataclasses.replace(batch, student=batch.teacher)
    settings = {"temperature": temperature, "gamma": 1.0}
    excess_B = run("nkd", batch, **settings)["distributed"] - run("nkd", agreed, **settings)["distributed"]
    assert (excess_B > -1e-9).all()
    assert _gradient("nkd", "distributed", agreed, **settings).abs().max() < 1e-9


def test_the_least_distributed_loss_is_the_teacher_s_entropy_times_weight_and_squared_temperature():
    # three equal non-target classes: entropy log 3
    batch = from_logits([[5.0, 1.0, 1.0, 1.0]], [0], [[-2.0, 3.0, 3.0, 3.0]])
    loss_B = run("nkd", batch, temperature=2.0, gamma=3.5)["distributed"]
    assert loss_B.item() == pytest.approx(3.5 * 4 * 1.0986122886681098, abs=1e-12)


@given(batches())
def test_plain_cross_entropy_with_the_teacher_factors_into_nkd_s_parts(batch):
    """-sum_{i != y} T_i log S_i = (1 - T_y) [distributed - log(1 - S_y)], at temperature 1."""
    teacher_BC, student_BC = batch.teacher.logits_BC.softmax(1), batch.student.logits_BC.softmax(1)
    target_BC = _target_column(batch)
    plain_B = -(teacher_BC * student_BC.log()).masked_fill(target_BC, 0).sum(1)
    distributed_B = run("nkd", batch, temperature=1.0, gamma=1.0)["distributed"]
    others_B = [values_BC.masked_fill(target_BC, 0).sum(1) for values_BC in (teacher_BC, student_BC)]
    torch.testing.assert_close(plain_B, others_B[0] * (distributed_B - others_B[1].log()), rtol=1e-9, atol=1e-9)


def test_nkd_with_a_certain_teacher_and_no_gamma_is_twice_cross_entropy():
    certain_BC = 1e4 * torch.nn.functional.one_hot(torch.tensor(LABEL_B), 6)
    terms = run("nkd", from_logits(STUDENT_BC, LABEL_B, certain_BC), gamma=0.0)
    assert sum(terms.values()).mean().item() == pytest.approx(2 * 3.1129606425, abs=1e-8)


def test_nkd_takes_one_target_a_sample_where_labels_are_mixed():
    mixed_BC = [[0.7, 0.3, 0, 0, 0, 0], [0, 0, 0.2, 0.8, 0, 0], [0, 0, 0.4, 0, 0, 0.6], [0.1, 0, 0.9, 0, 0, 0]]
    hard = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)
    mixed = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC, soft_label_BC=mixed_BC)
    before, after = run("nkd", hard), run("nkd", mixed)
    torch.testing.assert_close(after["soft"], before["soft"])
    torch.testing.assert_close(after["distributed"], before["distributed"])
    log_p_C = torch.tensor(STUDENT_BC[0], dtype=torch.float64).log_softmax(0)
    assert after["label"][0].item() == pytest.approx(-(0.7 * log_p_C[0] + 0.3 * log_p_C[1]).item(), abs=1e-12)


@given(batches())
def test_with_two_classes_nothing_is_left_to_distribute(batch):
    two = from_logits(batch.student.logits_BC[:, :2], batch.label_B % 2, batch.teacher.logits_BC[:, :2])
    assert (run("nkd", two)["distributed"] == 0).all()
    assert (_gradient("nkd", "distributed", two) == 0).all()
    assert (run("dkd", two)["nontarget"] == 0).all()


@given(batches(), temperatures)
def test_kd_is_dkd_with_the_nontarget_part_scaled_by_the_teacher_s_doubt(batch, temperature):
    kd_B = run("kd", batch, temperature=temperature, weight=1.0)["soft"]
    dkd = run("dkd", batch, temperature=temperature, alpha=1.0, beta=1.0, warmup_epochs=0)
    confidence_B = (batch.teacher.logits_BC / temperature).softmax(1)[_target_column(batch)]
    torch.testing.assert_close(kd_B, dkd["target"] + (1 - confidence_B) * dkd["nontarget"], rtol=1e-8, atol=1e-8)


@given(batches())
def test_kd_without_weight_is_cross_entropy_and_at_full_weight_ignores_the_label(batch):
    plain, full = run("kd", batch, weight=0.0), run("kd", batch, weight=1.0)
    torch.testing.assert_close(sum(plain.values()), run("ce", batch)["label"], **TIGHT)
    assert (full["label"] == 0).all()


@given(batches())
def test_a_student_that_agrees_with_its_teacher_has_no_divergence(batch):
    agreed = dataclasses.replace(batch, student=batch.teacher)
    assert run("kd", agreed)["soft"].abs().max() < 1e-12
    assert run("dkd", agreed)["target"].abs().max() < 1e-12
    assert run("dkd", agreed)["nontarget"].abs().max() < 1e-12


@pytest.mark.parametrize(("epoch", "share"), [(1, 0.05), (5, 0.25), (20, 1.0), (240, 1.0)])
def test_dkd_warms_both_parts_up_over_twenty_epochs_and_never_the_label(epoch, share):
    full = run("dkd", from_logits(STUDENT_BC, LABEL_B, TEACHER_BC), warmup_epochs=0)
    warm = run("dkd", from_logits(STUDENT_BC, LABEL_B, TEACHER_BC, epoch=epoch))
    torch.testing.assert_close(warm["label"], full["label"])
    torch.testing.assert_close(warm["target"], share * full["target"])
    torch.testing.assert_close(warm["nontarget"], share * full["nontarget"])


def test_label_smoothing_of_a_mixed_label_smooths_the_mixture():
    soft_label_BC = [[0.75, 0.25]]
    batch = from_logits([[0.0, 1.0]], [0], soft_label_BC=soft_label_BC)
    # target 0.8 (0.75, 0.25) + 0.2 (0.5, 0.5) = (0.7, 0.3); log p = -1.3132616875, -0.3132616875
    total = sum(run("label_smoothing", batch, smoothing=0.2).values())
    assert total.item() == pytest.approx(0.7 * 1.3132616875 + 0.3 * 0.3132616875, abs=1e-9)


@pytest.mark.parametrize(("method", "setting", "value", "says"), [
    ("kd", "weight", 1.5, "weight: 1.5 is not a number from 0 to 1"),
    ("kd", "temperature", 0, "temperature: 0 is not a number above 0"),
    ("ce", "weight", "2", "weight: '2' is not a number above 0"),
    ("label_smoothing", "smoothing", 2, "smoothing: 2 is not a number from 0 to 1"),
    ("nkd", "gamma", True, "gamma: True is not a number from 0"),
])
def test_a_setting_out_of_range_is_refused_in_one_sentence(method, setting, value, says):
    with pytest.raises(ValueError, match=f"^{says}$"):
        run(method, from_logits([[0.0, 1.0]], [0], [[0.0, 1.0]]), **{setting: value})
