"""Numbers typed out by hand or from scipy."""

from __future__ import annotations

import pytest
from scipy import stats

from analysis import statistics


def test_mean_and_sd_of_three_seeds():
    assert statistics.mean([0.80, 0.81, 0.82]) == pytest.approx(0.81, abs=1e-15)
    assert statistics.sd([0.80, 0.81, 0.82]) == pytest.approx(0.01, abs=1e-15)
    assert statistics.standard_error([1.0, 3.0]) == pytest.approx(1.0, abs=1e-15)


def test_too_few_numbers_give_none_and_not_zero():
    assert statistics.mean([]) is None
    assert statistics.sd([0.8]) is None
    assert statistics.standard_error([0.8]) is None
    assert statistics.t_interval([0.8]) is None
    assert statistics.gain([], [0.8]) is None
    assert statistics.gain([0.8], []) is None


def test_the_interval_is_students():
    # t(0.975, 2) = 4.302653, tables of Student's t; 4.302653 * 0.01 / sqrt(3) = 0.024841
    low, high = statistics.t_interval([0.80, 0.81, 0.82])
    assert (low, high) == (pytest.approx(0.785159, abs=1e-6), pytest.approx(0.834841, abs=1e-6))


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_scipys(level):
    values = [0.71, 0.74, 0.69, 0.73, 0.70]
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert statistics.t_interval(values, level=level) == pytest.approx(tuple(expected), abs=1e-12)


def test_gain_is_the_difference_of_means():
    assert statistics.gain([0.84, 0.86], [0.80, 0.82]) == pytest.approx(0.04)


def test_a_method_halfway_between_student_and_teacher_closes_half_the_gap():
    assert statistics.gap_closed([0.85, 0.85], [0.79, 0.81], 0.90) == pytest.approx(0.5)


def test_gap_closed_is_hidden_below_two_standard_errors():
    plain = [0.79, 0.81]  # standard error 0.01
    assert statistics.gap_closed([0.85], plain, 0.8199) is None
    assert statistics.gap_closed([0.85], plain, 0.8201) == pytest.approx(0.05 / 0.0201)


def test_gap_closed_is_hidden_where_the_student_beats_its_teacher_or_the_error_is_unknown():
    assert statistics.gap_closed([0.85], [0.80, 0.80], 0.70) is None
    assert statistics.gap_closed([0.85], [0.80, 0.80], 0.80) is None
    assert statistics.gap_closed([0.85], [0.80], 0.90) is None
    assert statistics.gap_closed([0.85], [0.80, 0.81], None) is None


def test_a_lone_plain_seed_takes_the_spread_that_is_assumed():
    assert statistics.gap_closed([0.85], [0.80], 0.90, plain_sd=0.003) == pytest.approx(0.5)
    assert statistics.gap_closed([0.85], [0.80], 0.805, plain_sd=0.003) is None     # below two of it
    assert statistics.gap(0.9, [0.80, 0.82], plain_sd=9.0) == pytest.approx(0.09)  # measured goes before assumed


def test_mean_ranks_share_ties_and_use_common_pairs_only():
    ranks, common = statistics.mean_ranks({
        "ce": {"p1": 0.81, "p2": 0.88, "p3": 0.99},
        "kd": {"p1": 0.85, "p2": 0.88 + 1e-15},     # equal but for rounding
        "nkd": {"p1": 0.83, "p2": 0.91},
    })
    assert common == ["p1", "p2"]
    assert ranks == {"ce": 2.75, "kd": 1.75, "nkd": 1.5}


def test_without_a_common_pair_there_are_no_ranks():
    assert statistics.mean_ranks({"ce": {"p1": 0.8}, "kd": {"p2": 0.9}}) == ({}, [])
    assert statistics.mean_ranks({}) == ({}, [])


def test_common_pairs_are_those_of_every_method_in_the_order_of_the_first():
    means = {"ce": {"p3": 0.9, "p1": 0.8, "p2": 0.7}, "kd": {"p1": 0.8, "p2": 0.9, "p3": 0.7, "p4": 0.5}}
    assert statistics.find_common(means) == ["p3", "p1", "p2"]
    assert statistics.find_common(means | {"nkd": {"p2": 0.9}}) == ["p2"]
    assert statistics.find_common(means | {"nkd": {}}) == []
    assert statistics.find_common({}) == []


def test_pairs_that_cannot_be_ordered_can_be_ranked():
    with_teacher, without = ("tiny", "big"), ("tiny", None)
    ranks, common = statistics.mean_ranks({
        "ce": {with_teacher: 0.8, without: 0.8}, "tf_nkd": {with_teacher: 0.9, without: 0.7},
    })
    assert ranks == {"ce": 1.5, "tf_nkd": 1.5}
    assert common == [with_teacher, without]


def test_a_gap_that_is_rounding_alone_is_none():
    plain = [0.83] * 10
    teacher = 0.83 + 4e-16      # as a mean over images may come out
    assert teacher > statistics.mean(plain)
    assert statistics.gap(teacher, plain) is None
    assert statistics.gap_closed([0.84, 0.85], plain, teacher) is None
