"""Rungs: known answers by hand."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sweeps import asha

NAN = math.nan


def test_rungs_are_grace_times_powers_of_eta_below_the_budget():
    assert asha.list_rungs(10, 3, 240) == (10, 30, 90)
    assert asha.list_rungs(1, 3, 9) == (1, 3)
    assert asha.list_rungs(9, 3, 9) == ()


def test_nobody_goes_on_before_eta_trials_have_arrived():
    assert asha.find_promotable({0: 0.9, 1: 0.8}, set(), 3) is None


def test_the_best_of_the_first_eta_goes_on():
    assert asha.find_promotable({0: 0.7, 1: 0.9, 2: 0.8}, set(), 3) == 1


def test_of_six_two_go_on_and_never_a_third():
    values = {0: 0.7, 1: 0.9, 2: 0.8, 3: 0.95, 4: 0.1, 5: 0.2}
    assert asha.find_promotable(values, {1}, 3) == 3
    assert asha.find_promotable(values, {1, 3}, 3) is None


def test_one_that_fell_out_of_the_best_uses_up_its_place_all_the_same():
    values = {0: 0.3, 1: 0.2, 2: 0.1, 3: 0.9, 4: 0.8, 5: 0.7}
    assert asha.find_promotable(values, {0}, 3) == 3
    assert asha.find_promotable(values, {0, 3}, 3) is None


def test_a_tie_goes_to_the_lower_number():
    assert asha.find_promotable({2: 0.5, 0: 0.5, 1: 0.5}, set(), 3) == 0


def test_nan_never_goes_on_even_where_a_place_is_free():
    assert asha.find_promotable({0: NAN, 1: NAN, 2: NAN}, set(), 3) is None
    assert asha.find_best_left({0: NAN, 1: 0.1}, {1}) is None
    assert not asha.passes(0, {0: NAN}, 3)


def test_the_stopping_rule_lets_the_best_third_pass_and_always_the_best():
    assert asha.passes(0, {0: 0.5}, 3)
    assert not asha.passes(1, {0: 0.5, 1: 0.4}, 3)
    assert asha.passes(1, {0: 0.5, 1: 0.6}, 3)
    assert asha.passes(4, {0: 0.5, 1: 0.6, 2: 0.1, 3: 0.2, 4: 0.55, 5: 0.0}, 3)


def test_an_immune_trial_would_pass_where_it_beats_enough_of_the_others():
    others = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5}
    assert asha.would_pass(0.45, others, 3)
    assert not asha.would_pass(0.25, others, 3)


def test_every_twentieth_trial_is_immune_at_five_percent():
    assert [n for n in range(64) if asha.is_immune(n, 0.05)] == [19, 39, 59]
    assert not any(asha.is_immune(n, 0.0) for n in range(100))


@given(st.integers(1, 500), st.integers(2, 5))
def test_of_n_arrivals_in_any_order_exactly_n_over_eta_go_on(count, eta):
    promoted = set()
    values = {}
    for number in range(count):
        values[number] = ((number * 7919) % 997) / 997
        while (best := asha.find_promotable(values, promoted, eta)) is not None:
            promoted.add(best)
    assert len(promoted) == count // eta


@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=30))
def test_a_ranking_holds_every_finite_value_once_best_first(drawn):
    values = dict(enumerate(drawn))
    ranked = asha.rank(values)
    assert sorted(ranked) == [n for n, v in values.items() if not math.isnan(v)]
    assert [values[n] for n in ranked] == sorted((v for v in drawn if not math.isnan(v)), reverse=True)
