"""Whole studies in this process: failures, orphans, teachers, tables that follow from the journal."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from analysis import tables
from sweeps import trial
from sweeps.executors.inline import run_inline
from sweeps.interrupt import Interrupted
from sweeps.journal import read_events
from tests.sweeps import studies_on_disk as disk
from tests.sweeps.studies_on_disk import TINY


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return disk.run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def killers(tmp_path, monkeypatch):
    monkeypatch.setenv("KILLER_FOLDER", str(tmp_path))
    return lambda name: TINY.replace("[ce, kd]", f"[ce, {{label: odd, method: 'tests.sweeps.killers:{name}'}}]")


def _rows(directory, table, **where):
    rows = tables.read(directory, table).to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def test_every_row_is_there_once_and_belongs_to_a_trial(undisturbed):
    trials = {row["trial_id"]: row for row in _rows(undisturbed, "trials")}
    epochs = [(row["trial_id"], row["epoch"]) for row in _rows(undisturbed, "epochs")]
    assert sorted(epochs) == sorted((i, e) for i, row in trials.items() for e in range(1, row["epochs_done"] + 1))
    assert [row["stage"] for row in trials.values()].count("tune") == 6
    assert [row["stage"] for row in trials.values()].count("repeat") == 2
    tested = {row["trial_id"] for row in _rows(undisturbed, "evals", split="test")}
    assert tested == {i for i, row in trials.items() if row["stage"] in ("repeat", "teacher")}


def test_the_search_never_sees_test(undisturbed):
    for row in _rows(undisturbed, "trials", stage="tune"):
        assert row["test_top1"] is None
    for event in read_events(undisturbed / "journal" / "events.jsonl"):
        if event["type"] == "ended" and event["how"] == "completed":
            stage = next(row["stage"] for row in _rows(undisturbed, "trials", trial_id=event["trial_id"]))
            splits = [found["split"] for found in event["evals"]]
            assert splits == (["val"] if stage == "tune" else ["val", "test"])


def test_a_test_curve_has_every_epoch_of_every_repeat_trial_once_and_of_no_other(undisturbed):
    repeats = {row["trial_id"]: row for row in _rows(undisturbed, "trials", stage="repeat")}
    curves = _rows(undisturbed, "test_curves")
    assert sorted((row["trial_id"], row["epoch"]) for row in curves) == sorted((i, e) for i in repeats for e in (1, 2))
    for row in curves:
        assert (row["study_id"], row["num_images"]) == (repeats[row["trial_id"]]["study_id"], 1097)
        if row["epoch"] == 2:
            assert row["test_top1"] == repeats[row["trial_id"]]["test_top1"]
    has_agreement = {repeats[row["trial_id"]]["method"]: row["test_agreement"] is not None for row in curves}
    assert has_agreement == {"ce": False, "kd": True}


def test_what_is_decided_and_trained_does_not_depend_on_a_test_curve(undisturbed, tmp_path):
    plain = disk.run(tmp_path, TINY.replace(", test_curve: true", ""))
    assert disk.read_decisions(plain) == disk.read_decisions(undisturbed)
    found, expected = ({table: [{**row, "study_id": None} for row in rows] for table, rows in disk.read_all(d).items()}
                       for d in (plain, undisturbed))
    assert found.pop("test_curves") == []
    assert len(expected.pop("test_curves")) == 4
    assert found == expected


def test_no_report_holds_a_test_curve_and_none_of_the_search_holds_test(tmp_path):
    driver, directory = disk.open_driver(tmp_path)
    told, tell = [], driver.tell

    def listen(job, report):
        told.append((job, report))
        return tell(job, report)

    driver.tell = listen
    run_inline(driver, directory)
    driver.close()
    assert {job.stage for job, _ in told} == {"teacher", "tune", "repeat"}
    for job, report in told:
        assert report.keys() <= {"epoch", "value", "end", "spent", "facts", "environment", "evals", "value_epoch"}
        (row,) = _rows(directory, "epochs", trial_id=job.trial_id, epoch=report["epoch"])
        assert report["value"] == row["val_top1"]
        splits = [found["split"] for found in report.get("evals", [])]
        assert splits in ([], ["val"] if job.stage == "tune" else ["val", "test"])
    journal = (directory / "journal" / "events.jsonl").read_text()
    first_epochs = [row["test_nll"] for row in _rows(directory, "test_curves", epoch=1)]
    assert len(first_epochs) == 2
    assert not any(repr(value) in journal for value in first_epochs)


@pytest.mark.parametrize("told", [0, 1])
def test_a_repeat_trial_that_fails_keeps_the_rows_and_the_test_curve_of_the_epochs_that_it_told_of(tmp_path, told):
    """Its worker came to the end, and the driver heard of less."""
    driver, directory = disk.open_driver(tmp_path, TINY + "failure: {retries: 0, max_failed_fraction: 1.0}\n")
    while (job := driver.next_job()).stage != "repeat":
        for report in trial.run(job, directory=directory):
            if not driver.tell(job, report):
                break
    first, last = trial.run(job, directory=directory)
    assert last["end"] == "completed"
    driver.tell(job, {**first, "epoch": told, "value": None, "end": "failed", "error_type": "OSError"})
    driver.close()
    for table in ("epochs", "test_curves"):
        assert [row["epoch"] for row in _rows(directory, table, trial_id=job.trial_id)] == [1][:told]


def test_a_trial_says_why_it_stopped_and_how_it_computed(undisturbed):
    """Of three trials at the rung half go on: one. The others wait until their arm is closed."""
    for label in ("ce", "kd"):
        reasons = [row["stop_reason"] for row in _rows(undisturbed, "trials", stage="tune", method_label=label)]
        assert sorted(reasons, key=str) == [None, "arm_done", "arm_done"]
    rows = _rows(undisturbed, "trials")
    assert {row["stop_reason"] for row in rows if row["status"] != "stopped"} == {None}
    assert {(row["precision"], row["memory_format"]) for row in rows} == {("float32", "channels_last")}


def test_a_trials_settings_hold_what_was_searched_of_the_training_too(undisturbed):
    for row in _rows(undisturbed, "trials", stage="tune"):
        settings = json.loads(row["settings_json"])
        assert settings["lr"] == row["lr"]
        assert set(settings) == {"lr", "weight"} | ({"temperature"} if row["method_label"] == "kd" else set())
        assert settings["weight"] == row["weight"]


def test_an_arms_repeats_train_its_winners_setting_on_fresh_seeds(undisturbed):
    for event in read_events(undisturbed / "journal" / "events.jsonl"):
        if event["type"] == "closed":
            (winner,) = _rows(undisturbed, "trials", trial_id=event["winner"])
            (repeat,) = _rows(undisturbed, "trials", arm_id=event["arm_id"], stage="repeat")
            assert repeat["setting_id"] == winner["setting_id"]
            assert repeat["settings_json"] == winner["settings_json"]
            assert repeat["lr"] == winner["lr"]
            assert repeat["seed"] != winner["seed"]


def test_tables_that_were_lost_are_built_again_from_the_journal(undisturbed, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(undisturbed, copy)
    shutil.copytree(undisturbed.parent / "_weights", tmp_path / "_weights")
    expected = disk.read_all(copy)
    for table in ("trials", "evals", "teachers", "environments", "studies"):
        shutil.rmtree(copy / "tables" / table)
    disk.run(tmp_path)
    assert disk.read_all(copy) == expected
    assert len(_rows(copy, "studies")) == 1
    for row in _rows(copy, "trials"):
        assert len(_rows(copy, "environments", environment_id=row["environment_id"])) == 1


def test_an_orphan_that_outlives_its_driver_changes_nothing_that_is_read(undisturbed, tmp_path):
    driver, directory = disk.open_driver(tmp_path)
    orphans = []
    while len(orphans) < 6:  # the driver dies with several jobs under way, each after its first epoch
        job = driver.next_job()
        reports = trial.run(job, directory=directory)
        first = next(reports)
        orphans.append((job, reports))
        if driver.tell(job, first):
            continue
    driver.close()
    disk.run(tmp_path)
    before = disk.read_all(directory), _list_files(directory / "tables"), _list_files(directory / "checkpoints")
    events = list(read_events(directory / "journal" / "events.jsonl"))
    for _, reports in orphans:
        for _report in reports:
            pass
    assert disk.read_all(directory) == before[0] == disk.read_all(undisturbed)
    assert _list_files(directory / "tables") == before[1]
    assert before[2].items() <= _list_files(directory / "checkpoints").items()
    disk.run(tmp_path)
    assert list(read_events(directory / "journal" / "events.jsonl"))[: len(events)] == events
    assert disk.read_all(directory) == before[0]


def test_a_trial_that_raises_is_tried_again_and_then_failed_with_its_text_and_rows(tmp_path, killers):
    text = killers("Raises") + "failure: {retries: 1, max_failed_fraction: 1.0}\n"
    directory = disk.run(tmp_path, text)
    failed = _rows(directory, "trials", status="failed")
    assert failed
    for row in failed:
        assert (row["error_type"], row["retries"], row["jobs"] >= 2) == ("RuntimeError", 1, True)
        assert "this method cannot count to two" in row["error_text"]
        assert [r["epoch"] for r in _rows(directory, "epochs", trial_id=row["trial_id"])] == [1]
        assert row["epochs_done"] == 1
    assert all(row["status"] == "completed" for row in _rows(directory, "trials", method_label="ce", stage="repeat"))


def test_a_signal_while_a_checkpoint_is_written_fails_no_trial(tmp_path, monkeypatch):
    def save(_state, _file):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:  # as torch does, which finds the file half written when it closes it
            raise RuntimeError("unexpected pos 29504 vs 29432")

    monkeypatch.setattr("kdtrain.checkpoint.torch.save", save)
    with pytest.raises(Interrupted):
        disk.run(tmp_path)
    events = read_events(next(tmp_path.glob("**/events.jsonl")))
    assert [event["type"] for event in events if event["type"] == "ended"] == []


def test_a_trial_that_once_ran_out_of_memory_goes_on_from_its_checkpoint(tmp_path, killers):
    directory = disk.run(tmp_path, killers("RunsOutOfMemoryOnce"))
    (retried,) = [row for row in _rows(directory, "trials") if row["retries"] == 1]
    assert retried["status"] == "completed"
    assert [row["epoch"] for row in _rows(directory, "epochs", trial_id=retried["trial_id"])] == [1, 2]


def test_a_diverged_trial_is_no_failure_and_keeps_its_rows(tmp_path):
    text = TINY.replace("lr: {log: [0.01, 0.5]}", "lr: {choice: [1.0e+9]}")
    directory = disk.run(tmp_path, text)
    tuned = _rows(directory, "trials", stage="tune")
    assert {row["status"] for row in tuned} == {"diverged"}
    assert {(row["val_top1"], row["retries"], row["error_type"]) for row in tuned} == {(None, 0, None)}
    for row in tuned:
        epochs = _rows(directory, "epochs", trial_id=row["trial_id"])
        assert len(epochs) == row["epochs_done"]
        assert epochs[-1]["loss_total"] is None
    assert _rows(directory, "trials", stage="repeat") == []


def test_a_stored_diverged_trial_is_told_again_and_trains_no_further(tmp_path):
    driver, directory = disk.open_driver(tmp_path, TINY.replace("lr: {log: [0.01, 0.5]}", "lr: {choice: [1.0e+9]}"))
    while (job := driver.next_job()).stage != "tune":
        for report in trial.run(job, directory=directory):
            driver.tell(job, report)
    first = list(trial.run(job, directory=directory))
    again = list(trial.run(replace(job, job=2), directory=directory))
    assert [report["end"] for report in again] == [report["end"] for report in first]
    assert first[-1]["end"] == "diverged"


def test_an_infinite_likelihood_is_none_in_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("kdtrain.evaluate.F.nll_loss", lambda *_: torch.tensor(math.inf))
    directory = disk.run(tmp_path)
    assert {row["nll"] for row in _rows(directory, "evals")} == {None}
    assert {row["val_nll"] for row in _rows(directory, "epochs")} == {None}


def test_the_rows_of_a_trial_that_failed_between_rungs_are_kept(tmp_path, killers):
    text = killers("Raises").replace("rule: asha", "rule: none") + "failure: {retries: 0, max_failed_fraction: 1.0}\n"
    directory = disk.run(tmp_path, text)
    for row in _rows(directory, "trials", status="failed"):
        assert (row["epochs_done"], row["retries"], row["jobs"]) == (1, 0, 1)
        assert [r["epoch"] for r in _rows(directory, "epochs", trial_id=row["trial_id"])] == [1]


def test_a_study_that_is_given_up_keeps_the_rows_it_was_told(tmp_path, killers):
    text = killers("Raises").replace("rule: asha", "rule: none").replace("epochs: 2, w", "epochs: 5, w")
    driver, directory = disk.open_driver(tmp_path, text + "failure: {retries: 0, max_failed_fraction: 0}\n")
    jobs = [driver.next_job() for _ in range(3)]
    runs = [trial.run(job, directory=directory) for job in jobs]
    labels = [job.arm_id.rpartition("/")[2] for job in jobs]
    plain, odd = labels.index("ce"), labels.index("odd")
    for _ in range(3):
        assert driver.tell(jobs[plain], next(runs[plain]))
    assert driver.tell(jobs[odd], next(runs[odd]))
    assert not driver.tell(jobs[odd], next(runs[odd]))
    assert driver.next_job() is None
    assert driver.planner.state.abandoned is not None
    (cut,) = _rows(directory, "trials", trial_id=jobs[plain].trial_id)
    assert (cut["status"], cut["stop_reason"], cut["epochs_done"]) == ("stopped", "given_up", 3)
    assert len(_rows(directory, "epochs", trial_id=cut["trial_id"])) == 3


def test_an_error_with_a_file_name_that_is_no_unicode_is_kept(tmp_path, killers):
    text = killers("Raises") + "failure: {retries: 0, max_failed_fraction: 1.0}\n"
    driver, directory = disk.open_driver(tmp_path, text)
    job = driver.next_job()
    error = {"error_type": "OSError", "error_text": "cannot read d\udce9.png"}
    report = {"epoch": 0, "value": None, "end": "failed", "environment": {"environment_id": "v1"}}
    driver.tell(job, report | error)
    driver.close()
    (row,) = _rows(directory, "trials", trial_id=job.trial_id)
    assert row["error_text"] == "cannot read d\\udce9.png"
    disk.run(tmp_path, text)


@pytest.mark.parametrize("harm", [shutil.rmtree, lambda folder: (folder / "weights.pt").write_bytes(b"other")])
def test_a_study_whose_own_teacher_is_gone_or_altered_is_not_resumed_into_its_ruin(tmp_path, harm):
    driver, directory = disk.open_driver(tmp_path)
    while "ready" not in driver.planner.state.teachers.values():
        job = driver.next_job()
        for report in trial.run(job, directory=directory):
            if not driver.tell(job, report):
                break
    driver.close()
    (folder,) = (tmp_path / "_weights").iterdir()
    harm(folder)
    with pytest.raises(ValueError, match=r"its weights are gone|the teacher was altered"):
        disk.run(tmp_path)


def test_a_stored_teacher_is_used_by_the_next_study_and_not_trained_again(undisturbed, tmp_path):
    shutil.copytree(undisturbed.parent / "_weights", tmp_path / "_weights")
    directory = disk.run(tmp_path, TINY.replace("seed: 0", "seed: 1"))
    assert _rows(directory, "trials", stage="teacher") == []
    assert len(_rows(directory, "teachers")) == 1
    assert len(_rows(directory, "trials", method_label="kd", stage="repeat")) == 1


def test_a_stored_teacher_that_was_altered_is_refused(undisturbed, tmp_path):
    shutil.copytree(undisturbed.parent / "_weights", tmp_path / "_weights")
    (weights,) = (tmp_path / "_weights").glob("*/weights.pt")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="the teacher was altered since it was stored"):
        disk.run(tmp_path)


def test_a_stored_teacher_under_the_gate_is_refused_before_anything_runs(undisturbed, tmp_path):
    shutil.copytree(undisturbed.parent / "_weights", tmp_path / "_weights")
    text = TINY.replace("warmup_epochs: 0}\npairs", "warmup_epochs: 0, gate: {val_top1: 0.99}}\npairs")
    with pytest.raises(ValueError, match=r"val_top1 0\.\d+ is under the study's gate 0.99"):
        disk.run(tmp_path, text)


def test_a_trained_teacher_under_the_gate_blocks_its_arms_alone(tmp_path):
    text = TINY.replace("warmup_epochs: 0}\npairs", "warmup_epochs: 0, gate: {val_top1: 0.99}}\npairs")
    directory = disk.run(tmp_path, text)
    (teacher,) = _rows(directory, "trials", stage="teacher")
    assert (teacher["status"], teacher["error_type"]) == ("failed", "gate")
    assert _rows(directory, "trials", method_label="kd") == []
    assert len(_rows(directory, "trials", method_label="ce", stage="repeat")) == 1


def test_a_journal_changed_by_hand_is_refused(undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "tiny")
    path = tmp_path / "tiny" / "journal" / "events.jsonl"
    events = list(read_events(path))
    rung = next(event for event in events if event["type"] == "rung")
    rung["value"] += 0.1
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.raises(ValueError, match=rf"event {rung['n']} \(rung\) does not follow from those before it"):
        disk.open_driver(tmp_path)


def test_the_journal_is_written_before_a_table_shows_what_it_decided(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(tables, "write", lambda results, table, key, rows: written.append((table, key)))
    driver, directory = disk.open_driver(tmp_path)
    original = driver.journal.append

    def append(event):
        assert not any(key == event.get("trial_id") for table, key in written if table == "trials")
        original(event)

    monkeypatch.setattr(driver.journal, "append", append)
    run_inline(driver, directory)
    assert any(table == "trials" for table, _ in written)


def _list_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
