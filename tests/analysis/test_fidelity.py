"""What a rung predicts: known orders, scipy as the reference, and who is measured at all."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import analysis
from analysis import fidelity
from tests.analysis.make_search import Curve, make_search, write_search
from tests.analysis.make_study import arms, write_study

STOP = {"rule": "asha", "eta": 3, "grace": 1, "immune": 0.5}
FINALS = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
VALUES = st.lists(st.integers(0, 5), min_size=2, max_size=9)  # few values, so that there are ties


def _measure(tmp_path, *curves, stop=STOP, epochs=None):
    """The answer for one study whose first arms have these curves."""
    write_study(tmp_path, stop=stop, search={"trials_per_arm": 20})
    for arm, own in zip(arms(), curves, strict=False):
        write_search(tmp_path, arm, own, planned=3)
    return fidelity.measure(analysis.open(tmp_path), epochs=epochs)


def _immune(rung, finals):
    return [Curve([value, None, final], immune=True) for value, final in zip(rung, finals, strict=True)]


def test_a_rung_in_the_order_of_the_end_predicts_it(tmp_path):
    row = _measure(tmp_path, _immune(FINALS, FINALS)).rows[0]
    assert (row["epoch"], row["num_arms"], row["num_trials"], row["tau"]) == (1, 1, 6, 1.0)
    assert (row["regret"], row["best_stopped"]) == (0.0, 0.0)


def test_a_rung_in_the_reverse_order_stops_the_best(tmp_path):
    row = _measure(tmp_path, _immune(FINALS[::-1], FINALS)).rows[0]
    assert (row["tau"], row["best_stopped"]) == (-1.0, 1.0)
    assert row["regret"] == pytest.approx(0.9 - 0.5)  # the best two of six pass: 0.4 and 0.5


def test_of_five_trials_one_passes_where_one_in_three_goes_on():
    found = fidelity.judge_stopping(np.array([0.5, 0.4, 0.3, 0.2, 0.1]), np.array([0.8, 0.9, 0.7, 0.6, 0.5]), eta=3)
    assert found.regret == pytest.approx(0.9 - 0.8)
    assert found.best_stopped_by_chance == pytest.approx(4 / 5)


def test_chance_is_what_passing_at_random_would_lose(tmp_path):
    row = _measure(tmp_path, _immune([0.3, 0.2, 0.1], [0.9, 0.6, 0.3])).rows[0]
    assert row["regret_by_chance"] == pytest.approx(0.9 - 0.6)  # one of three passes, on average the mean
    assert row["best_stopped_by_chance"] == pytest.approx(2 / 3)


def test_trials_are_compared_within_their_arm_alone(tmp_path):
    # over both arms together the order would be reversed: the second arm starts higher and ends lower
    answer = _measure(tmp_path, _immune([0.1, 0.2], [0.8, 0.9]), _immune([0.5, 0.6], [0.3, 0.4]))
    row = answer.rows[0]
    assert (row["num_arms"], row["num_trials"], row["tau"], row["regret"]) == (2, 4, 1.0, 0.0)


def test_survivors_of_stopping_are_not_evidence(tmp_path):
    survivors = [Curve([0.2 + place / 10, None, final]) for place, final in enumerate(FINALS)]
    answer = _measure(tmp_path, [*survivors, *_immune([0.5], [0.6])])
    row = answer.rows[0]
    assert (row["num_arms"], row["num_trials"]) == (0, 0)
    assert [row[name] for name in ("tau", "tau_low", "regret", "best_stopped", "best_stopped_low")] == [None] * 5
    assert answer.notes == (
        "tiny-study: no arm has two immune trials that ran to the end, and the survivors of stopping were selected by "
        "the very values in question; set stop.immune to 0.1 or more",
    )


def test_where_nothing_is_stopped_every_trial_is_evidence(tmp_path):
    curves = [Curve([value, None, final]) for value, final in zip(FINALS, FINALS, strict=True)]
    row = _measure(tmp_path, curves, stop=STOP | {"rule": "none"}).rows[0]
    assert (row["epoch"], row["num_trials"], row["tau"]) == (1, 6, 1.0)


def test_a_diverged_trial_is_the_worst_and_a_failed_one_is_left_out(tmp_path):
    diverged = Curve([0.9, None], "diverged", immune=True)
    failed = Curve([0.95], "failed", immune=True)
    answer = _measure(tmp_path, [*_immune([0.5, 0.4], [0.7, 0.6]), diverged, failed])
    row = answer.rows[0]
    assert row["num_trials"] == 3
    assert row["tau"] == pytest.approx(-1 / 3)  # of three pairs, the two with the diverged trial are discordant
    assert row["regret"] == 0.0                 # it passed alone and diverged, so the next one goes on
    assert any("1 of them failed" in note for note in answer.notes)
    assert any("1 of them diverged" in note for note in answer.notes)


def test_a_trial_that_diverged_before_the_rung_never_reached_it(tmp_path):
    row = _measure(tmp_path, [*_immune([0.5, 0.4], [0.7, 0.6]), Curve([0.9], "diverged", immune=True)], epochs=[2])
    assert row.rows[0]["num_trials"] == 2


def test_an_arm_in_which_all_diverged_has_no_best_to_lose(tmp_path):
    diverged = Curve([0.5, None], "diverged", immune=True)
    row = _measure(tmp_path, [diverged, diverged], _immune([0.2, 0.1], [0.9, 0.6])).rows[0]
    assert (row["num_arms"], row["num_trials"], row["regret"]) == (1, 2, 0.0)


def test_a_missing_value_at_the_rung_is_the_worst(tmp_path):
    row = _measure(tmp_path, _immune([None, 0.4, 0.3], [0.9, 0.8, 0.7])).rows[0]
    assert row["tau"] == pytest.approx(-1 / 3)
    assert row["regret"] == pytest.approx(0.1)


def test_rungs_are_the_studys_own_or_those_asked_for(tmp_path):
    results = analysis.open(make_search(tmp_path, trials=4, epochs=10))
    assert [row["epoch"] for row in fidelity.measure(results).rows] == [1, 3, 9]
    assert [row["epoch"] for row in fidelity.measure(results, epochs=[8, 2, 8]).rows] == [2, 8]


@pytest.mark.parametrize("epoch", [0, 10, 11])
def test_an_epoch_that_is_not_before_the_end_is_no_rung(tmp_path, epoch):
    results = analysis.open(make_search(tmp_path, trials=2, epochs=10))
    with pytest.raises(ValueError, match=f"epoch {epoch} is no rung of search-s1, whose trials end at epoch 10\n\nh"):
        fidelity.measure(results, epochs=[epoch])


def test_a_large_arm_has_a_row_of_its_own(tmp_path):
    answer = fidelity.measure(analysis.open(make_search(tmp_path, trials=10, epochs=3)))
    assert [row["method"] for row in answer.rows] == [None, "ce", "kd", "tf_nkd", "ce", "kd", "tf_nkd"]
    assert [row["num_trials"] for row in answer.rows] == [60, 10, 10, 10, 10, 10, 10]
    assert len(fidelity.measure(analysis.open(make_search(tmp_path, trials=9, epochs=3))).rows) == 1


def test_studies_are_not_mixed(tmp_path):
    make_search(tmp_path / "a", trials=4, epochs=3)
    make_search(tmp_path / "b", trials=5, epochs=3, study_id="s2")
    rows = fidelity.measure(analysis.open([tmp_path / "a", tmp_path / "b"])).rows
    assert [(row["study"], row["num_trials"]) for row in rows] == [("search-s1", 24), ("search-s2", 30)]


def test_a_study_without_final_trials_says_so(tmp_path):
    write_study(tmp_path, stop=STOP)
    answer = fidelity.measure(analysis.open(tmp_path))
    assert answer.rows == ()
    assert answer.notes == ("tiny-study: no searched trial is final yet, or none has a rung before its last epoch",)


def test_the_same_tables_give_the_same_interval(tmp_path):
    results = analysis.open(make_search(tmp_path, trials=6, epochs=9, noise=0.2))
    first = fidelity.measure(results)
    assert first == fidelity.measure(results)
    assert all(row["tau_low"] < row["tau"] < row["tau_high"] for row in first.rows)


@given(VALUES.flatmap(lambda x: st.tuples(st.just(x), st.lists(st.integers(0, 5), min_size=len(x), max_size=len(x)))))
def test_tau_of_one_arm_is_kendalls_tau_b(columns):
    rung, final = (np.array(column, dtype=float) for column in columns)
    expected = stats.kendalltau(rung, final).statistic
    found = fidelity.measure_tau([(rung, final)])
    assert found is None if math.isnan(expected) else found == pytest.approx(expected)


def test_tau_over_arms_counts_every_pair_within_an_arm_once():
    rising, falling = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    two = (rising[:2], rising[:2])
    assert fidelity.measure_tau([(rising, falling), two]) == pytest.approx((1 - 3) / 4)


def test_tau_of_many_trials_is_that_of_all_their_pairs():
    rng = np.random.default_rng(0)
    final = rng.standard_normal(1100)  # more than are held at once
    rung = final + rng.standard_normal(1100)
    assert fidelity.measure_tau([(rung, final)]) == pytest.approx(stats.kendalltau(rung, final).statistic)


@given(VALUES, st.randoms(use_true_random=False), st.sampled_from([2, 3, 4]))
def test_regret_is_never_negative_and_no_more_than_the_range(values, random, eta):
    final = np.array(values, dtype=float)
    rung = np.array(random.sample(values, len(values)), dtype=float)
    found = fidelity.judge_stopping(rung, final, eta=eta)
    assert 0 <= found.regret <= final.max() - final.min()
    assert found.best_stopped == (found.regret > 0)
    assert fidelity.judge_stopping(final, final, eta=eta).regret == 0


@given(st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True), st.sampled_from([2, 3]))
def test_regret_by_chance_is_the_mean_over_all_orders(values, eta):
    final = np.array(values, dtype=float)
    found = [fidelity.judge_stopping(np.array(order, dtype=float), final, eta=eta)
             for order in permutations(range(len(values)))]
    assert found[0].regret_by_chance == pytest.approx(np.mean([one.regret for one in found]))
    assert found[0].best_stopped_by_chance == pytest.approx(np.mean([one.best_stopped for one in found]))


def test_the_interval_of_tau_covers_the_truth():
    # 15 arms of 6 trials; final and rung are normal with correlation 0.7, so tau is 2 asin(0.7) / pi
    rng, hits = np.random.default_rng(0), 0
    for _ in range(40):
        final = rng.standard_normal((15, 6))
        rung = 0.7 * final + math.sqrt(1 - 0.7**2) * rng.standard_normal((15, 6))
        low, high = fidelity.bound_tau(list(zip(rung, final, strict=True)))
        hits += low <= 2 / math.pi * math.asin(0.7) <= high
    assert hits >= 34  # of 40; were it 95 %, fewer in one run of 200


def test_the_interval_of_unrelated_values_is_as_wide_as_known():
    # Kendall 1938: where there is no relation, tau has the variance 2 (2n + 5) / (9 n (n - 1)); here its root is 0.0474
    rng = np.random.default_rng(0)
    rung, final = rng.standard_normal((2, 200))
    tau = fidelity.measure_tau([(rung, final)])
    low, high = fidelity.bound_tau([(rung, final)])
    assert tau - low == pytest.approx(1.96 * 0.0474, rel=0.15)
    assert high - tau == pytest.approx(1.96 * 0.0474, rel=0.15)


def test_there_is_no_interval_where_all_pairs_agree():
    rising = np.arange(5.0)
    assert fidelity.bound_tau([(rising, rising)]) is None
    assert fidelity.bound_tau([(rising, -rising)]) is None
    assert fidelity.bound_tau([]) is None


def test_equal_regrets_have_no_interval(tmp_path):
    curves = _immune(FINALS, FINALS)
    row = _measure(tmp_path, curves, curves).rows[0]
    assert (row["regret"], row["regret_low"], row["regret_high"]) == (0.0, None, None)
    assert (row["best_stopped_low"], row["best_stopped_high"]) == pytest.approx((0.0, 0.657620), abs=1e-6)  # 0 of 2


def test_the_interval_of_regret_is_students_and_not_below_zero(tmp_path):
    row = _measure(tmp_path, _immune([0.2, 0.1], [0.9, 0.6]), _immune([0.1, 0.2], [0.9, 0.6])).rows[0]
    assert row["regret"] == pytest.approx(0.15)  # of 0 and 0.3
    assert row["regret_low"] == 0.0
    assert row["regret_high"] == pytest.approx(0.15 + 12.7062 * 0.15, abs=1e-5)  # t at 1 degree of freedom
