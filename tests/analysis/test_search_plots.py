"""Pictures of a search: safe SVG that shows every arm and does not grow with the number of trials."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest

import analysis
from analysis import curves, search_plots
from tests.analysis.make_search import Curve, make_search, write_search
from tests.analysis.make_study import arms, write_study

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert('x')</script>$\\frac{1}$ & _q"
DRAWINGS = [
    (curves.budget, search_plots.draw_budget),
    (curves.learning, search_plots.draw_learning),
    (curves.expected, search_plots.draw_expected),
]


def _words(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


@pytest.mark.parametrize(("measure", "draw"), DRAWINGS)
def test_a_picture_has_a_panel_per_pair_and_names_every_method(tmp_path, measure, draw):
    words = _words(draw(measure(analysis.open(make_search(tmp_path, trials=6, epochs=3)))))
    assert words.count("val top-1, %") == 2
    for word in ("toy: big →", "tiny", "toy: wide →", "small"):
        assert words.count(word) == 1
    assert [word for word in words if word in ("ce", "kd", "tf_nkd")] == ["ce", "kd", "tf_nkd"]


@pytest.mark.parametrize(("measure", "draw"), DRAWINGS)
def test_given_colours_are_used_and_bring_their_own_legend(tmp_path, measure, draw):
    results = analysis.open(make_search(tmp_path, trials=6, epochs=3))
    picture = draw(measure(results), colours={"ce": "#111111", "kd": "#abcdef", "tf_nkd": "#fedcba"})
    assert "#abcdef" in picture
    assert "kd" not in _words(picture)


@pytest.mark.parametrize(("measure", "draw"), DRAWINGS)
def test_a_hostile_name_stays_text(tmp_path, measure, draw):
    hostile = arms()[0] | {"data": HOSTILE, "label": HOSTILE}
    write_study(tmp_path, search={"sampler": "random"}, stop={"rule": "none"})
    write_search(tmp_path, hostile, [Curve([0.1, 0.2]), Curve([0.2, 0.3])])
    picture = draw(measure(analysis.open(tmp_path)))
    assert not list(ElementTree.fromstring(picture).iter(f"{SVG}script"))
    words = _words(picture)
    assert HOSTILE in words             # the legend
    assert f"{HOSTILE}: tiny" in words  # the title


@pytest.mark.parametrize(("measure", "draw"), DRAWINGS)
def test_nothing_known_is_no_picture(tmp_path, measure, draw):
    write_study(tmp_path, search={"sampler": "random"}, stop={"rule": "none"})
    assert draw(measure(analysis.open(tmp_path))) is None
    write_search(tmp_path, arms()[0], [Curve([None], "diverged")])
    assert draw(measure(analysis.open(tmp_path))) is None


@pytest.mark.parametrize(("measure", "draw"), DRAWINGS)
def test_the_same_answer_is_the_same_picture(tmp_path, measure, draw):
    answer = measure(analysis.open(make_search(tmp_path, trials=6, epochs=3)))
    assert draw(answer) == draw(answer)


def test_ten_thousand_trials_make_no_larger_a_picture(tmp_path):
    few = search_plots.draw_learning(curves.learning(analysis.open(make_search(tmp_path / "few", trials=10))))
    many = search_plots.draw_learning(curves.learning(analysis.open(make_search(tmp_path / "many", trials=1700))))
    assert len(many) < 1.1 * len(few)


def test_only_better_values_are_steps(tmp_path):
    write_study(tmp_path)
    write_search(tmp_path, arms()[0], [Curve([0.5]), *[Curve([0.4])] * 300, Curve([0.6])])
    few = tmp_path / "few"
    write_study(few)
    write_search(few, arms()[0], [Curve([0.5]), Curve([0.6])])
    many, two = (search_plots.draw_budget(curves.budget(analysis.open(path))) for path in (tmp_path, few))
    assert many.count("<use") == pytest.approx(two.count("<use"), abs=6)  # ticks may differ


def _draw_first_panel(monkeypatch, draw, answer):
    """The first panel before it becomes text."""
    kept = []
    monkeypatch.setattr("analysis.search_plots.to_svg", lambda figure: kept.append(figure) or "<svg/>")
    draw(answer)
    return kept[0].axes[0]


def test_a_line_ends_with_its_arms_budget_and_the_common_one_is_dotted(tmp_path, monkeypatch):
    write_study(tmp_path)
    ce, kd, _ = arms()[:3]
    write_search(tmp_path, ce, [Curve([0.5]), Curve([0.4])])                # 4 s in all
    write_search(tmp_path, kd, [Curve([0.5]), Curve([0.6]), Curve([0.1])])  # 6 s in all
    answer = curves.budget(analysis.open(tmp_path))
    lines = _draw_first_panel(monkeypatch, search_plots.draw_budget, answer).get_lines()
    steps = [list(line.get_xdata()) for line in lines if line.get_drawstyle() == "steps-post"]
    dotted, = [line.get_xdata()[0] for line in lines if line.get_linestyle() == ":"]
    assert (steps, dotted) == ([[2.0, 4.0], [2.0, 4.0, 6.0]], 4.0)


def test_the_first_rise_and_missing_values_take_no_room(tmp_path, monkeypatch):
    write_study(tmp_path)
    low = Curve([0.01, 0.05, 0.70, 0.80], "stopped")  # no trial completed, so there is no best one
    write_search(tmp_path, arms()[0], [low, low])
    answer = curves.learning(analysis.open(tmp_path))
    axis = _draw_first_panel(monkeypatch, search_plots.draw_learning, answer)
    assert axis.get_ylim() == pytest.approx((69.5, 80.5))  # 70 to 80 and a margin


def test_the_axis_names_what_was_spent(tmp_path):
    results = analysis.open(make_search(tmp_path, trials=40, epochs=9))
    assert "search so far, min" in _words(search_plots.draw_budget(curves.budget(results)))  # 720 s an arm
    assert "search so far, epochs" in _words(search_plots.draw_budget(curves.budget(results, by="epochs")))


def test_panels_of_several_studies_name_theirs(tmp_path):
    make_search(tmp_path / "a", trials=4, epochs=2)
    make_search(tmp_path / "b", trials=4, epochs=2, study_id="s2")
    words = _words(search_plots.draw_learning(curves.learning(analysis.open([tmp_path / "a", tmp_path / "b"]))))
    assert {"search-s1, toy: big →", "search-s2, toy: big →"} <= set(words)


def test_a_written_picture_is_a_file_of_its_own(tmp_path):
    picture = search_plots.draw_learning(curves.learning(analysis.open(make_search(tmp_path / "s", trials=4))))
    search_plots.write_svg(picture, tmp_path / "curves.svg")
    assert ElementTree.parse(tmp_path / "curves.svg").getroot().tag == f"{SVG}svg"
    assert sorted(os.listdir(tmp_path)) == ["curves.svg", "s"]


def test_no_file_is_replaced_and_none_is_written_without_a_picture(tmp_path):
    (tmp_path / "old.svg").write_text("mine")
    with pytest.raises(ValueError, match="exists"):
        search_plots.write_svg("<svg/>", tmp_path / "old.svg")
    with pytest.raises(ValueError, match="nothing to draw yet"):
        search_plots.write_svg(None, tmp_path / "new.svg")
    assert (tmp_path / "old.svg").read_text() == "mine"
    assert os.listdir(tmp_path) == ["old.svg"]


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.writing.os.replace", _fail)
    with pytest.raises(OSError, match="no space"):
        search_plots.write_svg("<svg/>", tmp_path / "new.svg")
    assert os.listdir(tmp_path) == []


def _fail(*_):
    raise OSError("no space left on device")
