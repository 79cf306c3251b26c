"""Schedules at known moments and against torch's own; what decays, what is clipped."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from kdtrain.model import build_model
from kdtrain.optim import build_optimizer, clip_gradients, compute_lr, is_decayed, load_optimizer
from tests.kdtrain.trials import make_config

EPOCHS, STEPS = 10, 7   # steps of an epoch
SCHEDULES = ["constant", "step", "exponential", "cosine", "linear", "poly", "one_cycle"]


def list_rates(config):
    """Ours before every step of the trial."""
    return [compute_lr(config, epoch + step / STEPS) for epoch in range(config.epochs) for step in range(STEPS)]


def list_torch_rates(build, *, lr=0.1, each_epoch=False, count=EPOCHS * STEPS):
    """The same from one of torch's schedulers, which is stepped after every step of the trial, or after every epoch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = build(optimizer)
    rates = []
    for step in range(1, count + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not each_epoch or step % STEPS == 0:
            scheduler.step()
    return rates


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


def test_swins_schedule_rises_for_20_epochs_and_falls_to_a_hundredth():
    config = make_config(epochs=300, lr=1e-3, schedule="cosine", warmup_epochs=20, min_lr=1e-5)
    rates = {moment: compute_lr(config, moment) for moment in (0, 10, 20, 160, 300)}
    assert rates == pytest.approx({0: 0.0, 10: 5e-4, 20: 1e-3, 160: 5.05e-4, 300: 1e-5})


def test_mobilenets_rate_is_multiplied_by_098_after_each_epoch():
    config = make_config(epochs=300, lr=0.045, schedule="exponential", decay=0.98)
    rates = [compute_lr(config, moment) for moment in (0, 0.99, 1, 2, 299.5)]
    assert rates == pytest.approx([0.045, 0.045, 0.0441, 0.043218, 0.000107104852], rel=1e-9)


def test_an_exponential_rate_falls_only_after_the_warm_up():
    config = make_config(epochs=10, lr=0.1, schedule="exponential", decay=0.5, warmup_epochs=2)
    assert [compute_lr(config, moment) for moment in (1, 2, 2.9, 3, 4)] == pytest.approx([0.05, 0.1, 0.1, 0.05, 0.025])


def test_one_cycle_rises_from_a_25th_for_three_tenths_and_ends_at_a_250000th():
    config = make_config(epochs=10, lr=0.5, schedule="one_cycle")
    rates = {moment: compute_lr(config, moment) for moment in (0, 1.5, 3, 6.5, 10)}
    assert rates == pytest.approx({0: 0.02, 1.5: 0.26, 3: 0.5, 6.5: 0.250001, 10: 0.000002})


def test_poly_falls_with_its_power_to_its_end():
    config = make_config(epochs=10, lr=0.5, schedule="poly", poly_power=2.0, min_lr=0.1)
    rates = {moment: compute_lr(config, moment) for moment in (0, 5, 9, 10)}
    assert rates == pytest.approx({0: 0.5, 5: 0.2, 9: 0.104, 10: 0.1})


@pytest.mark.parametrize(("changes", "build", "each_epoch"), [
    ({"schedule": "step", "milestones": (0.3, 0.8), "decay": 0.2},
     lambda o: lr_scheduler.MultiStepLR(o, [3, 8], gamma=0.2), True),
    ({"schedule": "exponential", "decay": 0.98}, lambda o: lr_scheduler.ExponentialLR(o, 0.98), True),
    ({"schedule": "cosine", "min_lr": 0.003},
     lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS * STEPS, eta_min=0.003), False),
    ({"schedule": "linear", "min_lr": 0.02},
     lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=EPOCHS * STEPS), False),
    ({"schedule": "poly", "poly_power": 0.9},
     lambda o: lr_scheduler.PolynomialLR(o, total_iters=EPOCHS * STEPS, power=0.9), False),
], ids=["step", "exponential", "cosine", "linear", "poly"])
def test_a_schedule_is_torchs_own_at_every_step(changes, build, each_epoch):
    config = make_config(epochs=EPOCHS, lr=0.1, **changes)
    assert list_rates(config) == pytest.approx(list_torch_rates(build, each_epoch=each_epoch), rel=1e-9)


def test_one_cycle_is_torchs_own_at_every_step():
    """torch counts its last step as the end, we the moment after it: with one step more, and the peak where ours is
    (torch has it one step before `pct_start`), the two agree at each."""
    config, steps = make_config(epochs=EPOCHS, lr=0.1, schedule="one_cycle"), EPOCHS * STEPS
    expected = list_torch_rates(lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps + 1, pct_start=(0.3 * steps + 1) / (steps + 1), cycle_momentum=False
    ))
    assert list_rates(config) == pytest.approx(expected, rel=1e-9)


def test_one_cycle_with_all_of_torchs_defaults_is_at_most_a_step_away():
    config, steps = make_config(epochs=EPOCHS, lr=0.1, schedule="one_cycle"), EPOCHS * STEPS
    theirs = list_torch_rates(
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps, cycle_momentum=False)
    )
    rates = [*list_rates(config), compute_lr(config, EPOCHS)]
    for step, rate in enumerate(theirs):
        low, high = sorted(rates[step : step + 2])
        assert low * (1 - 1e-9) <= rate <= high * (1 + 1e-9)


def test_a_warm_up_before_a_cosine_is_torchs_own_at_every_step():
    config = make_config(epochs=EPOCHS, lr=0.1, schedule="cosine", warmup_epochs=2)
    warm = 2 * STEPS

    def build(optimizer):
        rise = lr_scheduler.LinearLR(optimizer, 1e-9, 1.0, total_iters=warm)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * STEPS - warm)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warm])

    assert list_rates(config) == pytest.approx(list_torch_rates(build), rel=1e-6, abs=1e-9)


@given(
    schedule=st.sampled_from(SCHEDULES), epochs=st.integers(1, 300), warmup=st.integers(0, 20),
    power=st.floats(0, 4), floor=st.floats(0, 1), share=st.floats(0, 1, exclude_max=True),
)
def test_a_rate_never_leaves_the_range_from_nothing_to_lr(schedule, epochs, warmup, power, floor, share):
    warmup = 0 if schedule == "one_cycle" else min(warmup, epochs - 1)
    config = make_config(
        epochs=epochs, lr=0.1, schedule=schedule, warmup_epochs=warmup, poly_power=power, min_lr=0.1 * floor,
        milestones=(0.5,), decay=0.9,
    )
    elapsed = share * epochs
    rate = compute_lr(config, elapsed)
    assert 0 <= rate <= 0.1 * (1 + 1e-12)
    if elapsed >= warmup and schedule in ("cosine", "linear", "poly"):
        assert rate >= config.min_lr * (1 - 1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "poly"])
def test_a_falling_schedule_ends_at_min_lr(schedule):
    config = make_config(epochs=10, lr=0.1, schedule=schedule, min_lr=0.004, warmup_epochs=3, poly_power=1.5)
    assert compute_lr(config, 3) == pytest.approx(0.1)
    assert compute_lr(config, 10) == pytest.approx(0.004)


# Optimizers


class Transformer(nn.Module):
    """One of each thing that decays or does not."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 2)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 5, 4))
        self.attention = nn.ParameterDict({"relative_position_bias_table": torch.zeros(9, 2)})


def test_kernels_and_matrices_decay_but_not_biases_norms_scalars_positions_and_tokens():
    decayed = [name for name, parameter in Transformer().named_parameters() if is_decayed(name, parameter)]
    assert decayed == ["convolution.weight", "linear.weight"]


def test_a_bias_of_two_axes_is_a_bias_and_a_matrix_for_positions_is_none():
    matrix = nn.Parameter(torch.zeros(2, 2))
    names = ("head.bias", "bias", "encoder.pos_embed", "pos_embed.weight")
    assert [is_decayed(name, matrix) for name in names] == [False, False, False, True]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_where_norms_do_not_decay_every_parameter_is_in_one_of_two_groups_also_those_of_a_method(optimizer):
    network, own = Transformer(), nn.Linear(2, 3)
    config = make_config(optimizer=optimizer, decay_norms=False, weight_decay=0.05)
    first, second = build_optimizer([network, own], config).param_groups
    assert (first["weight_decay"], second["weight_decay"]) == (0.05, 0.0)
    expected = [network.convolution.weight, network.linear.weight, own.weight]
    assert [id(parameter) for parameter in first["params"]] == [id(parameter) for parameter in expected]
    every = {id(parameter) for module in (network, own) for parameter in module.parameters()}
    assert {id(parameter) for parameter in [*first["params"], *second["params"]]} == every
    assert len(second["params"]) == len(every) - 3


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_where_all_decays_there_is_one_group_in_the_order_of_the_networks(optimizer):
    network, own = Transformer(), nn.Linear(2, 3)
    (group,) = build_optimizer([network, own], make_config(optimizer=optimizer, weight_decay=0.05)).param_groups
    assert group["weight_decay"] == 0.05
    every = [*network.parameters(), *own.parameters()]
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in every]


def test_a_network_without_a_matrix_has_one_group_that_does_not_decay():
    (group,) = build_optimizer([nn.LayerNorm(4)], make_config(decay_norms=False)).param_groups
    assert group["weight_decay"] == 0.0


def test_adamws_first_step_takes_lr_in_the_direction_of_the_gradient_and_decays_apart_from_it():
    """Bias correction makes the first step lr sign(g): 1 (1 - 0.1 * 0.5) - 0.1 = 0.85, and 0.9 without decay."""
    layer = nn.Linear(1, 1)
    optimizer = build_optimizer([layer], make_config(optimizer="adamw", lr=0.1, weight_decay=0.5, decay_norms=False))
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.full_like(parameter, 7.0)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(0.85)
    assert layer.bias.item() == pytest.approx(0.9)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_gradients_are_clipped_by_the_norm_of_all_groups_together():
    layer = nn.Linear(1, 1)
    optimizer = build_optimizer([layer], make_config(decay_norms=False))
    layer.weight.grad, layer.bias.grad = torch.tensor([[3.0]]), torch.tensor([-4.0])
    clip_gradients(optimizer, 10.0)
    assert (layer.weight.grad.item(), layer.bias.grad.item()) == (3.0, -4.0)
    clip_gradients(optimizer, 1.0)
    assert (layer.weight.grad.item(), layer.bias.grad.item()) == pytest.approx((0.6, -0.8), rel=1e-5)


def train_by(optimizer, network, steps, *, first=0):
    """Steps on images of noise that are the same for everyone."""
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        image_BCHW = torch.randn(8, 3, 8, 8, generator=generator, dtype=torch.float64)
        label_B = torch.randint(5, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(image_BCHW.contiguous(memory_format=LAST)), label_B).backward()
        optimizer.step()


def build_twin(**changes):
    """A network in channels_last and our optimizer of it."""
    torch.manual_seed(0)
    network = build_model("wrn_16_1(width=2)", 5, 3).double().to(memory_format=LAST)
    return network, build_optimizer([network], make_config(lr=0.01, **changes))


LAST = torch.channels_last
OPTIMIZERS = [
    ({}, {"momentum": 0.9, "weight_decay": 5e-4}),
    ({"nesterov": True}, {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
    ({"optimizer": "adamw", "weight_decay": 0.05}, {"weight_decay": 0.05}),
]


@pytest.mark.parametrize(("changes", "plain"), OPTIMIZERS)
def test_the_fused_step_is_the_plain_one(changes, plain):
    """Against torch's loop over the parameters, in contiguous memory, in float64."""
    network, optimizer = build_twin(**changes)
    twin, _ = build_twin(**changes)
    twin = twin.to(memory_format=torch.contiguous_format)
    kind = torch.optim.AdamW if "optimizer" in changes else torch.optim.SGD
    train_by(optimizer, network, 4)
    train_by(kind(twin.parameters(), lr=0.01, **plain, fused=False, foreach=False), twin, 4)
    for ours, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("changes", "plain"), OPTIMIZERS)
def test_a_state_that_was_stored_in_another_layout_goes_on_alike(changes, plain):
    network, optimizer = build_twin(**changes)
    train_by(optimizer, network, 2)
    weights, stored = network.state_dict(), copy.deepcopy(optimizer.state_dict())
    for kept in stored["state"].values():
        for name, value in kept.items():
            if value.ndim == 4:
                kept[name] = value.contiguous(memory_format=torch.contiguous_format)
    later, later_optimizer = build_twin(**changes)
    later.load_state_dict(weights)
    load_optimizer(later_optimizer, stored)
    train_by(later_optimizer, later, 2, first=2)
    train_by(optimizer, network, 2, first=2)
    for ours, other in zip(network.parameters(), later.parameters(), strict=True):
        assert torch.equal(ours, other)
