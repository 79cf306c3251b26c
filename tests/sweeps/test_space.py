import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sweeps.space import Choice, Linear, Log, Whole, parse_range, read_number, read_whole


def test_the_four_kinds_of_range_are_read_from_mappings():
    assert parse_range({"log": [0.01, 0.2]}, "tune.lr") == Log(0.01, 0.2)
    assert parse_range({"range": [0, 2]}, "tune.x") == Linear(0.0, 2.0)
    assert parse_range({"int": [1, 4]}, "tune.x") == Whole(1, 4)
    assert parse_range({"choice": [1, 2, "a"]}, "tune.x") == Choice((1, 2, "a"))


def test_numbers_that_yaml_leaves_as_text_are_numbers():
    assert parse_range({"log": ["1e-4", "1e-2"]}, "tune.weight_decay") == Log(0.0001, 0.01)
    assert parse_range({"choice": ["1e-4", "0"]}, "tune.x") == Choice((0.0001, 0))
    assert read_whole("1e3") == 1000


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"log": [0.2, 0.02]}, "tune.lr: low 0.2 is above high 0.02\n\nhint: write {log: [0.02, 0.2]}"),
        ({"int": [4, 1]}, "tune.lr: low 4 is above high 1\n\nhint: write {int: [1, 4]}"),
        (
            {"range": [1, 1]},
            "tune.lr: low and high are both 1\n\nhint: a fixed value goes under `fix` or into the method's entry",
        ),
        (
            {"log": [0, 1]},
            "tune.lr: low 0.0 has no logarithm\n\nhint: write {range: [0.0, 1.0]} or a low above 0",
        ),
        ({"log": [0.1]}, "tune.lr: [0.1] is not a low and a high\n\nhint: write {log: [low, high]}"),
        ({"log": [0.1, "much"]}, "tune.lr: 'much' is not a number"),
        ({"log": [True, 2]}, "tune.lr: True is not a number"),
        ({"range": [0, ".inf"]}, "tune.lr: '.inf' is not a number"),
        ({"range": [0, float("inf")]}, "tune.lr: inf is not a number"),
        ({"int": [0.5, 2]}, "tune.lr: 0.5 is not a whole number"),
        ({"choice": []}, "tune.lr: [] is not a list of values\n\nhint: write {choice: [1, 2]}"),
        ({"choice": [1, 1.0]}, "tune.lr: the value 1 stands twice"),
        ({"log": [1, 2], "steps": 1}, "tune.lr: steps 1 is below 2"),
        ({"log": [1, 2], "step": 3}, "tune.lr: no such key `step` in a range. Did you mean `steps`? Known: log, steps"),
        ({"int": [1, 2], "steps": 2}, "tune.lr: no such key `steps` in a range. Known: int"),
    ],
)
def test_a_wrong_range_is_answered_with_what_is_wrong_and_what_to_write(written, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_range(written, "tune.lr")


@pytest.mark.parametrize("written", ["loguniform(0.01, 0.2)", 0.1, None, {}, {"log": [1, 2], "int": [1, 2]}])
def test_what_is_no_range_is_answered_with_the_forms_of_a_range(written):
    forms = r"^tune.lr: .* is not a range\n\nhint: write \{log: \[low, high\]\}, \{range: \[low, high\]\}, "
    with pytest.raises(ValueError, match=forms):
        parse_range(written, "tune.lr")


def test_a_range_holds_its_ends_and_nothing_outside():
    for found in (Log(0.5, 2.0), Linear(0.5, 2.0)):
        assert found.contains(0.5)
        assert found.contains(2.0)
        assert not found.contains(0.49)
        assert not found.contains(2.01)
    assert Whole(1, 3).contains(3)
    assert not Whole(1, 3).contains(2.5)
    assert Choice((1, "a")).contains("a")
    assert not Choice((1, "a")).contains(2)
    assert not Linear(0.0, 2.0).contains("1")
    assert not Linear(0.0, 2.0).contains(True)


def test_a_grid_of_a_log_range_has_equal_ratios_and_of_a_linear_range_equal_distances():
    assert Log(1.0, 8.0, steps=4).grid_points() == pytest.approx((1.0, 2.0, 4.0, 8.0))
    assert Linear(0.0, 3.0, steps=4).grid_points() == pytest.approx((0.0, 1.0, 2.0, 3.0))
    assert Whole(2, 4).grid_points() == (2, 3, 4)
    assert Choice((1, "a")).grid_points() == (1, "a")


def test_a_grid_of_a_range_without_steps_is_refused():
    message = "a grid needs the number of steps\n\nhint: write {log: [1.0, 8.0], steps: n}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Log(1.0, 8.0).grid_points()


def test_optuna_draws_from_the_same_range():
    assert Log(0.01, 0.2).to_optuna() == FloatDistribution(0.01, 0.2, log=True)
    assert Linear(0.0, 2.0).to_optuna() == FloatDistribution(0.0, 2.0)
    assert Whole(1, 4).to_optuna() == IntDistribution(1, 4)
    assert Choice((1, 2)).to_optuna() == CategoricalDistribution((1, 2))


_positive = st.floats(1e-6, 1e6)
_steps = st.none() | st.integers(2, 9)


def _ends(numbers):
    return st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)


_ranges = st.one_of(
    st.builds(lambda ends, steps: Log(*ends, steps), _ends(_positive), _steps),
    st.builds(lambda ends, steps: Linear(*ends, steps), _ends(st.floats(-1e6, 1e6)), _steps),
    st.builds(lambda ends: Whole(*ends), _ends(st.integers(-9, 9))),
    st.builds(Choice, st.lists(st.integers() | st.sampled_from("ab"), min_size=1, unique=True).map(tuple)),
)


@given(_ranges)
def test_a_range_written_out_reads_back_as_itself(found):
    assert parse_range(found.to_json(), "x") == found


@given(_ranges)
def test_every_grid_point_lies_in_the_range(found):
    if getattr(found, "steps", 1) is None:
        return
    points = found.grid_points()
    assert all(found.contains(point) for point in points)
    if isinstance(found, Log | Linear):
        assert points[0] == found.low
        assert points[-1] == found.high
        assert list(points) == sorted(points)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_as_text_is_that_number(number):
    assert read_number(repr(number)) == number
