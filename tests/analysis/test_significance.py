"""Tests and posteriors by hand, by enumeration, and against scipy, statsmodels, autorank and baycomp."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import significance
from analysis.significance import Comparison, Friedman, Posterior

REFERENCE = json.loads((Path(__file__).parent / "reference_values.json").read_text())
INPUTS, SETTINGS, VALUES = REFERENCE["inputs"], REFERENCE["settings"], REFERENCE["values"]
METHODS = ("ce", "kd", "nkd", "at")
MEANS = {name: {pair: float(np.mean(seeds)) for pair, seeds in INPUTS[name].items()} for name in METHODS}
COUPLES = list(VALUES["wilcoxon"])

# In steps of 0.001, so that ties and zeros are frequent.
DIFFERENCE = st.integers(-20, 20).map(lambda count: count / 1000)
DIFFERENCES = st.lists(DIFFERENCE, min_size=1, max_size=9)
P_VALUES = st.lists(st.floats(0, 1), max_size=8)


def subtract(couple: str) -> list[float]:
    a, b = couple.split(",")
    return [MEANS[a][pair] - MEANS[b][pair] for pair in MEANS[a]]


def probabilities(posterior: Posterior) -> tuple[float, float, float]:
    return posterior.worse, posterior.equal, posterior.better


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


# Bayesian signed rank

@pytest.mark.parametrize("couple", COUPLES)
def test_the_posterior_is_baycomps(couple: str):
    found = significance.bayesian_signed_rank(subtract(couple), rope=SETTINGS["rope"])
    # 50,000 draws each; twenty seeds of ours lay within 0.0065 of theirs
    assert probabilities(found) == pytest.approx(VALUES["posterior"][couple], abs=0.01)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_prior_is_half_a_pair_without_difference(count: int):
    """All differences beyond the rope: only the square of the prior's weight lies within it, and that weight is
    Beta(1/2, n) distributed, so that it wins where it is above sqrt(1/2)."""
    found = significance.bayesian_signed_rank([0.01] * count)
    assert found.equal == pytest.approx(stats.beta(0.5, count).sf(math.sqrt(0.5)), abs=0.004)
    assert found.worse == 0.0


def test_what_the_docstring_says_of_two_and_three_pairs():
    assert significance.bayesian_signed_rank([0.01] * 2).better == pytest.approx(0.96, abs=0.005)
    assert significance.bayesian_signed_rank([0.01] * 3).better == pytest.approx(0.99, abs=0.005)


def test_differences_within_the_rope_are_practically_equal():
    assert probabilities(significance.bayesian_signed_rank([0.0019, -0.0019, 0.001])) == (0.0, 1.0, 0.0)


def test_the_width_of_the_rope_decides():
    differences = [0.004, 0.005, 0.006, 0.005]
    assert significance.bayesian_signed_rank(differences, rope=0.003).better > 0.9
    assert significance.bayesian_signed_rank(differences, rope=0.007).equal == 1.0


def test_a_mean_on_the_edge_counts_half_to_either_side():
    """Of differences 0.2 pp and 1 pp, the mean of the first with itself lies on the edge of a rope of 0.2 pp, its mean
    with the prior's 0 within, and every mean with the second beyond."""
    found = significance.bayesian_signed_rank([0.852 - 0.85, 0.01], rope=0.002)     # 0.0020000000000000018
    _, edge, beyond = np.random.default_rng(1).dirichlet([0.5, 1, 1], size=200_000).T
    better = 1 - (1 - beyond) ** 2 + edge**2 / 2
    assert found.better == pytest.approx((better > 0.5).mean(), abs=0.007)
    assert found.worse == 0.0


def test_without_a_rope_no_difference_is_evenly_split():
    assert probabilities(significance.bayesian_signed_rank([0.0, 0.0], rope=0.0)) == (0.5, 0.0, 0.5)


def test_too_few_pairs_give_no_posterior():
    assert significance.bayesian_signed_rank([]) is None
    assert significance.bayesian_signed_rank([0.01]) is None


@given(st.lists(DIFFERENCE, min_size=2, max_size=8), st.sampled_from([0.0, 0.002, 0.01]))
@settings(deadline=None)
def test_the_posterior_sums_to_one_and_turns_with_the_sign(differences: list[float], rope: float):
    found = significance.bayesian_signed_rank(differences, rope=rope, draws=500)
    turned = significance.bayesian_signed_rank([-value for value in differences], rope=rope, draws=500)
    assert sum(probabilities(found)) == pytest.approx(1, abs=1e-12)
    assert probabilities(turned) == pytest.approx(probabilities(found)[::-1], abs=1e-12)


def test_the_same_seed_gives_the_same_posterior():
    differences = subtract("kd,nkd")
    assert significance.bayesian_signed_rank(differences) == significance.bayesian_signed_rank(differences)
    assert significance.bayesian_signed_rank(differences) != significance.bayesian_signed_rank(differences, seed=1)


def test_guesses_that_do_not_vary_are_exact_differences():
    differences = np.array([0.01, -0.003, 0.004])
    exact = significance.bayesian_signed_rank(differences, draws=20_000)
    assert significance.bayesian_signed_rank(np.tile(differences, (20_000, 1))) == exact


def test_differences_that_seeds_leave_open_decide_less_than_exact_ones():
    couples = [([0.80, 0.84, 0.88], [0.78, 0.82, 0.86])] * 3     # .02 apart, a standard error of .033
    guesses = significance.draw_differences(couples)
    exact = significance.bayesian_signed_rank(guesses.mean(axis=0))
    assert exact.better > 0.98
    assert significance.bayesian_signed_rank(guesses).better < 0.85


def test_a_guess_of_a_mean_is_students_t_around_it():
    drawn = significance.draw_differences([([0.80, 0.81, 0.83], [0.5])], draws=200_000)[:, 0]
    error = np.std([0.80, 0.81, 0.83], ddof=1) / math.sqrt(3)
    for share in (0.05, 0.5, 0.9):
        expected = (0.80 + 0.81 + 0.83) / 3 - 0.5 + error * stats.t.ppf(share, 2)
        assert np.quantile(drawn, share) == pytest.approx(expected, abs=6e-4)


def test_results_of_one_training_are_guessed_once_however_many_pairs_show_them():
    plain, others = [0.80, 0.81, 0.83], ([0.5, 0.6, 0.7], [0.5, 0.6, 0.8])
    names = [("a", "plain"), ("b", "plain"), ("a", "plain")]
    couples = [(others[0], plain), (others[1], plain), (others[0], plain)]
    drawn = significance.draw_differences(couples, names=names)
    assert drawn[:, 0].tolist() == drawn[:, 2].tolist()
    apart = significance.draw_differences(couples)
    assert np.var(apart[:, 0] - apart[:, 2]) > 0
    lone = significance.draw_differences([([0.5], plain), ([0.6], plain)], names=names[:2])
    assert lone[:, 1] - lone[:, 0] == pytest.approx(0.1)    # all that was guessed is the plain student, once


@pytest.mark.parametrize(("seeds", "num_pairs", "known"), [
    ([0.85], 1, False), ([0.85], 5, False), ([0.85], 6, True), ([0.84, 0.86], 1, False), ([0.84, 0.86], 2, True)])
def test_lone_seeds_are_judged_only_where_pairs_alone_could_show_it(seeds: list[float], num_pairs: int, known: bool):
    """Two equal methods on five pairs, one seed each with an sd of 2 pp, were told apart 1 time in 4 before."""
    for couple in ((seeds, [0.80, 0.81]), ([0.80, 0.81], seeds)):
        found = significance.judge_couples([couple] * num_pairs, rope=0.002)
        assert (found is not None) == known


def test_couples_are_judged_by_guesses_of_their_differences():
    couples = [([0.84, 0.85], [0.80, 0.83]), ([0.7, 0.8], [0.75, 0.7]), ([0.6, 0.61], [0.59, 0.6])]
    names = [("a", "plain"), ("b", "plain"), ("c", "plain")]
    guesses = significance.draw_differences(couples, names=names)
    expected = significance.bayesian_signed_rank(guesses, rope=0.01)
    assert significance.judge_couples(couples, names=names, rope=0.01) == expected


def test_every_draw_is_counted():
    """One draw has one winner, and of a hundred the shares are whole hundredths, in one part or in several."""
    assert sorted(probabilities(significance.bayesian_signed_rank([0.01, -0.01], draws=1))) == [0.0, 0.0, 1.0]
    for differences in ([0.01, -0.01, 0.002], np.linspace(-0.01, 0.01, 200)):   # 200 pairs: 50 draws at once
        shares = 100 * np.array(probabilities(significance.bayesian_signed_rank(differences, draws=100)))
        assert shares == pytest.approx(np.rint(shares), abs=1e-9)


def test_a_hundred_pairs_fit_into_memory_in_parts():
    differences = np.linspace(-0.001, 0.011, 100)
    assert significance.bayesian_signed_rank(differences, draws=2000).better > 0.9


# The sentence

@pytest.mark.parametrize(("posterior", "sentence"), [
    (Posterior(0.01, 0.03, 0.96), "nkd is better than kd by more than 0.2 pp with probability 0.96"),
    (Posterior(0.96, 0.03, 0.01), "nkd is worse than kd by more than 0.2 pp with probability 0.96"),
    (Posterior(0.02, 0.95, 0.03), "nkd and kd are practically equal (within 0.2 pp) with probability 0.95"),
    (Posterior(0.0, 0.01, 0.99), "nkd is better than kd by more than 0.2 pp with probability 0.99"),
    (Posterior(0.0, 0.0, 1.0), "nkd is better than kd by more than 0.2 pp with probability above 0.99"),
    (Posterior(0.004, 0.047, 0.949),
     "cannot tell nkd from kd: better 0.94, practically equal (within 0.2 pp) 0.05, worse below 0.01"),
    (Posterior(0.01, 0.3, 0.69),
     "cannot tell nkd from kd: better 0.69, practically equal (within 0.2 pp) 0.30, worse 0.01"),
    (None, "cannot tell nkd from kd: fewer than two pairs have both, or fewer than six with one seed somewhere"),
])
def test_a_posterior_is_said_in_one_sentence(posterior: Posterior | None, sentence: str):
    assert significance.describe_posterior("nkd", "kd", posterior, rope=0.002) == sentence


def test_the_sentence_names_the_width_of_its_rope():
    sentence = significance.describe_posterior("a", "b", Posterior(0.0, 0.0, 1.0), rope=0.0105)
    assert "by more than 1.05 pp" in sentence


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
