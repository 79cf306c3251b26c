"""Tests over pairs by hand, by enumeration, and against scipy, statsmodels and autorank; what seeds can show."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import significance
from analysis.significance import Comparison, Friedman
from tests.analysis.reference import COUPLES, DIFFERENCE, INPUTS, MEANS, METHODS, SETTINGS, VALUES, subtract

DIFFERENCES = st.lists(DIFFERENCE, min_size=1, max_size=9)
P_VALUES = st.lists(st.floats(0, 1), max_size=8)


# Friedman

def test_friedman_by_hand():
    # ranks 1 2 3 on every one of four pairs: 12 / (4 * 3 * 4) * (4^2 + 8^2 + 12^2) - 3 * 4 * 4 = 8; p = exp(-8 / 2)
    means = {"a": dict.fromkeys("pqrs", 0.9), "b": dict.fromkeys("pqrs", 0.8), "c": dict.fromkeys("pqrs", 0.7)}
    found = significance.friedman(means)
    assert (found.num_pairs, found.num_methods) == (4, 3)
    assert found.statistic == pytest.approx(8.0)
    assert found.p == pytest.approx(math.exp(-4))


def test_friedman_is_autoranks():
    found = significance.friedman(MEANS)
    assert found.p == pytest.approx(VALUES["friedman"], abs=1e-12)
    assert (found.num_pairs, found.num_methods) == (8, 4)


def test_friedman_uses_the_common_pairs_alone():
    partial = {name: dict(pairs) for name, pairs in MEANS.items()}
    del partial["kd"]["p1"]
    partial["at"]["elsewhere"] = 0.9
    whole = {name: {pair: mean for pair, mean in pairs.items() if pair != "p1"} for name, pairs in MEANS.items()}
    assert significance.friedman(partial) == significance.friedman(whole)
    assert significance.friedman(partial).num_pairs == 7


def test_friedman_needs_three_methods_and_two_pairs():
    assert significance.friedman({}) is None
    assert significance.friedman({name: MEANS[name] for name in ("ce", "kd")}) is None
    assert significance.friedman({name: {"p1": MEANS[name]["p1"]} for name in METHODS}) is None
    assert significance.friedman({name: {pair: MEANS[name][pair] for pair in ("p1", "p2")} for name in METHODS})


def test_friedman_of_methods_that_tie_everywhere_is_no_evidence_and_not_nan():
    ties = {name: {"p": 0.1 + 0.2 if name == "a" else 0.3, "q": 0.5} for name in "abc"}
    assert significance.friedman(ties) == Friedman(0.0, 1.0, num_pairs=2, num_methods=3)


def test_friedman_shares_the_ranks_of_rounding_errors():
    exact = {"a": {"p": 0.3, "q": 0.9, "r": 0.5}, "b": {"p": 0.3, "q": 0.8, "r": 0.6},
             "c": {"p": 0.2, "q": 0.7, "r": 0.4}}
    rounded = exact | {"a": {"p": 0.1 + 0.2, "q": 0.9, "r": 0.5}}
    assert significance.friedman(rounded) == significance.friedman(exact)
    expected = stats.friedmanchisquare(*(list(pairs.values()) for pairs in exact.values()))
    assert significance.friedman(exact).statistic == pytest.approx(expected.statistic)


# Wilcoxon

def test_wilcoxon_by_hand():
    # ranks 1 to 4, only rank 1 negative: sums up to 1 come of 2 of 16 signs, and as many at the other end
    assert significance.wilcoxon([-0.01, 0.02, 0.03, 0.04]) == 4 / 16
    assert significance.wilcoxon([0.01, 0.02, 0.03, 0.04]) == 2 / 16
    assert significance.wilcoxon([-0.01, -0.02, -0.03, -0.04]) == 2 / 16
    assert significance.wilcoxon([0.01]) == 1.0
    assert significance.wilcoxon([]) is None


def test_a_zero_is_ranked_before_it_is_left_out():
    # ranks with the zero: 2, 3, 4; without it 1, 2, 3. Of the 8 signs of three, those with a sum of up to 2 are
    # none and {2}; with ranks 1, 2, 3 and a sum of up to 1 it is the same here
    assert significance.wilcoxon([0.0, -0.01, 0.02, 0.03]) == 4 / 8
    # ranks 3 to 6, negatives 3 + 4 = 7: sums up to 7 are {} 3 4 5 6 {3,4} = 6 of 16. Were the zeros dropped first,
    # ranks 1 to 4 and a sum of up to 3: {} 1 2 3 {1,2} = 5 of 16
    assert significance.wilcoxon([0.0, 0.0, -0.01, -0.02, 0.03, 0.04]) == 12 / 16


def test_no_difference_at_all_is_no_evidence():
    assert significance.wilcoxon([0.0, 0.0]) == 1.0
    assert significance.wilcoxon([0.1 + 0.2 - 0.3] * 8) == 1.0   # nothing but rounding


@pytest.mark.parametrize("couple", COUPLES)
def test_wilcoxon_is_scipys_and_autoranks(couple: str):
    found = significance.wilcoxon(subtract(couple))
    assert found == pytest.approx(VALUES["wilcoxon"][couple], abs=1e-12)
    assert found == pytest.approx(2 * VALUES["wilcoxon_one_sided"][couple], abs=1e-12)


@given(DIFFERENCES)
@settings(deadline=None)
def test_wilcoxon_is_the_share_of_all_signs_that_are_as_clear(differences: list[float]):
    ranks = stats.rankdata(np.round(np.abs(differences), 6))
    ranks = ranks[np.array(differences) != 0]
    positive = np.array([value for value in differences if value]) > 0
    signs = np.array(list(itertools.product([0, 1], repeat=len(ranks)))).reshape(2 ** len(ranks), len(ranks))
    sums = signs @ ranks
    seen = abs(ranks[positive].sum() - ranks.sum() / 2)
    expected = (abs(sums - ranks.sum() / 2) >= seen - 1e-9).mean()
    assert significance.wilcoxon(differences) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [20, 40])
def test_wilcoxon_is_scipys_exact_one_for_many_pairs(count: int):
    differences = np.random.default_rng(count).normal(0.003, 0.01, count)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert significance.wilcoxon(differences) == pytest.approx(expected, rel=1e-9)


@given(DIFFERENCES)
def test_wilcoxon_knows_neither_the_direction_nor_the_order_nor_the_unit(differences: list[float]):
    found = significance.wilcoxon(differences)
    assert 2 / 2 ** len(differences) <= found <= 1 or len(differences) == 1
    assert significance.wilcoxon([-value for value in differences]) == found
    assert significance.wilcoxon(differences[::-1]) == found
    assert significance.wilcoxon([100 * value for value in differences]) == found


def test_a_hundred_pairs_are_exact_too():
    assert significance.wilcoxon([0.01 + 0.001 * number for number in range(100)]) == pytest.approx(2**-99)


# Holm

def test_holm_by_hand():
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.5, 0.9]) == [1.0, 1.0]
    assert significance.holm([]) == []


def test_holm_is_statsmodels():
    assert significance.holm([VALUES["wilcoxon"][couple] for couple in COUPLES]) == pytest.approx(
        [VALUES["holm"][couple] for couple in COUPLES], abs=1e-12)


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_the_raw_and_bonferronis(p_values: list[float]):
    found = significance.holm(p_values)
    assert all(raw <= p <= min(1, len(p_values) * raw) for raw, p in zip(p_values, found, strict=True))
    pairs = sorted(zip(p_values, found, strict=True))
    assert [p for _, p in pairs] == sorted(found)


# What can be significant

@pytest.mark.parametrize(("num_pairs", "num_comparisons", "possible"), [
    (5, 1, False),      # 2 / 32 = 0.0625
    (6, 1, True),       # 2 / 64 = 0.03125
    (6, 2, False),      # twice that
    (8, 6, True),       # 6 * 2 / 256 = 0.047
    (8, 7, False),      # 0.055
    (0, 1, False),
    (1, 1, False),
])
def test_few_pairs_cannot_be_significant(num_pairs: int, num_comparisons: int, possible: bool):
    assert significance.can_be_significant(num_pairs, num_comparisons) is possible


def test_the_level_itself_is_significant():
    assert significance.can_be_significant(4, 1, level=0.125)
    assert not significance.can_be_significant(4, 1, level=0.1249)


@given(st.integers(1, 12))
def test_the_smallest_p_is_reached_by_differences_of_one_sign(num_pairs: int):
    clearest = significance.wilcoxon([0.01 * (number + 1) for number in range(num_pairs)])
    assert significance.can_be_significant(num_pairs, 1, level=clearest)
    assert not significance.can_be_significant(num_pairs, 1, level=clearest * 0.999)


# Comparisons

def test_a_method_is_compared_with_each_other_in_their_order():
    found = significance.compare_with("nkd", MEANS)
    assert [(c.a, c.b, c.num_pairs) for c in found] == [("nkd", "ce", 8), ("nkd", "kd", 8), ("nkd", "at", 8)]
    raw = [VALUES["wilcoxon"][couple] for couple in ("ce,nkd", "kd,nkd", "nkd,at")]
    assert [c.p for c in found] == pytest.approx(raw)
    assert [c.p_holm for c in found] == pytest.approx([3 * raw[0], raw[1], 2 * raw[2]])
    assert all(c.possible for c in found)


def test_all_comparisons_are_corrected_together():
    found = significance.compare_all(MEANS)
    assert [f"{c.a},{c.b}" for c in found] == COUPLES
    assert [c.p_holm for c in found] == pytest.approx([VALUES["holm"][couple] for couple in COUPLES])


def test_a_comparison_needs_only_the_pairs_of_its_two_methods():
    means = {"ce": {"p1": 0.5, "p2": 0.5}, "kd": {"p1": 0.6, "p2": 0.7, "p3": 0.8}, "nkd": {"p3": 0.9}}
    assert significance.compare_all(means) == [
        Comparison("ce", "kd", 2, 0.5, 1.0, possible=False),
        Comparison("ce", "nkd", 0, None, None, possible=False),
        Comparison("kd", "nkd", 1, 1.0, 1.0, possible=False),
    ]


def test_whether_it_is_possible_counts_the_others_and_their_pairs():
    eight = {f"p{number}": 0.01 * number for number in range(8)}
    six = dict(list(eight.items())[:6])
    zero = dict.fromkeys(eight, 0.0)
    # two comparisons on six pairs each can reach 2 * 0.03125 at best, one of six beside one of eight 0.03125
    assert [c.possible for c in significance.compare_with("ce", {"ce": zero, "a": six, "b": six})] == [False, False]
    assert [c.possible for c in significance.compare_with("ce", {"ce": zero, "a": six, "b": eight})] == [True, True]


def test_a_method_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(ValueError, match=r"^no method `nkdd`. Known: ce, kd, nkd, at$"):
        significance.compare_with("nkdd", MEANS)


def test_one_method_alone_has_nothing_to_compare():
    assert significance.compare_all({"ce": {"p1": 0.5}}) == []
    assert significance.compare_with("ce", {"ce": {"p1": 0.5}}) == []


# Welch, seeds and the smallest detectable difference

@pytest.mark.parametrize("method", METHODS)
def test_the_interval_is_statsmodels_welch(method: str):
    found = significance.welch_interval(INPUTS[method]["p1"], INPUTS["ce"]["p1"])
    assert found == pytest.approx(VALUES["welch_interval"][method], abs=1e-12)


@pytest.mark.parametrize("level", [0.9, 0.99])
def test_the_interval_is_scipys_for_unequal_sizes(level: float):
    a, b = [0.71, 0.74, 0.69, 0.73, 0.70], [0.60, 0.61, 0.605]
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    assert significance.welch_interval(a, b, level=level) == pytest.approx(tuple(expected), abs=1e-12)


def test_seeds_that_agree_leave_no_width():
    assert significance.welch_interval([0.8, 0.8], [0.7, 0.7]) == pytest.approx((0.1, 0.1))


def test_one_seed_on_a_side_tells_no_spread():
    for a, b in ([0.8], [0.7, 0.9]), ([0.7, 0.9], [0.8]), ([], []):
        assert significance.welch_interval(a, b) is None
        assert significance.smallest_detectable(a, b) is None


@pytest.mark.parametrize(("size", "seeds"), [(0.5, 64), (1, 17), (2, 6), (3, 4), (100, 2), (1e9, 2), (0.01, 156_979)])
def test_the_seeds_that_a_difference_needs(size: float, seeds: int):
    assert significance.seeds_needed(size * 0.003, 0.003) == seeds
    assert significance.seeds_needed(-size * 0.003, 0.003) == seeds


def test_the_seeds_needed_are_statsmodels_rounded_up():
    # statsmodels solves for a real number, also below two seeds, where there is no spread to know
    expected = [math.ceil(seeds) for seeds in VALUES["seeds_needed"]]
    assert [significance.seeds_needed(effect, 1) for effect in SETTINGS["effects"]] == expected


def test_no_difference_needs_more_seeds_than_there_are_and_no_spread_needs_two():
    assert significance.seeds_needed(0.0, 0.01) is None
    assert significance.seeds_needed(0.0, 0.0) is None
    assert significance.welch_interval([0.83] * 3, [0.83] * 10) == (0.0, 0.0)   # their means differ by rounding
    rounding = np.mean([0.1, 0.2, 0.3]) - np.mean([0.3, 0.2, 0.1])      # 5.6e-17
    assert significance.seeds_needed(rounding, 0.01) is None
    assert significance.seeds_needed(0.01, 0.0) == 2


@given(st.floats(0.05, 4), st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from([0.01, 0.05, 0.1]))
@settings(deadline=None)
def test_the_seeds_needed_are_enough_and_one_fewer_is_not(size: float, power: float, level: float):
    seeds = significance.seeds_needed(size, 1, power=power, level=level)

    def find_power(count: int) -> float:
        critical = stats.t.isf(level / 2, 2 * count - 2)
        shift = size * math.sqrt(count / 2)
        return stats.nct.sf(critical, 2 * count - 2, shift) + np.nan_to_num(
            stats.nct.cdf(-critical, 2 * count - 2, shift))

    assert find_power(seeds) >= power - 1e-7
    assert seeds == 2 or find_power(seeds - 1) < power + 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_detectable_difference_is_statsmodels(method: str):
    found = significance.smallest_detectable(INPUTS[method]["p1"], INPUTS["ce"]["p1"])
    assert found == pytest.approx(VALUES["smallest_detectable"][method], rel=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 5, 17])
def test_the_smallest_detectable_difference_needs_just_the_seeds_there_were(seeds: int):
    values = np.linspace(0.7, 0.72, seeds)
    delta = significance.smallest_detectable(values, values + 0.05)
    sd = float(np.std(values, ddof=1))
    assert significance.seeds_needed(delta * 1.0001, sd) == seeds
    assert significance.seeds_needed(delta * 0.9999, sd) == seeds + 1


def test_more_power_and_a_stricter_level_need_a_larger_difference():
    a, b = [0.80, 0.81, 0.82], [0.70, 0.71, 0.72]
    usual = significance.smallest_detectable(a, b)
    assert usual == pytest.approx(0.0307, abs=5e-5)    # 3.76 standard errors of 0.01 * sqrt(2 / 3)
    assert significance.smallest_detectable(a, b, power=0.9) > usual
    assert significance.smallest_detectable(a, b, level=0.01) > usual
    assert significance.smallest_detectable([0.8, 0.8], [0.7, 0.7]) == 0.0
