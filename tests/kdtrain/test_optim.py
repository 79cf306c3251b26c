"""Schedules: the learning rate at known moments."""

import pytest

from kdtrain.optim import compute_lr
from tests.kdtrain.trials import make_config


def test_the_crd_schedule_uses_the_new_rate_first_in_epoch_151_181_and_211():
    config = make_config(epochs=240, lr=0.05, schedule="step", milestones=(0.625, 0.75, 0.875))
    rates = {epoch: compute_lr(config, epoch - 1) for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}
    assert rates == pytest.approx({
        1: 0.05, 150: 0.05, 151: 0.005, 180: 0.005, 181: 0.0005, 210: 0.0005, 211: 0.00005, 240: 0.00005,
    })
    assert compute_lr(config, 149.99) == pytest.approx(0.05)


def test_cosine_starts_at_lr_halves_in_the_middle_and_ends_at_nothing():
    config = make_config(epochs=10, lr=0.1, schedule="cosine")
    assert compute_lr(config, 0) == pytest.approx(0.1)
    assert compute_lr(config, 5) == pytest.approx(0.05)
    assert compute_lr(config, 10) == pytest.approx(0.0)


def test_a_warm_up_rises_to_lr_and_the_schedule_starts_after_it():
    config = make_config(epochs=10, lr=0.1, schedule="cosine", warmup_epochs=2)
    assert compute_lr(config, 0) == 0.0
    assert compute_lr(config, 1) == pytest.approx(0.05)
    assert compute_lr(config, 2) == pytest.approx(0.1)
    assert compute_lr(config, 6) == pytest.approx(0.05)


def test_a_constant_rate_stays():
    config = make_config(epochs=10, lr=0.3, schedule="constant")
    assert {compute_lr(config, moment) for moment in (0, 3.3, 9.9)} == {0.3}
