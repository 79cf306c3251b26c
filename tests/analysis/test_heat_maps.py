from __future__ import annotations

import dataclasses
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from rich.console import Console

import analysis
from analysis import maps
from analysis.commands.heat_table import print_heat_maps
from analysis.heat_maps import draw_heat_maps
from analysis.sensitivity import measure
from tests.analysis.make_settings import make_settings

KD = {"temperature": {"log": [1.0, 8.0]}, "weight": {"range": [0.1, 1.0]}}
CE = {"lr": {"log": [0.01, 1.0]}}
SVG = "{http://www.w3.org/2000/svg}"


def kd(temperature, weight, value):
    return {"temperature": temperature, "weight": weight}, value


# Four cells: two trials, one trial, one that was stopped, none.
FOUR_CELLS = [kd(1.0, 0.2, 0.80), kd(1.0, 0.2, 0.82), kd(8.0, 0.2, 0.90), kd(1.0, 0.9, None)]


@pytest.fixture
def answer_of(tmp_path):
    """Measures a study made of `searches`, in two bins."""
    def build(searches, **options):
        return measure(analysis.open(make_settings(tmp_path / "study", searches, **options)), bins=2)
    return build


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_cell_says_its_mean_and_how_many_trials_it_has(answer_of):
    found = texts(draw_heat_maps(answer_of({"kd": (KD, FOUR_CELLS)})))
    assert found.count("81.0") == found.count("n = 2") == 1
    assert found.count("90.0") == found.count("n = 1") == 1
    assert "kd on toy: big → tiny" in found
    assert {"temperature", "weight"} < set(found)


def test_the_stopped_are_counted_in_grey_and_a_cell_that_was_never_tried_is_blank(answer_of):
    stopped = [kd(1.0, 0.9, None)] * 6
    svg = draw_heat_maps(answer_of({"kd": (KD, FOUR_CELLS + stopped)}))
    assert svg.count("fill: #e6e9ec") == 1      # three cells are drawn, the fourth is not
    assert texts(svg).count("7") == 1
    assert len([text for text in texts(svg) if re.fullmatch(r"n = \d", text)]) == 2


def test_a_single_trial_is_hatched_and_two_are_not(answer_of):
    assert "<pattern" in draw_heat_maps(answer_of({"kd": (KD, FOUR_CELLS)}))
    assert "<pattern" not in draw_heat_maps(answer_of({"kd": (KD, FOUR_CELLS[:2])}))


def test_the_best_cell_has_viridis_last_colour_and_the_worst_its_first(answer_of):
    svg = draw_heat_maps(answer_of({"kd": (KD, FOUR_CELLS)}))
    assert "#fde724" in svg
    assert "#440154" in svg


def test_an_arm_with_one_setting_is_a_strip_below_the_others(answer_of):
    searches = {"ce": (CE, [({"lr": 0.1}, 0.6)]), "kd": (KD, FOUR_CELLS)}
    found = texts(draw_heat_maps(answer_of(searches)))
    assert found.index("kd on toy: big → tiny") < found.index("ce on toy: big → tiny")


def test_nothing_is_drawn_where_nothing_ran_to_the_end(answer_of):
    assert draw_heat_maps(answer_of({"kd": (KD, [kd(1.0, 0.2, None)])})) is None


def test_a_name_cannot_be_markup_or_mathtext(answer_of):
    name = "a$x^2$<b>&"
    svg = draw_heat_maps(answer_of({name: ({name: {"choice": [name, "b"]}}, [({name: name}, 0.5)])}))
    assert name in texts(svg)
    assert any(text.startswith(f"{name} on toy") for text in texts(svg))


def test_the_same_answer_gives_the_same_picture(answer_of):
    answer = answer_of({"kd": (KD, FOUR_CELLS)})
    assert draw_heat_maps(answer) == draw_heat_maps(answer)


def test_a_title_that_would_touch_its_neighbour_is_broken_at_the_arrow_or_after_the_data(answer_of):
    answer = answer_of({"a_long_label_of_a_method/a_student": (KD, FOUR_CELLS)})
    assert "a_student" in texts(draw_heat_maps(answer))
    lone = dataclasses.replace(answer, rows=tuple(row | {"teacher": None, "teacher_id": None} for row in answer.rows))
    assert {"a_long_label_of_a_method on toy:", "a_student"} < set(texts(draw_heat_maps(lone)))


def test_whole_numbers_are_named_in_the_middle_of_their_part_and_reals_at_its_ends(answer_of):
    space = {"depth": {"int": [1, 4]}, "weight": {"range": [0.0, 1.0]}}
    found = texts(draw_heat_maps(answer_of({"kd": (space, [({"depth": 1, "weight": 0.1}, 0.5)])})))
    assert {"1 to 2", "3 to 4", "0", "0.5", "1"} < set(found)


def test_two_studies_are_told_apart(tmp_path):
    searches = {"kd": (KD, FOUR_CELLS)}
    paths = [make_settings(tmp_path / name, searches, study_id=name, name=name) for name in ("s1", "s2")]
    found = texts(draw_heat_maps(measure(analysis.open(paths), bins=2)))
    assert {"s1: kd on toy: big → tiny", "s2: kd on toy: big → tiny"} < set(found)


@pytest.mark.parametrize(("shade", "colour"), [
    (0.0, (68, 1, 84)), (0.25, (58, 82, 139)), (0.5, (32, 144, 140)), (0.0625, (70, 22, 104)), (1.0, (253, 231, 36)),
])
def test_a_shade_lies_straight_between_its_neighbours(shade, colour):
    assert maps.choose_colour(shade) == colour


def test_viridis_is_within_a_shade_of_matplotlibs():
    """Between nine of its colours: the largest difference is 18 of 255, in the yellow."""
    import matplotlib as mpl

    for step in range(101):
        theirs = mpl.colormaps["viridis"](step / 100, bytes=True)[:3]
        assert max(abs(a - int(b)) for a, b in zip(maps.choose_colour(step / 100), theirs, strict=True)) <= 18


def test_ink_is_white_on_the_dark_end_and_dark_on_the_light_one():
    assert maps.choose_ink(maps.choose_colour(0.0)) == (255, 255, 255)
    assert maps.choose_ink(maps.choose_colour(1.0)) == (20, 26, 31)


def test_equal_means_have_the_middle_shade(answer_of):
    found, = maps.list_maps(answer_of({"kd": (KD, FOUR_CELLS[:2])}))
    assert found.shade(0.81) == 0.5


def show(answer, **options):
    out = io.StringIO()
    print_heat_maps(answer, Console(file=out, highlight=False, **options))
    return out.getvalue()


def test_a_pipe_gets_plain_text_with_y_upwards(answer_of):
    lines = show(answer_of({"kd": (KD, FOUR_CELLS)}), width=40).splitlines()
    assert [re.sub(r" +", " ", line).strip() for line in lines] == [
        "Validation top-1 by setting, arm by arm",
        "",
        "kd on toy: big → tiny",
        "weight \\ temperature 1 to 2.83 2.83 to 8",
        "0.55 to 1 · (0 of 1) ·",
        "0.1 to 0.55 81.00 (2) 90.00 (1)",
        "",
        "cells: mean validation top-1 in % (trials); · (0 of 3): none of three ran to the end; ·: never tried",
    ]


def test_a_terminal_gets_colours_and_no_color_takes_them_away(answer_of, monkeypatch):
    answer = answer_of({"kd": (KD, FOUR_CELLS)})
    colour = "\x1b[38;2;255;255;255;48;2;68;1;84m  81.00 (2) "
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colour in show(answer, force_terminal=True, color_system="truecolor", width=120)
    plain = show(answer, force_terminal=True, color_system="truecolor", width=120, no_color=True)
    assert "81.00 (2)" in plain
    assert "48;2;" not in plain


def test_a_name_with_brackets_is_shown_as_it_is(answer_of):
    answer = answer_of({"[red]kd": ({"x[/]": {"range": [0.0, 1.0]}}, [({"x[/]": 0.1}, 0.5)])})
    out = show(answer, width=40)
    assert "[red]kd on toy: big → tiny" in out
    assert "x[/]" in out
