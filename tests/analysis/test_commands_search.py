"""`fidelity`, `curves` and `cost` on the command line: data on stdout, notes on stderr, wrong options refused."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from analysis.commands import search
from tests.analysis.make_search import make_search


@pytest.fixture(scope="module")
def random_study(tmp_path_factory):
    """Random search without stopping; read it, do not write to it."""
    return make_search(tmp_path_factory.mktemp("search") / "study", trials=6, epochs=9)


def _run(*words: object):
    app = typer.Typer()
    for verb in (search.fidelity, search.curves, search.cost):
        app.command()(verb)
    return CliRunner().invoke(app, [str(word) for word in words])


def _read(*words: object) -> dict:
    found = _run(*words, "--json")
    assert (found.exit_code, found.stderr) == (0, "")
    return json.loads(found.stdout)


@pytest.mark.parametrize(("verb", "title"), [
    ("fidelity", "How well a rung predicts the end"), ("curves", "Best validation value so far by seconds"),
    ("cost", "What it cost"),
])
def test_a_verb_shows_a_table_with_notes_beside_it(random_study, verb, title):
    found = _run(verb, random_study)
    assert found.exit_code == 0
    assert found.stdout.startswith(title)
    assert found.stderr.startswith("note: ")
    assert _read(verb, random_study)["title"] == title
    assert _run(verb, random_study, "--format", "csv").stdout.startswith("study,data,teacher,teacher_id,student,method")


def test_fidelity_judges_the_epochs_it_is_given(random_study):
    assert [row["epoch"] for row in _read("fidelity", random_study)["rows"]] == [1, 3]
    assert [row["epoch"] for row in _read("fidelity", random_study, "--epochs", "2,8")["rows"]] == [2, 8]


@pytest.mark.parametrize(("words", "title"), [
    ((), "Best validation value so far by seconds"),
    (("--by", "epochs"), "Best validation value so far by epochs"),
    (("--kind", "common"), "Best validation value at the smallest common budget in seconds"),
    (("--kind", "common", "--by", "epochs"), "Best validation value at the smallest common budget in epochs"),
    (("--kind", "learning"), "Validation top-1 of the search by epoch"),
    (("--kind", "expected"), "Expected best validation top-1 of n random trials (unbiased)"),
    (("--kind", "expected", "--biased"), "Expected best validation top-1 of n random trials (biased)"),
])
def test_curves_has_four_kinds(random_study, words, title):
    assert _read("curves", random_study, *words)["title"] == title


@pytest.mark.parametrize("kind", ["budget", "learning", "expected"])
def test_a_picture_is_written_beside_the_rows(random_study, tmp_path, kind):
    path = tmp_path / "new.svg"
    with_picture = _run("curves", random_study, "--kind", kind, "--svg", path)
    assert with_picture.stdout == _run("curves", random_study, "--kind", kind).stdout
    assert path.read_text(encoding="utf-8").startswith('<?xml version="1.0" encoding="utf-8"?>\n<svg')


@pytest.mark.parametrize(("words", "message"), [
    (("curves", "{study}", "--kind", "learning", "--by", "epochs"), "--by: kind learning has no cost to choose"),
    (("curves", "{study}", "--biased"), "--biased: kind budget expects nothing"),
    (("curves", "{study}", "--kind", "common", "--svg", "{file}"), "--svg: kind common has no picture"),
    (("curves", "nowhere", "--svg", "{file}"), "old.svg exists"),  # before anything is read
    (("curves", "{study}", "--by", "device_seconds"), "no searched trial has device_seconds"),
    (("fidelity", "{study}", "--epochs", "3;9"), "--epochs: '3;9' is no list of epochs"),
    (("fidelity", "{study}", "--epochs", "9"), "epoch 9 is no rung of search-s1"),
])
def test_what_the_user_got_wrong_is_a_value_error_and_no_output(random_study, tmp_path, words, message):
    old = tmp_path / "old.svg"
    old.write_text("mine")
    found = _run(*(word.format(study=random_study, file=old) for word in words))
    assert isinstance(found.exception, ValueError)
    assert message in str(found.exception)
    assert found.stdout == ""
    assert old.read_text() == "mine"


@pytest.mark.parametrize("words", [("--kind", "nope"), ("--by", "minutes")])
def test_an_unknown_choice_is_answered_with_the_known_ones(random_study, words):
    found = _run("curves", random_study, *words)
    assert found.exit_code == 2
    assert "is not one of" in found.stderr
