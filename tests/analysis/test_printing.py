"""Answers on the way out: what a terminal leaves out is in CSV and JSON."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from analysis.answer import Answer, Field
from analysis.commands.printing import RowsFormat, choose_keys, print_answer, show_answer

FIELDS = (Field("top1", "fraction", "top-1", "high"), Field("num_trials", "", "trials"))


def make_answer(*rows: dict) -> Answer:
    defaults = {"teacher": "big", "teacher_id": "w1", "method": "kd", "top1": 0.5, "num_trials": 1}
    made = tuple(defaults | row for row in rows)
    return Answer("A question", ("teacher", "teacher_id", "method"), FIELDS, made, ("one trial is few",))


def test_a_table_shows_per_cent_and_dashes(capsys):
    show_answer(make_answer({}, {"method": "[b]ce", "top1": None, "num_trials": 12345}))
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines == [["A", "question"], ["teacher", "method", "top1", "%", "trials"],
                     ["big", "kd", "50.00", "1"], ["big", "[b]ce", "-", "12,345"]]
    assert err == "note: one trial is few\n"


def test_an_id_is_shown_where_its_name_stands_for_two():
    assert choose_keys(make_answer({}, {})) == ["teacher", "method"]
    assert choose_keys(make_answer({}, {"teacher_id": "w2"})) == ["teacher", "teacher_id", "method"]
    assert choose_keys(make_answer({"teacher": None, "teacher_id": None})) == ["method"]


def test_csv_has_every_key_and_fractions(capsys):
    show_answer(make_answer({"top1": None}), RowsFormat.csv)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{"teacher": "big", "teacher_id": "w1", "method": "kd", "top1": "", "num_trials": "1"}]


def test_json_holds_units_and_notes_and_nothing_goes_to_stderr(capsys):
    show_answer(make_answer({}), as_json=True)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["rows"][0]["top1"] == 0.5
    assert document["notes"] == ["one trial is few"]
    assert document["columns"][0] == {"name": "top1", "unit": "fraction", "meaning": "top-1", "better": "high"}
    assert err == ""


def test_a_terminal_is_not_flooded(capsys):
    file = io.StringIO()
    print_answer(make_answer(*({"num_trials": number} for number in range(1200))), Console(file=file, width=80))
    assert capsys.readouterr().err == "200 more rows: see --format csv\n"


@pytest.mark.parametrize(("form", "out"), [
    (RowsFormat.table, "A question\n"), (RowsFormat.csv, "teacher,teacher_id,method,top1,num_trials\n")])
def test_an_answer_without_rows_is_its_title_and_its_notes(form, out, capsys):
    show_answer(make_answer(), form)
    assert capsys.readouterr() == (out, "note: one trial is few\n")


def test_a_narrow_terminal_cuts_no_name_and_no_number():
    file = io.StringIO()
    row = {"teacher": "a_teacher(width=12,seed=3)", "method": "a_method_with_a_long_name", "num_trials": 1234567}
    print_answer(make_answer(row), Console(file=file, width=20, force_terminal=True, no_color=True, highlight=False))
    shown = file.getvalue().splitlines()[-1].split()
    assert shown == ["a_teacher(width=12,seed=3)", "a_method_with_a_long_name", "50.00", "1,234,567"]


def test_in_a_narrow_terminal_words_wrap_below_each_other():
    file = io.StringIO()
    answer = Answer("A question", ("method",), (Field("why", "text", ""),), ({"method": "kd", "why": "a word " * 9},))
    print_answer(answer, Console(file=file, width=20, force_terminal=True, no_color=True, highlight=False))
    assert file.getvalue().count("word") == 9
    assert max(len(line) for line in file.getvalue().splitlines()[2:]) <= 20
