"""The verbs: data on stdout, messages on stderr, 2 for what the user got wrong."""

from __future__ import annotations

import json
import sys

import pytest

from analysis import tables
from analysis.cli import main
from tests.analysis.make_study import make_study


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `python -m analysis ...` in this process; returns exit code, stdout and stderr."""

    def _run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return _run


def test_leaderboard_prints_to_a_pipe_without_colours(run, finished_study):
    code, out, err = run("leaderboard", finished_study)
    assert (code, err) == (0, "")
    assert "toy: big → tiny" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(("form", "start"), [
    ("markdown", "# tiny-study\n"), ("csv", "study,data,teacher,teacher_id,student,method,"), ("json", "{\n"),
])
def test_leaderboard_has_other_formats(run, finished_study, form, start):
    code, out, _ = run("leaderboard", finished_study, "--format", form)
    assert code == 0
    assert out.startswith(start)


def test_json_is_a_short_form(run, finished_study):
    assert run("leaderboard", finished_study, "--json") == run("leaderboard", finished_study, "--format", "json")


def test_sql_answers_in_three_formats(run, finished_study):
    query = "SELECT method, count(*) AS n, NULL AS nothing FROM trials GROUP BY 1 ORDER BY 1 LIMIT 1"
    assert json.loads(run("sql", finished_study, query, "--json")[1]) == [{"method": "ce", "n": 14, "nothing": None}]
    assert run("sql", finished_study, query, "--format", "csv")[1] == "method,n,nothing\nce,14,\n"
    assert "│ ce     │ 14 │ -       │" in run("sql", finished_study, query)[1].splitlines()


def test_sql_asks_several_studies(run, finished_study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2")
    query = "select study_id, count(*) as n from trials group by 1 order by 1"
    code, out, _ = run("sql", finished_study, other, query, "--format", "csv")
    assert (code, out) == (0, "study_id,n\ns1,42\ns2,42\n")


def test_sql_shows_lists_maps_and_times(run, finished_study):
    query = "SELECT terms, ended_at, [1, 2] AS both FROM epochs ORDER BY trial_id, epoch LIMIT 1"
    assert run("sql", finished_study, query)[0] == 0
    row = json.loads(run("sql", finished_study, query, "--json")[1])[0]
    assert row == {"terms": {"label": 0.5}, "ended_at": "2026-01-02T03:04:07.678901Z", "both": [1, 2]}


def test_sql_numbers_are_numbers_in_json(run, finished_study):
    query = "SELECT sum(epochs_done) AS n, 1.5 AS part, 0.1::double + 0.2 AS exact, 'nan'::double AS none FROM trials"
    row = json.loads(run("sql", finished_study, query, "--json")[1])[0]
    assert row == {"n": 6 * 20, "part": 1.5, "exact": 0.1 + 0.2, "none": None}


def test_sql_values_that_json_lacks_are_text(run, finished_study):
    query = "SELECT date '2026-01-02' AS day, time '10:00' AS at, interval 1 day AS wait, [{'a': [1]}] AS deep"
    row = json.loads(run("sql", finished_study, query, "--json")[1])[0]
    assert (row["day"], row["at"], row["deep"]) == ("2026-01-02", "10:00:00", [{"a": [1]}])
    assert isinstance(row["wait"], str)


def test_sql_refuses_two_columns_of_one_name_in_json(run, finished_study):
    code, out, err = run("sql", finished_study, "SELECT 1 AS a, 2 AS a", "--json")
    assert (code, out) == (2, "")
    told = "error: sql: 2 columns are called a, and a row of JSON has one"
    assert err == f"{told}\n\nhint: name them: select ... as ...\n"


def test_a_piped_sql_answer_is_as_wide_as_it_needs_to_be(run, finished_study):
    code, out, _ = run("sql", finished_study, f"SELECT '{'x' * 300}' AS long, '{'y' * 200}' AS other")
    assert code == 0
    assert "x" * 300 in out
    assert "y" * 200 in out


def test_report_prints_where_it_lies(run, study):
    assert run("report", study)[:2] == (0, f"{study / 'report.html'}\n")
    assert (study / "report.html").exists()


def test_tables_prints_the_reference(run):
    assert run("tables")[:2] == (0, tables.describe_tables())


@pytest.mark.parametrize(("arguments", "message"), [
    (["leaderboard", "nowhere"], "nowhere: no such directory"),
    (["report", "nowhere"], "nowhere: no such directory"),
    (["sql", "{study}", "DROP VIEW trials"], "sql: exactly one SELECT is allowed"),
    (["sql", "{study}", "SELECT nope FROM trials"], "sql: Binder Error"),
    (["leaderboard", "{study}", "--format", "pdf"], "Invalid value"),
])
def test_what_the_user_got_wrong_is_a_message_and_exit_code_2(run, finished_study, arguments, message):
    code, out, err = run(*(argument.format(study=finished_study) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_the_columns_of_all_tables_are_there_for_programs_too(run):
    code, out, _ = run("tables", "--json")
    described = json.loads(out)
    assert code == 0
    assert list(described) == list(tables.TABLES)
    assert described["evals"][5] == {"name": "top1", "type": "float64", "unit": "fraction", "meaning": "top-1"}
