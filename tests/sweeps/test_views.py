"""Which trials see the same views, and what a study with a teacher table is beside one without."""

import re

import pytest

from analysis import tables
from sweeps import study
from tests.sweeps.cli_runs import TINY, run_here
from tests.sweeps.tiny_study import WHOLE, change, read

CROPPED = change("fix: {recipe: small, epochs: 9}", "fix: {recipe: small, epochs: 9, augment: crop, padding: 1}")


def views_of(found):
    """Stage -> the seed that its trials draw views by, None for each its own."""
    return {stage: found.trial_config(found.arms[0], {}, seed=3, stage=stage).view_seed for stage in ("tune", "repeat")}


@pytest.mark.parametrize(("line", "seeds"), [
    ("", {"tune": 1, "repeat": None}),
    ("views: own\n", {"tune": None, "repeat": None}),
    ("views: shared\n", {"tune": 1, "repeat": 1}),
    ("views: {tune: own, repeat: shared}\n", {"tune": None, "repeat": 1}),
])
def test_a_stage_shares_its_views_by_the_study_s_seed_or_has_its_own(line, seeds):
    assert views_of(read(CROPPED + line)) == seeds


def test_views_without_a_number_are_shared_too():
    text = change("augment: crop, padding: 1", "augment: resized_crop_flip", CROPPED)
    assert views_of(read(text)) == {"tune": 1, "repeat": None}


def test_where_an_image_has_one_view_sharing_names_no_other_study_or_trial():
    plain = change("augment: crop, padding: 1", "augment: none", CROPPED)
    studies = [read(plain + line) for line in ("", "views: own\n", "views: shared\n")]
    assert len({found.study_id for found in studies}) == 1
    assert views_of(studies[0]) == {"tune": None, "repeat": None}


def test_with_views_of_their_own_shipped_studies_are_those_of_before():
    for name, study_id in (("digits", "s0543c3955b7115ec"), ("fashion_mnist", "sd6b7bd7ef77765cc")):
        text = study.load(name).source_text
        assert study.parse(text + "\nviews: own\n", name).study_id == study_id


def test_a_table_is_no_part_of_what_a_study_is():
    kept, unkept = read(WHOLE), read(WHOLE + "teacher_table: off\n")
    assert kept.study_id == unkept.study_id
    assert kept.at(tables_dir="somewhere").tables_dir == "somewhere"
    assert unkept.at(tables_dir="somewhere").tables_dir is None


@pytest.mark.parametrize(("line", "max_bytes"), [
    ("", 32 * 10**9), ("teacher_table: on\n", 32 * 10**9), ("teacher_table: {max_bytes: 1e6}\n", 10**6),
])
def test_a_table_has_a_bound(line, max_bytes):
    found = read(WHOLE + line).at(tables_dir="somewhere")
    assert found.trial_config(found.arms[0], {}, seed=3, stage="tune").table_bytes == max_bytes


@pytest.mark.parametrize(("line", "problem"), [
    ("views: mine\n", "tiny.yaml: views.tune: 'mine' is none of 'shared' or 'own'\n"
     "tiny.yaml: views.repeat: 'mine' is none of 'shared' or 'own'"),
    ("teacher_table: {max_bytes: 0}\n", "tiny.yaml: teacher_table.max_bytes: 0 is below 1"),
    ("teacher_table: 7\n", "tiny.yaml: teacher_table: 7 is not a mapping"),
])
def test_anything_else_is_refused_by_its_key(line, problem):
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        read(WHOLE + line)


def rows(directory, table):
    """Every row but for what a clock says and how teachers were asked."""
    odd = {"teacher_pass", "epoch_seconds", "wall_seconds", "cpu_seconds", "peak_bytes", "started_at", "ended_at"}
    found = tables.read(directory, table).to_pylist()
    return sorted(str({name: value for name, value in row.items() if name not in odd}) for row in found)


def test_a_study_with_a_table_has_the_rows_of_one_without_and_gc_removes_it(tmp_path, capsys):
    (tmp_path / "with.yaml").write_text(TINY)
    (tmp_path / "without.yaml").write_text(TINY + "teacher_table: off\n")
    for name in ("with", "without"):
        ran = run_here(capsys, "run", tmp_path / f"{name}.yaml", "--results", tmp_path / name, "--executor", "inline")
        assert ran.code == 0, ran.err
    for table in ("trials", "epochs", "evals"):
        assert rows(tmp_path / "with" / "tiny", table) == rows(tmp_path / "without" / "tiny", table)
    passes = {row["teacher_pass"] for row in tables.read(tmp_path / "with" / "tiny", "trials").to_pylist()}
    assert passes == {"none", "table"}
    (table,) = (tmp_path / "with" / "_teacher_tables").iterdir()
    assert not (tmp_path / "without" / "_teacher_tables").exists()

    kept = run_here(capsys, "gc", "--results", tmp_path / "with", "--dry-run")
    assert kept.out.startswith(f"would remove {table}: ")
    assert table.exists()
    removed = run_here(capsys, "gc", "--results", tmp_path / "with")
    assert removed.out.startswith(f"removed {table}: ")
    assert not table.exists()
    assert run_here(capsys, "gc", "--results", tmp_path / "with").err.startswith("no teacher table lies under")


def test_gc_keeps_what_an_unfinished_study_needs(tmp_path, capsys, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY)
    run_here(capsys, "run", tmp_path / "tiny.yaml", "--results", tmp_path, "--executor", "inline")
    monkeypatch.setattr("sweeps.audit.is_finished", lambda directory: False)
    kept = run_here(capsys, "gc", "--results", tmp_path, "--json")
    assert '"removed": false' in kept.out
    assert '"tiny"' in kept.out
    assert len(list((tmp_path / "_teacher_tables").iterdir())) == 1


def test_a_trial_whose_answers_found_no_room_says_so_in_its_row_and_is_none_the_worse(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(TINY + "teacher_table: {max_bytes: 100}\n")
    ran = run_here(capsys, "run", tmp_path / "tiny.yaml", "--results", tmp_path, "--executor", "inline")
    assert ran.code == 0, ran.err
    told = {row["method"]: set() for row in tables.read(tmp_path / "tiny", "trials").to_pylist()}
    for row in tables.read(tmp_path / "tiny", "trials").to_pylist():
        told[row["method"]].add((row["error_type"], (row["error_text"] or "nothing").partition(":")[0]))
    assert told == {"ce": {(None, "nothing")}, "kd": {(None, "teacher table")}}
    assert run_here(capsys, "check", tmp_path / "tiny").code == 0
