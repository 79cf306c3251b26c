from __future__ import annotations

import csv
import io
import json

import pytest
import typer
from typer.testing import CliRunner

from analysis.commands import settings
from tests.analysis.make_settings import draw_trials, make_settings

KD = {"temperature": {"log": [1.0, 8.0]}, "weight": {"range": [0.1, 1.0]}}


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(settings.importance)
    app.command()(settings.sensitivity)

    def ask(*words):
        return CliRunner().invoke(app, list(map(str, words)))
    return ask


@pytest.fixture
def study(tmp_path):
    searches = {
        "kd": (KD, draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=20)),
        "nkd": (KD, draw_trials(KD, lambda s: 0.8 - 0.1 * s["weight"], num=20)),
    }
    return make_settings(tmp_path / "study", searches)


def test_importance_is_a_table_with_its_notes_on_stderr(run, study):
    answer = run("importance", study, "--resamples", 5, "--method", "kd")
    assert answer.exit_code == 0
    assert "PED-ANOVA" in answer.stdout
    assert "log 1 to 8" in answer.stdout
    assert "nkd" not in answer.stdout
    assert "note: intervals: 5 bootstrap samples of the trials" in answer.stderr


def test_importance_by_fanova_as_json(run, study):
    document = json.loads(run("importance", study, "--evaluator", "fanova", "--method", "kd", "--json").stdout)
    assert [row["setting"] for row in document["rows"]] == ["weight", "temperature", "(others)"]
    assert document["rows"][0]["importance_low"] is None
    assert {column["name"] for column in document["columns"]} >= {"importance", "num_trials", "num_unfinished"}


def test_importance_as_csv(run, study):
    rows = list(csv.DictReader(io.StringIO(run("importance", study, "--resamples", 0, "--format", "csv").stdout)))
    assert [row["method"] for row in rows] == ["kd", "kd", "nkd", "nkd"]


def test_sensitivity_is_a_heat_map_with_its_notes_on_stderr(run, study):
    answer = run("sensitivity", study, "--method", "kd", "--bins", 2)
    assert answer.exit_code == 0
    assert "weight \\ temperature" in answer.stdout
    assert "kd on toy: big → tiny" in answer.stdout
    assert "note: kd on toy, big to tiny: best mean" in answer.stderr


def test_sensitivity_in_long_form(run, study):
    rows = list(csv.DictReader(io.StringIO(run("sensitivity", study, "--x", "weight", "--format", "csv").stdout)))
    assert {(row["x"], row["y"]) for row in rows} == {("weight", "temperature")}
    document = json.loads(run("sensitivity", study, "--y", "temperature", "--bins", 2, "--json").stdout)
    assert len(document["rows"]) == 8
    assert document["rows"][0]["x"] == "weight"


def test_sensitivity_draws_itself_into_a_new_file(run, study, tmp_path):
    path = tmp_path / "maps.svg"
    assert run("sensitivity", study, "--svg", path).exit_code == 0
    assert "<svg" in path.read_text()
    again = run("sensitivity", study, "--svg", path)
    assert isinstance(again.exception, ValueError)
    assert "exists\n\nhint" in str(again.exception)


@pytest.mark.parametrize("words", [
    ("sensitivity", "--x", "wieght"), ("sensitivity", "--bins", "1"), ("sensitivity", "--method", "kdd"),
    ("importance", "--method", "kdd"), ("importance", "--resamples", "-1"),
])
def test_a_wrong_argument_is_answered_in_one_sentence_with_the_known_ones_or_a_hint(run, study, words):
    verb, *options = words
    answer = run(verb, study, *options)
    assert isinstance(answer.exception, ValueError)
    sentence, _, hint = str(answer.exception).partition("\n\n")
    assert "\n" not in sentence
    assert hint.startswith("hint: ") or " Known: " in sentence


def test_an_unknown_evaluator_is_answered_with_the_known_ones(run, study):
    answer = run("importance", study, "--evaluator", "shap")
    assert answer.exit_code == 2
    assert "ped_anova" in answer.stderr
