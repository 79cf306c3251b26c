"""The benchmark of queries asks the same of every engine, and all of them agree."""

from __future__ import annotations

import pytest

from benchmarks import query


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    return query.write_studies(tmp_path_factory.mktemp("benchmark"), trials=250, epochs=3, large=310)


@pytest.mark.parametrize("layout", ["small", "compacted", "large"])
def test_ours_sql_polars_and_pandas_answer_alike(studies, layout):
    query.require_same_answers(studies[layout])


def test_the_answers_are_those_of_the_generated_numbers(studies):
    """100 arms; trial 0 is the first arm's only repeat, trials 100 and 200 are its search."""
    board = sorted(query.ask_ours("board", studies["small"]))
    assert len(board) == 100
    assert board[0] == ["cifar100/student0/ce", [0.6], 2, 6, 6.0]
    curves = query.ask_ours("curves", studies["large"])
    assert len(curves) == 5 * 3
    assert {count for _, _, count, _, _ in curves} == {42}      # 210 searched trials of 5 methods


def test_answers_that_differ_are_told(studies, monkeypatch):
    monkeypatch.setitem(query.ASK, "polars", lambda question, study: query.ask_sql(question, study)[1:])
    with pytest.raises(AssertionError, match="compacted-250x3, board: polars and sql differ"):
        query.require_same_answers(studies["compacted"])


def test_an_answer_is_measured_in_a_process_of_its_own(studies):
    found = query.measure("status", "ours", studies["compacted"])
    assert found.keys() == {"wall", "cpu", "mb"}
    assert min(found.values()) > 0
