"""Aggregates by hand, by brute force, and against rliable (reference_values.json)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis import aggregates
from analysis.aggregates import Sample
from tests.analysis.reference import INPUTS, SETTINGS, VALUES

OTHERS = ("kd", "nkd", "at")
# Theirs are of 50,000 repetitions, ours of 20,000. Twenty seeds of ours lay within 0.00004 of theirs (gains) and within
# 0.0004 (share of the gap); not resampling the plain student moves an end by 0.0003 and 0.004.
GAIN_TOLERANCE, SHARE_TOLERANCE = 0.0001, 0.001

ACCURACY = st.integers(0, 1000).map(lambda count: count / 1000)
SEEDS = st.lists(ACCURACY, min_size=1, max_size=6)
PAIRS = st.dictionaries(st.sampled_from("abcdef"), SEEDS, max_size=6)
SAMPLES = st.lists(st.builds(Sample, SEEDS, SEEDS, st.none() | ACCURACY), max_size=6)
TWO_SEEDS = st.lists(ACCURACY, min_size=2, max_size=5)
FULL_SAMPLES = st.lists(st.builds(Sample, TWO_SEEDS, TWO_SEEDS, ACCURACY), min_size=1, max_size=4)


def sample_reference(method: str) -> list[Sample]:
    return [Sample(INPUTS[method][pair], INPUTS["ce"][pair], INPUTS["teacher"][pair]) for pair in INPUTS["teacher"]]


def shift(sample: Sample, by: float) -> Sample:
    teacher = None if sample.teacher is None else sample.teacher + by
    return Sample([value + by for value in sample.method], [value + by for value in sample.plain], teacher)


# Interquartile mean

def test_the_interquartile_mean_cuts_a_quarter_at_each_end():
    assert aggregates.interquartile_mean([100.0, 1.0, 3.0, 2.0]) == 2.5
    assert aggregates.interquartile_mean([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == 4.5


def test_a_quarter_is_rounded_down():
    assert aggregates.interquartile_mean([1.0, 2.0, 9.0]) == 4.0                        # none of three
    assert aggregates.interquartile_mean([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 99.0]) == 3.0   # one of seven


def test_of_nothing_there_is_no_interquartile_mean():
    assert aggregates.interquartile_mean([]) is None
    assert aggregates.iqm_gain([Sample([], [0.8], None), Sample([0.8], [], None)]) is None


@given(st.lists(ACCURACY, min_size=1, max_size=30))
def test_the_interquartile_mean_is_scipys_and_lies_between_the_quartiles(values: list[float]):
    found = aggregates.interquartile_mean(values)
    low, high = np.quantile(values, [0.25, 0.75], method="inverted_cdf")
    assert found == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)
    assert low - 1e-12 <= found <= high + 1e-12


@pytest.mark.parametrize("method", ["ce", *OTHERS])
def test_the_interquartile_mean_is_rliables(method: str):
    values = [value for seeds in INPUTS[method].values() for value in seeds]
    assert aggregates.interquartile_mean(values) == pytest.approx(VALUES["iqm"][method], abs=1e-12)


# Gains

def test_every_seed_is_measured_from_the_mean_of_its_own_pair():
    assert aggregates.seed_gains(Sample([0.82, 0.85], [0.80, 0.82], None)) == pytest.approx([0.01, 0.04])
    assert aggregates.seed_gains(Sample([0.82], [], None)) == []
    assert aggregates.seed_gains(Sample([], [0.8], None)) == []


def test_the_mean_gain_weighs_pairs_and_the_interquartile_mean_seeds():
    samples = [
        Sample([0.84, 0.84, 0.84, 0.84], [0.80], None),     # gains of 0.04, four seeds
        Sample([0.80], [0.80], None),                       # none, one seed
    ]
    assert aggregates.mean_gain(samples) == pytest.approx(0.02)
    assert aggregates.iqm_gain(samples) == pytest.approx(0.04)


def test_a_pair_without_one_of_the_students_has_no_gain():
    known = Sample([0.84], [0.80], None)
    lacking = [Sample([], [0.8], 0.9), Sample([0.8], [], 0.9)]
    assert aggregates.mean_gain([known, *lacking]) == pytest.approx(0.04)
    assert aggregates.mean_gain(lacking) is None


@pytest.mark.parametrize("method", OTHERS)
def test_the_gains_are_rliables(method: str):
    assert aggregates.mean_gain(sample_reference(method)) == pytest.approx(VALUES["mean_gain"][method], abs=1e-12)
    assert aggregates.iqm_gain(sample_reference(method)) == pytest.approx(VALUES["iqm_gain"][method], abs=1e-12)


@given(SAMPLES, st.sampled_from([-0.5, 0.25]), st.randoms())
def test_gains_know_neither_the_level_nor_the_order_of_pairs(samples: list[Sample], by: float, random):
    moved = [shift(sample, by) for sample in random.sample(samples, len(samples))]
    for aggregate in (aggregates.mean_gain, aggregates.iqm_gain):
        assert aggregate(moved) == pytest.approx(aggregate(samples), abs=1e-12)


# Pooled gap closed

def test_the_pooled_gap_closed_is_a_ratio_of_sums_and_not_a_mean_of_ratios():
    samples = [
        Sample([0.85, 0.85], [0.80, 0.80], 0.90),   # 0.05 of 0.10
        Sample([0.90, 0.90], [0.90, 0.90], 0.92),   # 0.00 of 0.02
    ]
    assert aggregates.pooled_gap_closed(samples) == pytest.approx(0.05 / 0.12)


def test_a_pair_with_a_small_gap_stays_in_the_pool():
    steady = Sample([0.85, 0.85], [0.80, 0.80], 0.90)
    unclear = Sample([0.81, 0.81], [0.79, 0.81], 0.81)  # a gap of 0.01 against an error of 0.01
    assert aggregates.pooled_gap_closed([steady, unclear]) == pytest.approx((0.05 + 0.01) / (0.10 + 0.01))


def test_a_pair_that_lacks_something_is_left_out_of_the_pool():
    steady = Sample([0.85, 0.85], [0.80, 0.80], 0.90)
    lacking = [
        Sample([], [0.8, 0.8], 0.9), Sample([0.8], [], 0.9), Sample([0.8], [0.8, 0.8], None), Sample([0.8], [0.8], 0.9)
    ]
    assert aggregates.pooled_gap_closed([steady, *lacking]) == pytest.approx(0.5)
    assert aggregates.pooled_gap_closed(lacking) is None
    assert aggregates.pooled_gap_closed([]) is None


def test_the_pooled_gap_closed_is_hidden_up_to_two_standard_errors():
    plain = [0.75, 0.25]    # mean 0.5, standard error 0.25
    assert aggregates.pooled_gap_closed([Sample([0.75], plain, 1.0)]) is None
    assert aggregates.pooled_gap_closed([Sample([0.75], plain, 1.0 + 1e-9)]) == pytest.approx(0.5)


def test_errors_are_added_over_pairs():
    wide = Sample([0.81], [0.79, 0.81], 0.82)       # gap 0.02, error 0.01
    exact = Sample([0.81], [0.80, 0.80], 0.81)      # gap 0.01, no error
    assert aggregates.pooled_gap_closed([wide]) is None
    assert aggregates.pooled_gap_closed([wide, exact]) == pytest.approx(0.02 / 0.03)
    assert aggregates.pooled_gap_closed([wide, wide]) is None   # errors that averaged out would be 0.014


def test_a_lone_seed_takes_the_assumed_spread():
    published = Sample([0.72], [0.70], 0.74)
    assert aggregates.pooled_gap_closed([published]) is None
    assert aggregates.pooled_gap_closed([published], plain_sd=0.003) == pytest.approx(0.5)
    assert aggregates.pooled_gap_closed([published], plain_sd=0.0) == pytest.approx(0.5)
    assert aggregates.pooled_gap_closed([published], plain_sd=0.03) is None


def test_measured_spread_goes_before_the_assumed():
    measured = Sample([0.72], [0.69, 0.71], 0.725)  # gap 0.025, error 0.01
    assert aggregates.pooled_gap_closed([measured], plain_sd=1.0) == pytest.approx(0.8)


@given(SAMPLES, st.sampled_from([-0.5, 0.25]), st.randoms())
def test_the_pooled_gap_closed_knows_neither_level_nor_order(samples: list[Sample], by: float, random):
    before = aggregates.pooled_gap_closed(samples)
    moved = [shift(sample, by) for sample in random.sample(samples, len(samples))]
    if before is not None and abs(before) < 1e6:    # else the gap is no more than rounding errors
        assert aggregates.pooled_gap_closed(moved) == pytest.approx(before, rel=1e-6, abs=1e-9)


# Bootstrap intervals

@pytest.mark.parametrize("method", OTHERS)
def test_the_intervals_are_rliables(method: str):
    found = aggregates.bootstrap_intervals(sample_reference(method), repetitions=20_000)
    theirs = VALUES["intervals"][method]
    assert found.mean_gain == pytest.approx(theirs["mean_gain"], abs=GAIN_TOLERANCE)
    assert found.iqm_gain == pytest.approx(theirs["iqm_gain"], abs=GAIN_TOLERANCE)
    assert found.pooled_gap_closed == pytest.approx(theirs["pooled_gap_closed"], abs=SHARE_TOLERANCE)


def test_two_seeds_by_enumeration():
    """Each mean is low, middle, middle or high; the gain's 16 cases give its quantiles."""
    sample = Sample([0.80, 0.84], [0.70, 0.72], 0.90)
    found = aggregates.bootstrap_intervals([sample], level=0.8, repetitions=20_000)
    gains = [m - p for m in (0.80, 0.82, 0.82, 0.84) for p in (0.70, 0.71, 0.71, 0.72)]
    ratios = [(m - p) / (0.9 - p) for m in (0.80, 0.82, 0.82, 0.84) for p in (0.70, 0.71, 0.71, 0.72)]
    assert found.mean_gain == pytest.approx(np.quantile(gains, [0.1, 0.9], method="inverted_cdf"), abs=1e-9)
    assert found.pooled_gap_closed == pytest.approx(np.quantile(ratios, [0.1, 0.9], method="inverted_cdf"), abs=1e-9)


def test_a_higher_level_is_wider_and_the_same_seed_repeats():
    samples = sample_reference("nkd")
    narrow, wide = (aggregates.bootstrap_intervals(samples, level=level).iqm_gain for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert aggregates.bootstrap_intervals(samples) == aggregates.bootstrap_intervals(samples)
    assert aggregates.bootstrap_intervals(samples) != aggregates.bootstrap_intervals(samples, seed=1)


@pytest.mark.parametrize("lone", [Sample([0.85], [0.80, 0.81], 0.9), Sample([0.85, 0.86], [0.80], 0.9)])
def test_a_lone_seed_does_not_pass_for_one_without_error(lone: Sample):
    unknown = aggregates.Intervals(None, None, None)
    assert aggregates.bootstrap_intervals([lone]) == unknown
    assert aggregates.bootstrap_intervals([*sample_reference("kd"), lone]) == unknown
    assert aggregates.bootstrap_intervals([]) == unknown


def test_pairs_without_one_of_the_students_change_no_interval():
    samples = sample_reference("kd")
    lacking = [Sample([], [0.8, 0.81], 0.9), Sample([0.8], [], 0.9)]
    assert aggregates.bootstrap_intervals([*samples, *lacking]) == aggregates.bootstrap_intervals(samples)


def test_seeds_that_several_pairs_show_are_drawn_once():
    kd, ce = [0.84, 0.85, 0.87, 0.88], [0.80, 0.81, 0.82]
    once = aggregates.bootstrap_intervals([Sample(kd, ce, 0.9)])
    named = Sample(kd, ce, 0.9, method_name="tf_nkd", plain_name="ce")
    copies = aggregates.bootstrap_intervals([named] * 6)             # they know no more than one
    for found, expected in zip(vars(copies).values(), vars(once).values(), strict=True):
        assert found == pytest.approx(expected)
    apart = aggregates.bootstrap_intervals([Sample(kd, ce, 0.9)] * 6)
    assert apart.mean_gain[1] - apart.mean_gain[0] < 0.6 * (once.mean_gain[1] - once.mean_gain[0])
    exact = [Sample([0.9, 0.9], ce, None, plain_name="ce"), Sample([0.8, 0.8], ce, None, plain_name="ce")]
    low, high = aggregates.bootstrap_intervals(exact).mean_gain     # 0.85 less one plain student, not less two
    lone = aggregates.bootstrap_intervals([Sample([0.85, 0.85], ce, None)]).mean_gain
    assert (low, high) == pytest.approx(lone)


def test_without_a_teacher_a_pair_counts_for_gains_alone():
    samples = sample_reference("kd")
    orphan = Sample([0.5, 0.5], [0.1, 0.1], None)
    plain, with_orphan = aggregates.bootstrap_intervals(samples), aggregates.bootstrap_intervals([*samples, orphan])
    assert with_orphan.pooled_gap_closed == pytest.approx(plain.pooled_gap_closed, abs=SHARE_TOLERANCE)
    assert with_orphan.mean_gain[0] > plain.mean_gain[1]
    assert aggregates.bootstrap_intervals([orphan]).pooled_gap_closed is None
    assert aggregates.bootstrap_intervals([orphan]).mean_gain == pytest.approx((0.4, 0.4))


def test_a_gap_that_may_be_none_bounds_no_ratio():
    plain = [0.80, 0.80, 0.80, 0.80, 0.84]      # mean 0.808, error 0.008
    near = Sample([0.82, 0.83], plain, 0.8285)  # above two errors, below the mean of many resamples
    assert aggregates.pooled_gap_closed([near]) is not None
    assert aggregates.bootstrap_intervals([near]).pooled_gap_closed is None


@given(FULL_SAMPLES)
def test_what_the_intervals_are_of_lies_within_the_seeds_extremes(samples: list[Sample]):
    found = aggregates.bootstrap_intervals(samples, repetitions=50)
    lowest = [min(sample.method) - max(sample.plain) for sample in samples]
    highest = [max(sample.method) - min(sample.plain) for sample in samples]
    for low, high in (found.mean_gain, found.iqm_gain):
        assert min(lowest) - 1e-9 <= low <= high <= max(highest) + 1e-9
    # the mean weighs pairs alike, so its extremes are known exactly
    assert np.mean(lowest) - 1e-9 <= found.mean_gain[0]
    assert found.mean_gain[1] <= np.mean(highest) + 1e-9


@given(TWO_SEEDS, TWO_SEEDS)
def test_seeds_that_agree_leave_no_width(method: list[float], plain: list[float]):
    sample = Sample([method[0]] * 3, [plain[0]] * 2, 2.0)
    gain = method[0] - plain[0]
    found = aggregates.bootstrap_intervals([sample], repetitions=20)
    assert found.mean_gain == pytest.approx((gain, gain), abs=1e-12)
    assert found.iqm_gain == pytest.approx((gain, gain), abs=1e-12)
    assert found.pooled_gap_closed == pytest.approx((gain / (2 - plain[0]),) * 2, abs=1e-12)


# Probability of improvement

def test_the_probability_of_improvement_counts_wins_and_half_of_ties():
    a = {"p1": [3.0, 1.0], "p2": [5.0], "a alone": [0.0]}
    b = {"p1": [1.0, 2.0], "p2": [5.0, 5.0, 9.0], "b alone": [9.0]}
    # p1: 3 beats both, 1 ties one: 2.5 of 4. p2: two ties of three: 1 of 3.
    assert aggregates.probability_of_improvement(a, b) == pytest.approx((2.5 / 4 + 1 / 3) / 2)


def test_a_difference_of_rounding_is_a_tie():
    assert aggregates.probability_of_improvement({"p": [0.1 + 0.2]}, {"p": [0.3]}) == 0.5


def test_without_a_common_pair_there_is_no_probability():
    assert aggregates.probability_of_improvement({"p1": [1.0]}, {"p2": [1.0]}) is None
    assert aggregates.probability_of_improvement({"p1": []}, {"p1": [1.0]}) is None
    assert aggregates.probability_of_improvement({"p1": [1.0]}, {"p1": []}) is None
    assert aggregates.improvement_interval({"p1": [1.0, 2.0]}, {"p2": [1.0, 2.0]}) is None


@pytest.mark.parametrize("couple", VALUES["improvement"])
def test_the_probability_of_improvement_is_rliables(couple: str):
    a, b = (INPUTS[name] for name in couple.split(","))
    theirs = VALUES["improvement_interval"][couple]
    assert aggregates.probability_of_improvement(a, b) == pytest.approx(VALUES["improvement"][couple], abs=1e-12)
    # 2,000 repetitions each; twenty seeds of ours lay within 0.010 of theirs
    assert aggregates.improvement_interval(a, b) == pytest.approx(theirs, abs=0.02)


@given(PAIRS, PAIRS)
def test_the_two_probabilities_of_improvement_sum_to_one(a: dict, b: dict):
    found = aggregates.probability_of_improvement(a, b)
    if found is None:
        assert not set(a) & set(b)
    else:
        assert found + aggregates.probability_of_improvement(b, a) == pytest.approx(1, abs=1e-12)
        both = [(a[pair], b[pair]) for pair in set(a) & set(b)]
        wins = [stats.mannwhitneyu(*seeds).statistic / len(seeds[0]) / len(seeds[1]) for seeds in both]
        assert found == pytest.approx(np.mean(wins), abs=1e-12)


def test_the_interval_of_an_improvement_by_enumeration():
    """Two seeds a side: of 16 resamples, by hand through every draw."""
    a, b = [0.80, 0.90], [0.85, 0.70]
    wins = {(x, y): float(x > y) for x in a for y in b}
    means = [np.mean([wins[x, y] for x in xs for y in ys])
             for xs in itertools.product(a, repeat=2) for ys in itertools.product(b, repeat=2)]
    found = aggregates.improvement_interval({"p": a}, {"p": b}, level=0.6, repetitions=20_000)
    assert found == pytest.approx(np.quantile(means, [0.2, 0.8], method="inverted_cdf"))


def test_a_lone_seed_leaves_no_interval_of_improvement():
    assert aggregates.improvement_interval({"p": [0.8]}, {"p": [0.7, 0.9]}) is None
    assert aggregates.improvement_interval({"p": [0.7, 0.9]}, {"p": [0.8]}) is None
    assert aggregates.improvement_interval({"p": [0.8, 0.9]}, {"p": [0.6, 0.7]}) == (1.0, 1.0)


# Performance profile

def test_the_profile_is_the_share_of_seeds_above_each_threshold():
    scores = {"p1": [0.1, 0.2, 0.3], "p2": [0.4]}
    assert aggregates.performance_profile(scores, [0.0, 0.2, 0.35, 0.4]) == [1.0, 0.5, 0.25, 0.0]
    assert aggregates.performance_profile(scores, []) == []
    assert aggregates.performance_profile({}, [0.1]) is None
    assert aggregates.performance_profile({"p1": []}, [0.1]) is None


@pytest.mark.parametrize("method", VALUES["profile"])
def test_the_profile_is_rliables(method: str):
    found = aggregates.performance_profile(INPUTS[method], SETTINGS["thresholds"])
    assert found == pytest.approx(VALUES["profile"][method], abs=1e-12)


@given(PAIRS.filter(bool), st.lists(st.floats(-1, 2), max_size=8))
def test_a_profile_never_rises_and_stays_between_0_and_1(scores: dict, thresholds: list[float]):
    found = aggregates.performance_profile(scores, sorted(thresholds))
    assert all(0 <= share <= 1 for share in found)
    assert all(before >= after for before, after in itertools.pairwise(found))


def test_a_summed_gap_that_is_rounding_alone_is_none():
    sample = Sample([0.84, 0.85], [0.83] * 10, 0.83 + 4e-16)
    assert aggregates.pooled_gap_closed([sample]) is None
    assert aggregates.bootstrap_intervals([sample]).pooled_gap_closed is None
