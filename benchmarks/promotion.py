"""What early stopping costs: regret and epochs of each stopping rule on drawn curves, side by side in one run.

    python benchmarks/promotion.py [STUDIES]

A curve rises as A - B exp(-epoch / tau) with noise; A, B and tau are drawn per trial, so that slow starters exist.
Regret is the best final value among an arm's trials less that of the trial the rule chose. `textbook` is ASHA as
published: a trial goes on whenever it is in the best 1/eta now, however many went on before. Ours lets floor(n / eta)
of n go on in all.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Set

from sweeps import asha, study
from sweeps.executors.replay import replay
from sweeps.planner import Job

TRIALS, EPOCHS, ETA, GRACE, SLOTS, NOISE = 27, 81, 3, 3, 4, 0.003

STUDY = """\
study: promotion
data: {{name: digits}}
teachers: {{recipe: small, epochs: 2, warmup_epochs: 0}}
pairs: [{{teacher: resnet8(width=4), student: resnet8(width=2)}}]
methods: [ce, {{label: ce_x2, method: ce, weight: 2}}]
tune: {{lr: {{log: [0.01, 0.5]}}}}
fix: {{recipe: small, epochs: {epochs}, warmup_epochs: 0}}
search: {{sampler: random, trials_per_arm: {trials}, seed: {seed}}}
stop: {{rule: {rule}, eta: {eta}, grace: {grace}, immune: 0}}
repeat: {{seeds: 1, train_on: train, epoch: last}}
"""


def find_promotable_by_the_textbook(values: Mapping[int, float], promoted: Set[int], eta: int) -> int | None:
    """The best trial in the best 1/eta that has not gone on yet."""
    return next((number for number in asha.rank(values)[: len(values) // eta] if number not in promoted), None)


def draw_curve(job: Job) -> list[float]:
    """The same curve for a trial whenever asked."""
    drawn = random.Random(job.trial_id)
    top, rise, tau = drawn.gauss(0.7, 0.02), drawn.uniform(0.2, 0.6), 81 * 2 ** drawn.uniform(-6, -2)
    epochs = range(1, job.config.epochs + 1)
    return [top - rise * math.exp(-epoch / tau) + drawn.gauss(0, NOISE) for epoch in epochs]


def run(rule: str, seed: int) -> tuple[list[float], list[int]]:
    """Regret and epochs of each arm of one study."""
    text = STUDY.format(epochs=EPOCHS, trials=TRIALS, eta=ETA, grace=GRACE, rule=rule, seed=seed)
    driver = replay(study.parse(text, "promotion.yaml").at(weights_dir="nowhere"), draw_curve, slots=SLOTS)
    state, regrets, epochs = driver.planner.state, [], []
    for arm in driver.study.arms:
        trials = state.of_arm("tune", arm.arm_id)
        finals = {trial.trial_id: draw_curve(driver.planner.build_job(trial.trial_id))[-1] for trial in trials}
        regrets.append(max(finals.values()) - finals[state.winners[arm.arm_id]])
        epochs.append(sum(trial.epoch for trial in trials))
    return regrets, epochs


def compare(studies: int) -> None:
    ours = asha.find_promotable
    rules: dict[str, tuple[str, Callable]] = {
        "asha (ours)": ("asha", ours),
        "asha (textbook)": ("asha", find_promotable_by_the_textbook),
        "asha_stop": ("asha_stop", ours),
        "none": ("none", ours),
    }
    print(f"{studies} studies of 2 arms x {TRIALS} trials, {EPOCHS} epochs, eta {ETA}, grace {GRACE}, {SLOTS} slots")  # noqa: T201
    for name, (rule, find) in rules.items():
        asha.find_promotable = find
        found = [run(rule, seed) for seed in range(studies)]
        regrets = [100 * regret for both, _ in found for regret in both]
        epochs = [count for _, both in found for count in both]
        mean, high = statistics.mean(regrets), sorted(regrets)[int(0.9 * len(regrets))]
        spent = f"epochs an arm: {min(epochs)} to {max(epochs)}, mean {statistics.mean(epochs):.0f}"
        print(f"{name:16} regret pp: mean {mean:.2f}, 90 % below {high:.2f}   {spent}")  # noqa: T201
    asha.find_promotable = ours


if __name__ == "__main__":
    compare(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
