"""PS-KD: known answers, what it remembers of whom, and its share, in float64.  B batch, C classes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from kdtrain.method import Batch, build_method
from kdtrain.train import train
from tests.kdtrain.batches import from_logits, make_cards, run
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC
from tests.kdtrain.trials import make_config


def _build(weight: float = 0.8, *, num_classes: int = 6, num_images: int = 9):
    method = build_method("ps_kd", {"weight": weight})
    student, _ = make_cards(num_classes)
    return method, method.build(student, None, num_classes, num_images=num_images).double()


def _at(batch: Batch, epoch: int, *, of: int, index: list[int], share: float = 0.0) -> Batch:
    """The batch after this share of the epoch."""
    return dataclasses.replace(batch, epoch=epoch, progress=(epoch - 1 + share) / of, index_B=torch.tensor(index))


def _log(*rows: tuple[float, ...]) -> list[list[float]]:
    return [[math.log(p) for p in row] for row in rows]


def _total(terms: dict[str, torch.Tensor]) -> list[float]:
    return sum(terms.values()).tolist()


def test_known_answer_of_two_epochs():
    """Epoch 2 of 4: a = 0.8 2/4 = 0.4, targets 0.6 label + 0.4 prediction of epoch 1; worked out in plain Python."""
    method, own = _build(num_classes=3)
    first = from_logits(_log((0.5, 0.3, 0.2), (0.1, 0.6, 0.3)), [0, 2])
    second = from_logits(_log((0.2, 0.2, 0.6), (0.7, 0.2, 0.1)), [0, 2])
    assert _total(method(_at(first, 1, of=4, index=[4, 7]), own)) == pytest.approx([-math.log(0.5), -math.log(0.3)])
    terms = method(_at(second, 2, of=4, index=[4, 7]), own)
    soft = [-(0.5 * math.log(0.2) + 0.3 * math.log(0.2) + 0.2 * math.log(0.6)),
            -(0.1 * math.log(0.7) + 0.6 * math.log(0.2) + 0.3 * math.log(0.1))]
    assert terms["label"].tolist() == pytest.approx([-0.6 * math.log(0.2), -0.6 * math.log(0.1)], abs=1e-12)
    assert terms["soft"].tolist() == pytest.approx([0.4 * loss for loss in soft], abs=1e-12)


def test_the_first_epoch_is_cross_entropy_whatever_the_weight():
    method, own = _build(1.0)
    terms = method(_at(from_logits(STUDENT_BC, LABEL_B), 1, of=1, index=[0, 1, 2, 3], share=0.5), own)
    assert _total(terms) == pytest.approx(run("ce", from_logits(STUDENT_BC, LABEL_B))["label"].tolist())


def test_without_weight_it_is_cross_entropy_in_every_epoch():
    method, own = _build(0.0)
    batch = from_logits(STUDENT_BC, LABEL_B)
    for epoch in (1, 2, 3):
        terms = method(_at(batch, epoch, of=3, index=[0, 1, 2, 3]), own)
        torch.testing.assert_close(terms["label"], run("ce", batch)["label"])
        assert terms["soft"].abs().max().item() == 0


def test_at_full_weight_the_last_epoch_is_kd_with_the_epoch_before_for_a_teacher():
    """But for the teacher's entropy: KD takes the divergence."""
    method, own = _build(1.0)
    before, now = from_logits(TEACHER_BC, LABEL_B), from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)
    method(_at(before, 1, of=2, index=[0, 1, 2, 3]), own)
    terms = method(_at(now, 2, of=2, index=[0, 1, 2, 3]), own)
    teacher_BC = before.student.logits_BC.log_softmax(1)
    entropy_B = -(teacher_BC.exp() * teacher_BC).sum(1)
    plain_B = run("kd", now, temperature=1.0, weight=1.0)["soft"]
    assert terms["label"].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(terms["soft"], plain_B + entropy_B)


def test_each_image_meets_its_own_past_whatever_the_order_and_the_batch():
    method, own = _build(1.0, num_classes=3)
    first = [(0.7, 0.2, 0.1), (0.1, 0.8, 0.1), (0.3, 0.3, 0.4)]
    for place, p in enumerate(first):
        method(_at(from_logits(_log(p), [0]), 1, of=2, index=[place]), own)
    # with logits of 0 save for one class of 1, CE(p, .) tells p_c apart: log(e + 2) - p_c
    seen = {}
    for index in ([2, 0], [1]):
        batch = from_logits([[1.0, 0.0, 0.0]] * len(index), [0] * len(index))
        terms = method(_at(batch, 2, of=2, index=index), own)
        seen |= dict(zip(index, (math.log(math.e + 2) - terms["soft"]).tolist(), strict=True))
    assert seen == {place: pytest.approx(p[0]) for place, p in enumerate(first)}


def test_an_image_that_was_left_out_so_far_counts_by_its_label():
    method, own = _build(1.0)
    batch = from_logits(STUDENT_BC[:2], LABEL_B[:2])
    method(_at(batch, 1, of=2, index=[0, 1]), own)
    terms = method(_at(batch, 2, of=2, index=[0, 8]), own)
    assert terms["soft"][1].item() == pytest.approx(run("ce", batch)["label"][1].item())
    assert terms["soft"][0].item() != pytest.approx(run("ce", batch)["label"][0].item())


@pytest.mark.parametrize(("epoch", "share"), [(2, 0.5), (3, 0.75), (4, 1.0)])
def test_the_share_is_that_of_the_epochs_with_this_one_and_stays_within_it(epoch, share):
    method, own = _build(0.8)
    batch = from_logits(STUDENT_BC, LABEL_B)
    for done in (0.0, 0.25, 0.99):
        terms = method(_at(batch, epoch, of=4, index=[0, 1, 2, 3], share=done), own)
        kept = (terms["label"] / run("ce", batch)["label"]).tolist()
        assert kept == pytest.approx([1 - 0.8 * share] * 4)


def test_the_past_is_no_way_for_the_gradient():
    method, own = _build(1.0)
    past_BC = torch.tensor(TEACHER_BC, dtype=torch.float64).requires_grad_()
    method(_at(from_logits(past_BC, LABEL_B), 1, of=2, index=[0, 1, 2, 3]), own)
    now_BC = torch.tensor(STUDENT_BC, dtype=torch.float64).requires_grad_()
    method(_at(from_logits(now_BC, LABEL_B), 2, of=2, index=[0, 1, 2, 3]), own)["soft"].sum().backward()
    assert past_BC.grad is None
    torch.testing.assert_close(now_BC.grad, now_BC.detach().softmax(1) - past_BC.detach().softmax(1))


def test_a_mixed_label_stands_in_the_label_s_place():
    method, own = _build(0.5, num_classes=3)
    log_p = _log((0.5, 0.3, 0.2))
    mixed = from_logits(log_p, [0], soft_label_BC=[[0.75, 0.25, 0.0]])
    expected = -(0.75 * math.log(0.5) + 0.25 * math.log(0.3))
    assert _total(method(_at(mixed, 1, of=2, index=[5]), own)) == [pytest.approx(expected)]
    later = method(_at(mixed, 2, of=2, index=[5]), own)
    assert later["label"].item() == pytest.approx(0.5 * expected)
    assert later["soft"].item() == pytest.approx(-0.5 * sum(math.exp(x) * x for x in log_p[0]))


def test_in_a_trial_every_image_s_past_is_kept_and_the_share_grows_by_the_epoch():
    config = make_config(method="ps_kd", settings={"weight": 0.9}, epochs=3, train_images=100, schedule="constant")
    shares = []
    for epoch in train(config):
        past_NC = epoch.run.own.prediction_NC
        seen_N = torch.zeros(len(past_NC), dtype=torch.bool)
        seen_N[epoch.run.images.train_index_N] = True
        torch.testing.assert_close(past_NC.sum(1), seen_N.float())
        shares.append(epoch.run.own.measure_share(Batch(None, None, epoch=epoch.row["epoch"], progress=-1.0)))
    assert shares == [0.0, pytest.approx(2 / 3), pytest.approx(1.0)]
