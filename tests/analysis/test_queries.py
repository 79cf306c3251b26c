"""Queries see every row, while a study runs too, and change nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis import tables
from tests.analysis.make_study import STUDY, make_study, write_study

ROOT = Path(__file__).parents[2]


def test_every_table_comes_back_with_all_rows(study):
    results = analysis.open(study)
    # 6 arms, each with 4 searched trials of 4, 2, 1 and 1 epochs and 3 repeats of 4
    assert len(results.studies()) == 1
    assert len(results.trials()) == 6 * 7
    assert len(results.epochs()) == 6 * (8 + 12)
    assert len(results.evals()) == 6 * 3
    assert len(results.teachers()) == 2
    assert len(results.environments()) == 1


def test_columns_and_types_are_those_of_the_schema_even_where_all_is_missing(study):
    trials = analysis.open(study).trials()
    assert list(trials.columns) == [column.name for column in tables.TABLES["trials"]]
    assert trials["student_params"].dtype == pd.Int64Dtype()
    assert trials["immune"].dtype == pd.BooleanDtype()
    assert trials["student_params"].isna().all()


def test_a_map_is_a_dict_and_a_time_is_utc(study):
    first = analysis.open(study).epochs().iloc[0]
    assert first["terms"] == {"label": 0.5}
    assert str(first["ended_at"]) == "2026-01-02 03:04:07.678901+00:00"


def test_times_do_not_depend_on_where_the_machine_stands(study):
    assert analysis.open(study).sql("SELECT current_setting('TimeZone') AS zone")["zone"][0] == "UTC"


def test_trials_come_in_their_order(study):
    assert analysis.open(study).trials()["number"].is_monotonic_increasing


def test_sql_joins_tables(study):
    answer = analysis.open(study).sql("""
        SELECT method_label, count(*) AS n, max(top1) AS best FROM trials JOIN evals USING (study_id, trial_id)
        GROUP BY 1 ORDER BY 1
    """)
    assert answer.to_dict("records") == [
        {"method_label": "ce", "n": 6, "best": 0.88},
        {"method_label": "kd", "n": 6, "best": 0.89},
        {"method_label": "tf_nkd", "n": 6, "best": 0.92},
    ]


def test_tables_without_files_are_empty_with_their_columns(tmp_path):
    write_study(tmp_path)
    results = analysis.open(tmp_path)
    assert results.trials().empty
    assert list(results.epochs().columns) == [column.name for column in tables.TABLES["epochs"]]


def test_several_studies_are_read_as_one(study, tmp_path):
    results = analysis.open([study, make_study(tmp_path / "other", study_id="s2", name="other")])
    assert len(results.trials()) == 2 * 42
    assert len(results.teachers()) == 2  # shared by both
    assert len(results.sql("SELECT * FROM trials JOIN environments USING (environment_id)")) == 2 * 42


def test_one_study_given_twice_counts_once_and_a_copy_of_it_is_refused(study, finished_study):
    assert len(analysis.open([study, study]).trials()) == 42
    with pytest.raises(ValueError, match="study tiny-study: given twice"):
        analysis.open([study, finished_study])


def test_a_directory_without_a_study_is_refused_with_a_hint(tmp_path):
    write_study(tmp_path / "results" / "digits")
    with pytest.raises(ValueError, match="no such directory"):
        analysis.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no study here[\s\S]*did you mean .*results/digits"):
        analysis.open(tmp_path / "results")
    with pytest.raises(ValueError, match="no directory"):
        analysis.open([])


def test_a_quote_in_the_path_is_only_a_quote(study, tmp_path):
    assert len(analysis.open(study.rename(tmp_path / "it's")).trials()) == 42


def test_new_trials_are_seen_without_opening_again(study):
    results = analysis.open(study)
    tables.write(study, "trials", "t9", [{"study_id": STUDY, "trial_id": "t9", "number": 999}])
    assert len(results.trials()) == 43


def test_a_study_is_read_rightly_while_it_is_written(tmp_path):
    """A writer in another process replaces 4 trials over and over; every read sees whole trials, each row once.

    Each turn has another number of rows, so that a footer never fits another turn's pages.
    """
    writer = textwrap.dedent("""
        import itertools, sys
        from pathlib import Path
        from analysis import queries, tables
        for turn in itertools.count():
            trial = f"t{turn % 4}"
            key = {"study_id": "s1", "trial_id": trial}
            n = 20 + 37 * (turn % 11)
            rows = [{**key, "epoch": e, "job": n, "loss_total": float(turn)} for e in range(n)]
            tables.write(Path(sys.argv[1]), "epochs", trial, rows)
            if turn < 4:
                tables.write(Path(sys.argv[1]), "trials", trial, [key])
            if turn == 4:
                print("ready", flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", writer, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            results = analysis.open(tmp_path)
            for _ in range(60):
                answer = results.sql("""
                    SELECT count(*) = max(job) AND count(DISTINCT epoch) = max(job) AND count(DISTINCT loss_total) = 1
                    FROM trials JOIN epochs USING (study_id, trial_id) GROUP BY trial_id
                """)
                assert answer.to_numpy().tolist() == [[True]] * 4
        finally:
            process.kill()
