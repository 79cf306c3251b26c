"""The Bayesian signed-rank test by hand, by enumeration and against baycomp, and the sentence that it comes to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import significance
from analysis.significance import Posterior
from tests.analysis.reference import COUPLES, DIFFERENCE, SETTINGS, VALUES, subtract


def probabilities(posterior: Posterior) -> tuple[float, float, float]:
    return posterior.worse, posterior.equal, posterior.better


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
