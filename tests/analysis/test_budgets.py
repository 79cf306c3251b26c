"""Expected best by hand and by enumeration of every draw; best so far by hand."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.budgets import best_so_far, expected_best

VALUES = [0.71, 0.64, 0.70, 0.71, 0.55, 0.68]
ACCURACIES = st.lists(st.integers(0, 1000).map(lambda count: count / 1000), min_size=1, max_size=12)


@pytest.mark.parametrize("n", range(1, 7))
def test_unbiased_is_the_mean_best_of_every_subset(n: int):
    bests = [max(subset) for subset in itertools.combinations(VALUES, n)]
    assert expected_best(VALUES, n) == pytest.approx(statistics.fmean(bests), abs=1e-14)


@pytest.mark.parametrize("n", range(1, 8))
def test_biased_is_the_mean_best_of_every_draw_with_replacement(n: int):
    bests = [max(draw) for draw in itertools.product(VALUES, repeat=n)]
    assert expected_best(VALUES, n, biased=True) == pytest.approx(statistics.fmean(bests), abs=1e-13)


def test_two_of_three_by_hand():
    # without replacement: best of {1,2} {1,3} {2,3} is 2, 3, 3; with: 1 once, 2 three times, 3 five times of nine
    assert expected_best([3.0, 1.0, 2.0], 2) == pytest.approx(8 / 3)
    assert expected_best([3.0, 1.0, 2.0], 2, biased=True) == pytest.approx(22 / 9)


def test_more_trials_than_there_were_cannot_be_known_without_bias():
    assert expected_best(VALUES, 7) is None
    assert expected_best(VALUES, 7, biased=True) is not None
    assert expected_best([], 1) is None
    assert expected_best([], 1, biased=True) is None


@pytest.mark.parametrize("n", [0, -1])
def test_the_best_of_no_trials_is_refused(n: int):
    with pytest.raises(ValueError, match=rf"best of {n} trials.*\n\nhint: "):
        expected_best(VALUES, n)


def test_ten_thousand_trials_neither_overflow_nor_lose_the_best():
    values = [number / 10_000 for number in range(10_000)]
    # the highest of n drawn from 1 to N without replacement is n (N + 1) / (n + 1) on average; here from 0, over N
    assert expected_best(values, 5_000) == pytest.approx((5_000 * 10_001 / 5_001 - 1) / 10_000, abs=1e-9)


@given(ACCURACIES)
def test_one_trial_is_worth_the_mean_and_all_are_worth_the_best(values: list[float]):
    assert expected_best(values, 1) == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert expected_best(values, 1, biased=True) == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert expected_best(values, len(values)) == pytest.approx(max(values), abs=1e-12)


@given(ACCURACIES, st.randoms())
def test_more_trials_are_never_worth_less_and_their_order_is_nothing(values: list[float], random):
    unbiased = [expected_best(values, n) for n in range(1, len(values) + 1)]
    assert all(before <= after + 1e-12 for before, after in itertools.pairwise(unbiased))
    shuffled = random.sample(values, len(values))
    assert [expected_best(shuffled, n) for n in range(1, len(values) + 1)] == unbiased


@given(ACCURACIES, st.integers(1, 12))
def test_the_biased_form_is_never_above_the_unbiased(values: list[float], n: int):
    if n <= len(values):
        assert expected_best(values, n, biased=True) <= expected_best(values, n) + 1e-12


def test_the_unbiased_form_has_no_bias_and_the_biased_is_low():
    """Every sample of 4 from a population of 2 equally likely values, so that the expectation is exact."""
    truth = 1 - 0.5**3      # best of 3 from {0, 1}
    samples = list(itertools.product([0.0, 1.0], repeat=4))
    unbiased = statistics.fmean(expected_best(sample, 3) for sample in samples)
    biased = statistics.fmean(expected_best(sample, 3, biased=True) for sample in samples)
    assert unbiased == pytest.approx(truth, abs=1e-14)
    assert biased == pytest.approx(math.fsum(  # k ones of 4: 1 - (1 - k/4)^3, each k with C(4, k) / 16
        math.comb(4, ones) / 16 * (1 - (1 - ones / 4) ** 3) for ones in range(5)), abs=1e-14)
    assert biased < truth - 0.05


def test_the_best_so_far_never_falls_and_waits_for_what_is_not_known():
    assert best_so_far([None, 0.5, 0.4, None, 0.7, 0.6]) == [None, 0.5, 0.5, 0.5, 0.7, 0.7]
    assert best_so_far([]) == []
    assert best_so_far([None, None]) == [None, None]
    assert best_so_far([-1.0, 0.0]) == [-1.0, 0.0]     # zero is a value, not a missing one


@given(st.lists(st.none() | st.floats(0, 1)))
def test_the_best_so_far_is_the_highest_of_every_prefix(values: list[float | None]):
    known = [[value for value in values[: place + 1] if value is not None] for place in range(len(values))]
    assert best_so_far(values) == [max(prefix, default=None) for prefix in known]
