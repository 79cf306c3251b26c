"""What the command line shows, Python gives as pandas, from the same modules."""

from __future__ import annotations

import pandas as pd
import pytest

import analysis
from analysis import comparison, cost, curves, fidelity, importance, sensitivity
from tests.analysis.make_search import make_search
from tests.analysis.make_settings import draw_trials, make_settings
from tests.analysis.make_study import make_study


@pytest.mark.parametrize(("ask", "answer"), [
    (lambda s: s.compare("kd", "ce"), lambda s: comparison.compare(s, "kd", "ce")),
    (lambda s: s.budget_curves(by="epochs"), lambda s: curves.budget(s, by="epochs")),
    (lambda s: s.learning_curves(), curves.learning),
    (lambda s: s.cost(), cost.measure),
], ids=["compare", "budget_curves", "learning_curves", "cost"])
def test_an_answer_comes_as_pandas_with_its_notes(finished_study, ask, answer):
    check(analysis.open(finished_study), ask, answer)


def test_questions_about_a_search_come_as_pandas_too(tmp_path):
    space = {"temperature": {"log": [1, 8]}, "weight": {"range": [0, 1]}}
    trials = draw_trials(space, lambda settings: 0.5 + 0.3 * settings["weight"], num=24)
    settings = analysis.open(make_settings(tmp_path / "settings", {"kd": (space, trials)}))
    check(settings, lambda s: s.importance(evaluator="ped_anova", method="kd"),
          lambda s: importance.measure(s, method="kd"))
    check(settings, lambda s: s.sensitivity(x="weight", y="temperature", bins=2),
          lambda s: sensitivity.measure(s, x="weight", y="temperature", bins=2))
    search = analysis.open(make_search(tmp_path / "search"))
    check(search, lambda s: s.fidelity(epochs=[1, 3]), lambda s: fidelity.measure(s, epochs=[1, 3]))
    check(search, lambda s: s.expected_best(biased=True), lambda s: curves.expected(s, biased=True))


def check(studies, ask, answer):
    frame, expected = ask(studies), answer(studies)
    assert len(frame) > 0
    pd.testing.assert_frame_equal(frame, expected.to_pandas())
    assert list(frame.columns) == [*expected.keys, *(field.name for field in expected.fields)]
    assert frame.attrs["notes"] == list(expected.notes)


def test_what_cannot_be_answered_is_refused_as_on_the_command_line(finished_study):
    with pytest.raises(ValueError, match=r"proposals of tpe depend on earlier ones"):
        analysis.open(finished_study).expected_best()


def test_a_board_stands_beside_published_numbers_when_asked(finished_study):
    studies = analysis.open(finished_study)
    assert studies.leaderboard().published is None
    assert studies.leaderboard(published="all").published.rows == ()
    with pytest.raises(ValueError, match=r"Did you mean `RepDistiller`\?"):
        studies.leaderboard(published="RepDistiler")


def test_several_studies_are_asked_together(finished_study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    frame = analysis.open([finished_study, other]).compare("kd", "ce")
    assert list(frame["study"]) == ["tiny-study", "tiny-study", "other", "other"]
