"""Proposals: pure, seeded, the paper's settings first, early-stopped trials told as what they are."""

import math
from dataclasses import replace

import optuna
import pytest

from sweeps.search import Asked, propose
from sweeps.space import parse_range
from tests.sweeps.curves import make_study


def _arm(label="kd", **changes):
    return next(arm for arm in make_study(methods="ce, kd, nkd", **changes).arms if arm.label == label)


def _history(arm, count, *, seed=0):
    history = []
    for number in range(count):
        settings = propose(arm, history, sampler="random", seed=seed)
        state = ["completed", "pruned", "failed", "running"][number % 4]
        history.append(Asked(settings, state, value=settings["lr"], values={1: settings["lr"]}))
    return history


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("count", [0, 1, 5, 25])
def test_the_same_history_gives_the_same_proposal(sampler, count):
    arm = _arm()
    history = _history(arm, count)
    first = propose(arm, history, sampler=sampler, seed=3)
    assert propose(arm, list(history), sampler=sampler, seed=3) == first
    assert all(arm.space[name].contains(value) for name, value in first.items())
    assert set(first) == set(arm.space)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_another_seed_or_another_number_gives_another_proposal(sampler):
    arm = _arm()
    history = _history(arm, 12)
    drawn = [propose(arm, history[:n], sampler=sampler, seed=seed)["lr"] for n in (8, 9, 10) for seed in (0, 1)]
    assert len(set(drawn)) == 6


def test_the_papers_settings_come_first():
    arm = _arm("nkd")
    history = []
    for _ in range(3):
        history.append(Asked(propose(arm, history, sampler="tpe", seed=0), "running"))
    points = [(asked.settings["temperature"], asked.settings["gamma"]) for asked in history]
    assert points[:2] == [(1.0, 1.5), (3.0, 3.5)]  # ImageNet and CIFAR-100 settings of NKD
    assert points[2] not in points[:2]


def test_tpe_learns_where_the_good_settings_are():
    arm = _arm()
    history = []
    for _ in range(40):
        settings = propose(arm, history, sampler="tpe", seed=1)
        value = -abs(math.log(settings["lr"] / 0.1))
        history.append(Asked(settings, "completed", value=value))
    late = [abs(math.log(asked.settings["lr"] / 0.1)) for asked in history[25:]]
    blind = [abs(math.log(propose(arm, history[:n], sampler="random", seed=1)["lr"] / 0.1)) for n in range(25, 40)]
    assert sum(late) / 15 < 0.5 * sum(blind) / 15


def test_an_early_stopped_trial_is_told_as_pruned_with_its_rung_values(monkeypatch):
    told = []
    original = optuna.Study.add_trial
    monkeypatch.setattr(optuna.Study, "add_trial", lambda self, trial: (told.append(trial), original(self, trial))[1])
    arm = _arm()
    settings = propose(arm, [], sampler="random", seed=0)
    told.clear()
    history = [
        Asked(settings, "completed", value=0.7),
        Asked(settings, "pruned", values={1: 0.3, 3: 0.4}),
        Asked(settings, "pruned", values={2: math.nan}),
        Asked(settings, "running"),
        Asked(settings, "failed"),
    ]
    propose(arm, history, sampler="tpe", seed=0)
    assert [trial.state.name for trial in told] == ["COMPLETE", "PRUNED", "PRUNED", "RUNNING", "FAIL"]
    assert told[0].value == 0.7
    assert told[1].intermediate_values == {1: 0.3, 3: 0.4}


def test_a_grid_is_gone_through_once_in_a_drawn_order_and_then_again():
    arm = replace(_arm("ce"), space={"lr": parse_range({"choice": [0.1, 0.2, 0.3]}, "tune.lr")})
    drawn = []
    for number in range(6):
        history = [Asked({"lr": lr}, "completed", value=0.0) for lr in drawn]
        assert len(history) == number
        drawn.append(propose(arm, history, sampler="grid", seed=0)["lr"])
    assert sorted(drawn[:3]) == [0.1, 0.2, 0.3]
    assert drawn[3:] == drawn[:3]


def test_an_arm_with_nothing_to_search_proposes_nothing():
    arm = replace(_arm("ce"), space={})
    assert propose(arm, [], sampler="tpe", seed=0) == {}
