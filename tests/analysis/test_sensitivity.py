from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis import ranges
from analysis.sensitivity import measure
from tests.analysis.make_settings import draw_trials, make_settings

KD = {"lr": {"log": [0.01, 1.0]}, "temperature": {"log": [1.0, 8.0]}, "weight": {"range": [0.1, 1.0]}}
TF_NKD = {"lr": {"log": [0.01, 1.0]}, "power": {"choice": [1.0, 2.0]}, "smoothing": {"range": [0.0, 2.0]}}
CE = {"lr": {"log": [0.01, 1.0]}}


@pytest.fixture
def study_of(tmp_path):
    """Builds a study of one arm, kd, from its space and trials."""
    def build(space, trials, **options):
        return analysis.open(make_settings(tmp_path / "study", {"kd": (space, trials)}, **options))
    return build


def kd(temperature, weight, value, lr=0.1):
    return {"lr": lr, "temperature": temperature, "weight": weight}, value


def cell(answer, x_low, y_low=None):
    found, = (row for row in answer.rows if (row["x_low"], row["y_low"]) == (x_low, y_low))
    return found


def test_a_cell_is_the_mean_of_its_trials(study_of):
    answer = measure(study_of(KD, [kd(1.0, 0.2, 0.80), kd(2.0, 0.3, 0.82), kd(5.0, 0.9, 0.70)]), bins=2)
    assert len(answer.rows) == 4
    found = cell(answer, 1.0, 0.1)
    assert (found["x"], found["y"]) == ("temperature", "weight")
    assert found["x_high"] == pytest.approx(math.sqrt(8))
    assert found["y_high"] == pytest.approx(0.55)
    assert found["val_top1_mean"] == pytest.approx(0.81)
    assert found["val_top1_sd"] == pytest.approx(0.01 * math.sqrt(2))
    assert found["val_top1_best"] == 0.82
    assert found["num_trials"] == 2
    single = cell(answer, found["x_high"], found["y_high"])
    assert (single["val_top1_mean"], single["val_top1_sd"], single["num_trials"]) == (0.70, None, 1)


def test_a_cell_without_a_trial_stays_empty(study_of):
    answer = measure(study_of(KD, [kd(1.0, 0.2, 0.80), kd(8.0, 1.0, 0.70)]), bins=3)
    empty = cell(answer, 2.0, pytest.approx(0.4))
    assert [empty[name] for name in ("val_top1_mean", "val_top1_sd", "val_top1_best")] == [None] * 3
    assert (empty["num_trials"], empty["num_unfinished"]) == (0, 0)
    assert sum(row["num_trials"] for row in answer.rows) == 2


def test_trials_that_were_stopped_are_counted_where_they_were_tried_and_in_no_mean(study_of):
    answer = measure(study_of(KD, [kd(1.0, 0.2, 0.80), kd(1.1, 0.2, None), kd(8.0, 1.0, None)]), bins=2)
    found = cell(answer, 1.0, 0.1)
    assert (found["val_top1_mean"], found["num_trials"], found["num_unfinished"]) == (0.80, 1, 1)
    assert [row["num_unfinished"] for row in answer.rows] == [1, 0, 0, 1]
    assert any(note.startswith("trials that did not run to the end are in no mean") for note in answer.notes)


def test_a_mean_is_of_completed_trials_of_the_search_alone(study_of):
    """Not of repeats, and not of the last value that a stopped, diverged or failed trial had reached."""
    more = [(kd(1.0, 0.2, 0.99), {"status": status}) for status in ("stopped", "diverged", "failed")]
    more.append((kd(1.0, 0.2, 0.99), {"stage": "repeat"}))
    found = cell(measure(study_of(KD, [kd(1.0, 0.2, 0.80)], more=more), bins=2), 1.0, 0.1)
    assert (found["val_top1_mean"], found["num_trials"], found["num_unfinished"]) == (0.80, 1, 3)


@pytest.mark.parametrize(("space", "axes"), [
    (KD, ("temperature", "weight")),
    (TF_NKD, ("smoothing", "power")),
    ({"gamma": {"log": [0.1, 10.0]}, "lr": {"log": [0.1, 1.0]}, "temperature": {"log": [1.0, 8.0]}},
     ("temperature", "gamma")),
    ({"beta": {"log": [0.1, 10.0]}, "lr": {"log": [0.1, 1.0]}, "own": {"range": [0.0, 1.0]}}, ("beta", "own")),
    ({"lr": {"log": [0.1, 1.0]}, "own": {"range": [0.0, 1.0]}, "weight_decay": {"log": [1e-5, 1e-3]}}, ("own", "lr")),
    ({"lr": {"log": [0.1, 1.0]}, "weight_decay": {"log": [1e-5, 1e-3]}}, ("lr", "weight_decay")),
    (CE, ("lr", None)),
])
def test_the_two_settings_shown_are_the_methods_own_before_those_of_training(study_of, space, axes):
    answer = measure(study_of(space, draw_trials(space, lambda s: 0.5, num=3)))
    assert {(row["x"], row["y"]) for row in answer.rows} == {axes}


@pytest.mark.parametrize(("asked", "axes"), [
    ({"x": "lr"}, ("lr", "temperature")),
    ({"y": "lr"}, ("temperature", "lr")),
    ({"y": "temperature"}, ("weight", "temperature")),
    ({"x": "weight", "y": "lr"}, ("weight", "lr")),
])
def test_a_setting_that_is_asked_for_gets_its_axis(study_of, asked, axes):
    answer = measure(study_of(KD, [kd(1.0, 0.2, 0.8)]), **asked)
    assert {(row["x"], row["y"]) for row in answer.rows} == {axes}


def test_an_arm_with_one_setting_is_a_line(study_of):
    answer = measure(study_of(CE, [({"lr": 0.02}, 0.5), ({"lr": 0.5}, 0.7)]), bins=2)
    assert [(row["x_low"], row["x_high"], row["y"], row["y_low"], row["val_top1_mean"]) for row in answer.rows] == [
        (0.01, 0.1, None, None, 0.5), (0.1, 1.0, None, None, 0.7),
    ]


def test_an_arm_that_lacks_a_setting_is_left_out_by_name(tmp_path):
    searches = {"kd": (KD, [kd(1.0, 0.2, 0.8)]), "ce": (CE, [({"lr": 0.1}, 0.7)])}
    answer = measure(analysis.open(make_settings(tmp_path, searches)), x="temperature")
    assert {row["method"] for row in answer.rows} == {"kd"}
    assert "left out, this setting is not searched: ce on toy, big to tiny" in answer.notes


def test_an_edge_belongs_to_the_cell_that_begins_there_and_the_end_to_the_last(study_of):
    """8 ** (2 / 3) is 3.9999999999999996 in binary; the edge is 4, and a trial at 4 is in 4 to 8."""
    answer = measure(study_of(KD, [kd(4.0, 0.1, 0.5), kd(8.0, 1.0, 0.6), kd(1.0, 0.4, 0.7)]), bins=3)
    assert cell(answer, 4.0, 0.1)["num_trials"] == 1
    assert cell(answer, 4.0, pytest.approx(0.7))["num_trials"] == 1
    assert cell(answer, 1.0, pytest.approx(0.4))["num_trials"] == 1


def test_choices_are_cells_in_the_order_of_the_study(study_of):
    space = {"kind": {"choice": ["hard", "soft", "a, b"]}, "flag": {"choice": [True, False]}}
    trials = [({"kind": "soft", "flag": False}, 0.5), ({"kind": "hard", "flag": True}, 0.7)]
    answer = measure(study_of(space, trials), x="kind")
    assert [(row["x_low"], row["x_high"]) for row in answer.rows[:3]] == [
        ("hard", "hard"), ("soft", "soft"), ("a, b", "a, b"),
    ]
    assert [row["y_low"] for row in answer.rows] == [True] * 3 + [False] * 3
    assert cell(answer, "soft", False)["val_top1_mean"] == 0.5


def test_whole_numbers_are_never_split(study_of):
    answer = measure(study_of({"depth": {"int": [1, 7]}}, [({"depth": n}, n / 10) for n in range(1, 8)]), bins=3)
    parts = [(row["x_low"], row["x_high"], row["num_trials"]) for row in answer.rows]
    assert parts == [(1, 2, 2), (3, 4, 2), (5, 7, 3)]


def test_a_grid_is_shown_point_by_point_whatever_the_bins(study_of):
    space = {"temperature": {"log": [1.0, 8.0], "steps": 4}, "weight": {"range": [0.0, 1.0], "steps": 3}}
    points = [1.0, 8.0 ** (1 / 3), 8.0 ** (2 / 3), 8.0]
    trials = [({"temperature": t, "weight": w}, t / 10 + w / 100) for t in points for w in (0.0, 0.5, 1.0)]
    answer = measure(study_of(space, trials, sampler="grid"), bins=2)
    assert [(row["x_low"], row["x_high"], row["y_low"], row["num_trials"]) for row in answer.rows[:4]] == [
        (1.0, 1.0, 0.0, 1), (2.0, 2.0, 0.0, 1), (4.0, 4.0, 0.0, 1), (8.0, 8.0, 0.0, 1),
    ]
    assert cell(answer, 4.0, 0.5)["val_top1_mean"] == pytest.approx(0.405)


def test_a_long_grid_of_whole_numbers_is_cut(study_of):
    space = {"size": {"int": [1, 21]}}
    trials = [({"size": n}, 0.5) for n in range(1, 22)]
    assert len(measure(study_of(space, trials, sampler="grid"), bins=3).rows) == 3


@pytest.mark.parametrize(("num", "space", "cells"), [
    (3, KD, 4),         # two parts an axis at least
    (27, KD, 9),        # three trials a cell: 9 cells
    (47, KD, 9),
    (48, KD, 16),
    (3000, KD, 64),     # eight at most
    (27, CE, 8),        # along a line
    (12, CE, 4),
    (36, TF_NKD, 12),   # two choices, six parts
])
def test_cells_hold_three_trials_on_average_unless_told(study_of, num, space, cells):
    assert len(measure(study_of(space, draw_trials(space, lambda s: 0.5, num=num))).rows) == cells


def test_all_pairs_of_a_method_have_the_same_cells(tmp_path):
    """4 and 50 trials: 27 on average, so three parts an axis."""
    searches = {f"kd/{student}": (KD, draw_trials(KD, lambda s: 0.5, num=num))
                for student, num in (("tiny", 4), ("small", 50))}
    answer = measure(analysis.open(make_settings(tmp_path, searches)))
    assert [row["student"] for row in answer.rows] == ["tiny"] * 9 + ["small"] * 9
    assert [(row["x_low"], row["y_low"]) for row in answer.rows[:9]] == [
        (row["x_low"], row["y_low"]) for row in answer.rows[9:]
    ]


def test_the_best_mean_and_the_cells_that_cannot_be_told_from_it_are_named(study_of):
    """Pooled sd sqrt(10e-6 / 6) = 0.00129, t(6 df, 97.5 %) 2.447, sqrt(1/4 + 1/2): up to 0.0027 can be noise.

    The other cells lie 0.0025, 0.0030 and 0.0100 below.
    """
    trials = [
        kd(1.0, 0.2, 0.800), kd(1.0, 0.2, 0.802), kd(1.0, 0.2, 0.800), kd(1.0, 0.2, 0.802),
        kd(1.0, 0.9, 0.7975), kd(1.0, 0.9, 0.7995), kd(8.0, 0.2, 0.797), kd(8.0, 0.2, 0.799),
        kd(8.0, 0.9, 0.790), kd(8.0, 0.9, 0.792),
    ]
    assert measure(study_of(KD, trials), bins=2).notes[0] == (
        "kd on toy, big to tiny: best mean 80.10% at temperature 1 to 2.83, weight 0.1 to 0.55 (4 trials); "
        "of the 3 other cells with two trials or more, 1 cannot be told from it"
    )


def test_one_lucky_trial_is_not_called_best(study_of):
    trials = [kd(1.0, 0.2, 0.80), kd(1.0, 0.2, 0.81), kd(8.0, 0.9, 0.70), kd(8.0, 0.9, 0.71), kd(8.0, 0.2, 0.99)]
    assert "best mean 80.50% at temperature 1 to 2.83, weight 0.1 to 0.55" in measure(study_of(KD, trials)).notes[0]


def test_where_no_two_cells_have_two_trials_nothing_is_called_best(study_of):
    notes = measure(study_of(KD, [kd(1.0, 0.2, 0.80), kd(8.0, 0.9, 0.70)])).notes
    assert notes[0] == (
        "fewer than two cells have two trials that ran to the end, so none can be told apart: kd on toy, big to tiny"
    )


def test_an_arm_that_was_only_planned_is_named(study_of):
    answer = measure(study_of(KD, []))
    assert answer.rows == ()
    assert answer.notes == ("left out, no trial of the search is final: kd on toy, big to tiny",)


def test_several_studies_stay_apart(tmp_path):
    paths = [
        make_settings(tmp_path / name, {"kd": (KD, [kd(1.0, 0.2, value)])}, study_id=name, name=name)
        for name, value in (("s1", 0.8), ("s2", 0.6))
    ]
    rows = measure(analysis.open(paths), bins=2).rows
    assert [(row["study"], row["val_top1_mean"]) for row in rows if row["num_trials"]] == [("s1", 0.8), ("s2", 0.6)]


@pytest.mark.parametrize(("asked", "sentence"), [
    ({"x": "temprature"}, r"no searched setting `temprature`\. Did you mean `temperature`\? Known: lr, temp"),
    ({"y": "gamma"}, "no searched setting `gamma`"),
    ({"x": "lr", "y": "lr"}, r"x and y are both lr\n\nhint"),
    ({"bins": 1}, r"bins: 1 is not among 2 to 10\n\nhint"),
    ({"bins": 11}, "bins: 11 is not among"),
    ({"method": "nkd"}, r"no method `nkd`\. Did you mean `kd`\?"),
])
def test_a_wrong_question_is_answered_with_a_hint(study_of, asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure(study_of(KD, [kd(1.0, 0.2, 0.8)]), **asked)


@given(
    kind=st.sampled_from(["log", "range"]), ends=st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)),
    share=st.floats(0, 1), num=st.integers(2, 10),
)
def test_every_value_of_a_range_lies_in_the_one_part_that_holds_it(kind, ends, share, num):
    low, high = sorted(ends)
    if high < low * 1.001:
        high = low * 2
    searched = ranges.parse({kind: [low, high]})
    cells = ranges.cut(searched, num, grid=False)
    value = min(max(low + (high - low) * share, low), high)
    begin, end = cells.parts[cells.find(value)]
    assert begin <= value <= end
    assert value < end or end == high
    assert (cells.parts[0][0], cells.parts[-1][1]) == (low, high)


@given(low=st.integers(-50, 50), count=st.integers(2, 60), num=st.integers(2, 10))
def test_parts_of_whole_numbers_cover_each_once_and_differ_by_one_at_most(low, count, num):
    cells = ranges.cut(ranges.parse({"int": [low, low + count - 1]}), num, grid=False)
    assert [n for begin, end in cells.parts for n in range(begin, end + 1)] == list(range(low, low + count))
    sizes = {end - begin for begin, end in cells.parts}
    assert max(sizes) - min(sizes) <= 1
    for place, (begin, end) in enumerate(cells.parts):
        assert {cells.find(begin), cells.find(end)} == {place}
