"""People see per cent and dashes, programs see fractions and null; no name is ever markup."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
from rich.console import Console

import analysis
from analysis import render
from analysis.answer import Answer, Field
from analysis.arms import Pair
from analysis.cells import Cell
from analysis.formatting import format_seconds, format_value
from analysis.leaderboard import assemble
from tests.analysis.make_study import arms, write_arm, write_study, write_teacher

HOSTILE = "<script>alert('x')</script> [bold]$x^2$ | `a` \"q\" &amp;"


@pytest.fixture(scope="module")
def board(finished_study):
    return analysis.open(finished_study).leaderboard()


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unfinished")
    write_study(folder, name=HOSTILE)
    write_teacher(folder, "big")
    write_arm(folder, arms()[0], number=0)
    return analysis.open(folder).leaderboard()


def _print(board, width):
    console = Console(file=io.StringIO(), width=width)
    render.print_terminal(board, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_shows_every_number_whole(board, width):
    lines = _print(board, width).splitlines()
    kd = next(line for line in lines[lines.index(next(x for x in lines if x.startswith("toy: big"))):] if "kd" in line)
    assert kd.split() == ["kd", "85.00", "±", "2.48", "1.00", "3", "+4.00", "3.07", "44.44", "4", "8", "16", "s"]
    assert any(line.split() == ["teacher", "90.00"] for line in lines)
    assert max(map(len, lines)) <= width


def test_a_pipe_gets_no_colours(board):
    assert "\x1b" not in _print(board, 80)


def test_markdown_has_the_best_values_in_bold(board):
    lines = render.to_markdown(board).splitlines()
    assert "| kd | **85.00 ± 2.48** | 1.00 | 3 | **+4.00** | 3.07 | **44.44** | 4 | 8 | 16 s |" in lines
    assert "| ce (plain) | 81.00 ± 2.48 | 1.00 | 3 | +0.00 | 3.07 | 0.00 | 4 | 8 | 16 s |" in lines
    assert "| tf_nkd | **25.00** | **+2.00** | +1.75 | **1.50** | 2 | 8 | 16 | 32 s |" in lines


def test_ties_are_all_best(board):
    lines = render.to_markdown(board).splitlines()
    assert "| kd | **25.00** | **+2.00** | **+2.00** | 1.75 | 2 | 8 | 16 | 32 s |" in lines


def test_a_method_that_seeds_cannot_tell_from_the_best_carries_a_sign():
    pair = Pair("s", "toy", "big", "id-big", "tiny")
    plain = [0.80, 0.81, 0.82]
    seeds = {"ce": plain, "kd": [0.84, 0.86, 0.88], "nkd": [0.83, 0.85, 0.87]}
    cells = [Cell(pair, label, values, plain, 0.9) for label, values in seeds.items()]
    lines = render.to_markdown(assemble(cells, title="three", footer=())).splitlines()
    means = {line.split(" | ")[0]: line.split(" | ")[1] for line in lines if "±" in line}
    assert means == {
        "| kd": "**86.00 ± 4.97**",
        "| nkd": "85.00 ± 4.97 ≈",          # a distance of .01, a standard error of .016
        "| ce (plain)": "81.00 ± 2.48",     # .05 with a standard error of .013 and 2.9 degrees of freedom
    }
    assert "≈ not told apart from the best by these seeds" in lines


def test_one_seed_tells_nothing_apart():
    pair = Pair("s", "toy", "big", "id-big", "tiny")
    cells = [Cell(pair, label, [top1], [0.81], 0.9) for label, top1 in {"ce": 0.81, "kd": 0.86}.items()]
    assert "≈" not in render.to_markdown(assemble(cells, title="two", footer=()))


def test_details_are_shown_when_asked_for(board):
    assert "test ece %" not in render.to_markdown(board)
    wide = render.to_markdown(board, detail=True)
    assert "test ece %" in wide
    assert "| 0.600 | 5.00 | 90.00 |" in wide.replace("*", "")


def test_a_column_that_nothing_fills_is_left_out(tmp_path):
    write_study(tmp_path)
    write_teacher(tmp_path, "big")
    write_arm(tmp_path, {**arms()[0]}, number=0)
    wide = render.to_markdown(analysis.open(tmp_path).leaderboard(), detail=True)
    assert "test ece %" in wide
    assert "test agreement %" not in wide


def test_csv_holds_fractions_and_empty_fields(board, unfinished):
    rows = list(csv.DictReader(io.StringIO(render.to_csv(board))))
    assert (rows[1]["method"], rows[1]["num_seeds"]) == ("kd", "3")
    assert float(rows[1]["test_top1_mean"]) == pytest.approx(0.85)
    rows = list(csv.DictReader(io.StringIO(render.to_csv(unfinished))))
    assert [rows[1][name] for name in ("study", "test_top1_mean", "num_seeds")] == [HOSTILE, "", "0"]


def test_json_holds_everything_with_units_and_null(board, unfinished):
    document = json.loads(render.to_json(board))
    assert document["pairs"]["rows"][1]["test_top1_mean"] == pytest.approx(0.85)
    assert document["over_pairs"]["rows"][1]["gap_closed_pooled"] == pytest.approx(0.25)
    assert document["footer"]["code"] == "abc1234"
    assert document["partial"] is False
    units = {column["name"]: column["unit"] for column in document["pairs"]["columns"]}
    assert units["test_top1_mean"] == "fraction"
    document = json.loads(render.to_json(unfinished))
    assert document["partial"] is True
    assert len(document["missing"]) == 5
    assert document["pairs"]["rows"][1]["test_top1_mean"] is None


def test_an_unfinished_board_is_called_partial_and_has_dashes(unfinished):
    text = _print(unfinished, 80)
    assert "(partial)" in text
    assert "missing: kd on toy, big to tiny: 0 of 4 trials searched, 0 of 3 repeats" in text
    assert any(line.split() == ["kd", "-", "-", "0", *"------"] for line in text.splitlines())


def test_no_name_is_markup(unfinished):
    assert "[bold]$x^2$" in _print(unfinished, 200)
    assert "<script>" not in render.to_markdown(unfinished).replace("\\<script>", "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (5400, "1.5 h")])
def test_times_are_shown_in_the_unit_that_fits(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("value", "unit", "text"), [
    (None, "fraction", "-"), (0.5, "fraction", "50.00"), (-0.002, "difference", "-0.20"), (0.5, "share", "0.50"),
    (0.0004, "p", "<0.001"), (0.04, "p", "0.040"), (12345, "", "12,345"), (True, "", "yes"), (0.123456, "", "0.1235"),
    (999, "bytes", "999 B"), (590_901_248, "bytes", "591 MB"), (2e12, "bytes", "2 TB"), ("a", "text", "a"),
])
def test_a_value_is_shown_by_its_unit(value, unit, text):
    assert format_value(value, unit) == text


def test_a_narrow_terminal_cuts_no_number_and_wraps_words(board):
    fields = (Field("ours", "fraction", ""), Field("difference", "difference", ""), Field("remark", "text", ""))
    rows = tuple({"method": "a_rather_long_label" * 2, "source": "RepDistiller, ND, DIST", "ours": ours,
                  "difference": -0.0042, "remark": "words " * 40} for ours in (0.7942, 0.7333))
    beside = Answer("beside", ("method", "source"), fields, rows)
    lines = _print(dataclasses.replace(board, published=beside), 80)
    assert lines.count("79.42") == lines.count("73.33") == 1
    assert lines.count("-0.42") == 2
    assert lines.count("words") == 80
    assert "…" not in lines


def test_with_every_column_a_narrow_terminal_still_shows_every_number_whole(board):
    console = Console(file=io.StringIO(), width=40)
    render.print_terminal(board, console, detail=True)
    kd = next(line for line in console.file.getvalue().splitlines() if line.startswith("kd") and "±" in line)
    assert kd.split()[:9] == ["kd", "85.00", "±", "2.48", "1.00", "3", "+4.00", "3.07", "44.44"]
    assert "…" not in console.file.getvalue()


def test_a_lone_method_is_not_compared_with_itself():
    pair = Pair("s", "toy", "big", "id-big", "tiny")
    seeds = [0.80, 0.81, 0.82]
    cells = [Cell(pair, "ce", seeds, seeds, 0.9), Cell(pair, "kd", [], seeds, 0.9)]
    assert "≈" not in render.to_markdown(assemble(cells, title="one", footer=()))


def test_one_pair_is_not_called_pairs():
    pair = Pair("s", "toy", "big", "id-big", "tiny")
    plain = [0.80, 0.81, 0.82]
    cells = [Cell(pair, "ce", plain, plain, 0.9), Cell(pair, "kd", [0.84, 0.85, 0.86], plain, 0.9)]
    text = render.to_markdown(assemble(cells, title="one", footer=()))
    assert "1 pair: no p-value can be significant, whatever the methods are worth" in text


def test_before_any_result_no_aggregate_has_a_value():
    pair = Pair("s", "toy", "big", "id-big", "tiny")
    cells = [Cell(pair, label, [], [], 0.9) for label in ("ce", "kd")]
    plain, _ = assemble(cells, title="none", footer=()).summary.rows
    assert [plain[name] for name in ("gap_closed_pooled", "gain_mean", "gain_iqm", "rank_mean")] == [None] * 4
