"""Queries see every row, while a study runs too, and change nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import queries, sandbox, tables
from analysis.queries import Query
from tests.analysis.make_study import BEGAN, STUDY, make_study, write_study

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


def test_a_long_query_leaves_no_file_behind_and_no_progress_bar_among_the_data(study):
    answer = analysis.open(study).sql("""
        SELECT current_setting('temp_directory') AS folder, current_setting('enable_progress_bar') AS bar
    """)
    assert answer.to_dict("records") == [{"folder": "", "bar": False}]


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
    (tmp_path / "board.csv").write_text("a,b")
    with pytest.raises(ValueError, match=r"board.csv: a file, not a directory"):
        analysis.open(tmp_path / "board.csv")


def test_a_damaged_file_is_named_and_not_the_query_blamed(study):
    torn = sorted((study / "tables" / "trials").glob("*.parquet"))[0]
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"^{re.escape(str(torn))}: cannot be read: [\s\S]*kdsweep check {study}"):
        analysis.open(study).leaderboard()


def test_a_quote_in_the_path_is_only_a_quote(study, tmp_path):
    assert len(analysis.open(study.rename(tmp_path / "it's")).trials()) == 42


def test_new_trials_are_seen_without_opening_again(study):
    results = analysis.open(study)
    tables.write(study, "trials", "t9", [{"study_id": STUDY, "trial_id": "t9", "number": 999}])
    assert len(results.trials()) == 43


def test_files_that_an_older_version_wrote_have_null_for_what_it_did_not_know(tmp_path):
    """In one study and in another, whichever file comes first; one column of a later version is not known yet."""
    old, new = tmp_path / "old", tmp_path / "new"
    for study in (old, new):
        write_study(study, study_id=study.name, name=study.name)
    row = {"lr": 0.5, "precision": "float32", "stop_reason": "rung", "ended_at": BEGAN}
    for study, trial in ((old, "b"), (old, "c"), (new, "d")):
        tables.write(study, "trials", trial, [{"study_id": study.name, "trial_id": trial, **row}])
    _rewrite(old / "tables/trials/b.parquet", lambda table: table.drop_columns(["precision", "ended_at"]))
    _rewrite(old / "tables/trials/c.parquet", lambda table: table.append_column("later", pa.array([1])))

    for order in ([old, new], [new, old]):
        trials = analysis.open(order).sql("SELECT * FROM trials ORDER BY trial_id")
        assert list(trials.columns) == [column.name for column in tables.TABLES["trials"]]
        assert trials["lr"].tolist() == [0.5, 0.5, 0.5]
        assert trials["precision"].isna().tolist() == [True, False, False]
        assert trials["ended_at"].isna().tolist() == [True, False, False]
        assert trials["stop_reason"].tolist() == ["rung", "rung", "rung"]


@pytest.mark.parametrize("many", [0, 10_000])
def test_a_query_that_says_what_it_reads_sees_that_alone_of_few_files_and_of_many(study, monkeypatch, many):
    monkeypatch.setattr(queries, "_MANY_FILES", many)
    reads = {"trials": ("arm_id", "epochs_done")}
    results = analysis.open(study)
    answers = results.rows({
        "arms": Query("SELECT arm_id, sum(epochs_done)::INT AS epochs FROM trials GROUP BY ALL ORDER BY ALL", reads),
        "seeds": Query("SELECT count(DISTINCT seed) AS n FROM trials", {"trials": ("seed",)}),
        "models": "SELECT model FROM teachers ORDER BY ALL",
    })
    assert answers["arms"][0] == {"arm_id": "ce-small", "epochs": 20}
    assert len(answers["arms"]) == 6
    assert answers["seeds"] == [{"n": 3}]
    assert answers["models"] == [{"model": "big"}, {"model": "wide"}]
    with pytest.raises(ValueError, match=r'sql: [\s\S]*"stage" not found'):
        results.rows({"stages": Query("SELECT stage FROM trials", reads)})


def test_each_file_is_read_once_for_all_queries_that_say_what_they_read(study, monkeypatch):
    monkeypatch.setattr(queries, "_MANY_FILES", 0)
    held = []
    expose = sandbox.expose
    monkeypatch.setattr(sandbox, "expose", lambda *arguments, hold, **options: held.append(hold) or expose(
        *arguments, hold=hold, **options))
    query = Query("SELECT count(*) AS n FROM trials", {"trials": ("seed",)})
    assert analysis.open(study).rows({"one": query, "two": query}) == {"one": [{"n": 42}], "two": [{"n": 42}]}
    assert analysis.open(study).rows({"one": query}) == {"one": [{"n": 42}]}
    assert held == [{"trials"}, set()]      # what nobody else needs is read where it lies


def test_only_the_files_of_the_tables_that_a_query_names_are_listed(study, monkeypatch):
    listed = []
    files = tables.files
    monkeypatch.setattr(tables, "files", lambda directory, table: listed.append(table) or files(directory, table))
    analysis.open(study).sql("SELECT * FROM epochs JOIN main.Trials USING (trial_id) WHERE EXISTS (FROM evals)")
    assert listed == ["trials", "epochs", "evals"]  # trials first: what it lists is complete in the others


def test_status_counts_the_trials_of_every_arm(study):
    arms = analysis.open(study).status()
    assert arms.columns.tolist() == [
        "study_id", "arm_id", "data", "teacher", "student", "method_label", "completed", "stopped", "diverged",
        "failed", "repeats", "running", "epochs", "seconds", "best_val_top1"]
    assert len(arms) == 6
    kd = arms.set_index("arm_id").loc["kd-tiny"]
    # the search: 4, 2, 1 and 1 epochs, one trial of each status; three repeats of 4; 2 s an epoch; see make_study
    assert kd.to_dict() == {
        "study_id": "s1", "data": "toy", "teacher": "big", "student": "tiny", "method_label": "kd", "completed": 4,
        "stopped": 1, "diverged": 1, "failed": 1, "repeats": 3, "running": 0, "epochs": 20, "seconds": 40.0,
        "best_val_top1": 0.9,
    }


def test_status_tells_repeats_and_the_best_value_of_completed_trials_alone(tmp_path):
    write_study(tmp_path)
    trials = [
        ("tune", "completed", 0.5), ("tune", "stopped", 0.9), ("tune", "completed", 0.6), ("repeat", "completed", 0.8),
        ("repeat", "failed", None), ("teacher", "completed", 0.95),
    ]
    for number, (stage, status, value) in enumerate(trials):
        arm = None if stage == "teacher" else "kd-tiny"
        tables.write(tmp_path, "trials", f"t{number}", [{"study_id": STUDY, "trial_id": f"t{number}", "number": number,
                     "arm_id": arm, "stage": stage, "status": status, "val_top1": value}])
    arm, teacher = analysis.open(tmp_path).status().to_dict("records")
    assert (arm["completed"], arm["stopped"], arm["failed"], arm["repeats"]) == (3, 1, 1, 1)
    assert arm["best_val_top1"] == 0.6
    assert (teacher["completed"], teacher["repeats"]) == (1, 0)
    assert pd.isna(teacher["best_val_top1"])


def test_status_counts_trials_that_have_epochs_and_are_not_final_per_study(study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    for trial in ("u1", "u2"):
        tables.write(other, "epochs", trial, [{"study_id": "s2", "trial_id": trial, "epoch": 1}])
    arms = analysis.open([study, other]).status()
    assert len(arms) == 13
    last = arms.iloc[-1]
    assert (last["study_id"], last["running"], last["completed"]) == ("s2", 2, 0)
    assert last[["arm_id", "epochs", "seconds", "best_val_top1"]].isna().all()
    assert arms["running"].sum() == 2


def test_status_of_a_study_without_final_trials_is_empty_with_its_types(tmp_path):
    write_study(tmp_path)
    arms = analysis.open(tmp_path).status()
    assert arms.empty
    assert arms["completed"].dtype == pd.Int64Dtype()


@pytest.mark.parametrize("when", ["before they are stamped", "after they are stamped"])
def test_a_query_is_asked_again_when_a_listed_file_has_gone(study, monkeypatch, when):
    """As when a table is compacted: other files with the same rows take the place of those that were listed."""
    folder = study / "tables" / "trials"
    name = "_stamp" if when == "before they are stamped" else "_ask"
    original, calls = getattr(queries, name), []

    def move_once_and_go_on(*arguments):
        if not calls:
            for path in folder.iterdir():
                path.rename(folder / f"moved-{path.name}")
        calls.append(1)
        return original(*arguments)

    results = analysis.open(study)
    monkeypatch.setattr(queries, name, move_once_and_go_on)
    assert results.sql("SELECT count(*) AS n FROM trials")["n"].tolist() == [42]


def test_counts_only_grow_while_another_process_publishes_trials(tmp_path):
    """And every trial that is listed has all its epochs: they are published first."""
    writer = textwrap.dedent("""
        import sys
        from pathlib import Path
        from analysis import tables
        directory = Path(sys.argv[1])
        tables.write(directory, "studies", "s1", [{"study_id": "s1", "name": "growing"}])
        for number in range(300):
            key = {"study_id": "s1", "trial_id": f"t{number}"}
            epochs = number % 7 + 1
            tables.write(directory, "epochs", f"t{number}", [{**key, "epoch": e} for e in range(epochs)])
            trial = {**key, "number": number, "arm_id": "a", "status": "completed", "epochs_done": epochs}
            tables.write(directory, "trials", f"t{number}", [trial])
            if number == 0:
                print("ready", flush=True)
    """)
    query = """
        SELECT count(*) AS trials, coalesce(count(*) FILTER (n = epochs_done), 0) AS whole
        FROM trials LEFT JOIN (SELECT trial_id, count(*) AS n FROM epochs GROUP BY 1) USING (trial_id)
    """
    with subprocess.Popen([sys.executable, "-c", writer, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            results, seen, at_work = analysis.open(tmp_path), [0], True
            while at_work:
                at_work = process.poll() is None     # asked before the tables are, so that the last look sees all
                found = results.sql(query).iloc[0]
                assert found["trials"] == found["whole"] >= seen[-1]
                seen.append(found["trials"])
                status = results.status()
                assert found["trials"] <= status["completed"].sum() <= 300
                assert status["running"].sum() <= 1
        finally:
            process.kill()
    assert process.returncode == 0
    assert seen[-1] == 300


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


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)
