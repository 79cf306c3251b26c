"""Measurements: known answers by hand."""

import math

import pytest
import torch

from kdtrain.evaluate import measure_logits


def _logits(*probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log().float()


def test_top1_nll_and_calibration_of_four_images():
    logits = _logits([0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4])
    found = measure_logits(logits, torch.tensor([0, 1, 1, 0]))
    assert found.top1 == 0.75
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.2) + math.log(0.7) + math.log(0.6)) / 4, abs=1e-6)
    # four bins of one image each: |1 - .9|, |0 - .8|, |1 - .7|, |1 - .6|
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4, abs=1e-6)
    assert found.num_images == 4


def test_images_of_one_confidence_are_averaged_before_the_difference_is_taken():
    found = measure_logits(_logits([0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]), torch.tensor([0, 0, 0, 1]))
    assert found.ece == pytest.approx(0.0, abs=1e-6)


def test_top5_counts_the_five_highest_and_is_missing_below_five_classes():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [6.0, 5, 4, 3, 2, 1]])
    assert measure_logits(logits, torch.tensor([4, 5])).top5 == 0.5
    assert measure_logits(logits[:, :4], torch.tensor([0, 0])).top5 is None


def test_agreement_is_with_the_teachers_choice_not_with_the_label():
    student, teacher = torch.eye(3), torch.eye(3)[[0, 1, 1]]
    found = measure_logits(student, torch.tensor([2, 2, 2]), teacher_logits_NC=teacher)
    assert found.agreement == pytest.approx(2 / 3)
    assert measure_logits(student, torch.tensor([0, 1, 2])).agreement is None


def test_a_certain_answer_is_in_the_last_bin():
    found = measure_logits(torch.tensor([[1e4, 0.0], [1e4, 0.0]]), torch.tensor([0, 1]))
    assert found.ece == pytest.approx(0.5)
