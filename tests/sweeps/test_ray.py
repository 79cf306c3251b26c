"""The same studies on Ray Tune: equal on one slot, whole on two, and no worse for a dead worker or a dead driver."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import ray
import torch

from analysis import tables
from sweeps.executors import ray as executor
from sweeps.journal import read_events
from tests.sweeps import studies_on_disk as disk
from tests.sweeps.studies_on_disk import TINY

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

ONE_SLOT = TINY + "resources: {max_parallel: 1}\n"
TWO_PAIRS = TINY.replace("]\nmethods", ", {teacher: resnet8(width=2), student: wrn_16_1(width=1)}]\nmethods")


def _run_on_ray(folder, text, **place):
    driver, directory = disk.open_driver(folder, text, **place)
    executor.run_on_ray(driver, directory)
    assert driver.is_done
    driver.close()
    return directory


def _read(directory, table, **where):
    rows = tables.read(directory, table).to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def _assert_whole(directory):
    """Every epoch of every trial once, every trial final, nothing left of Tune."""
    trials = tables.read(directory, "trials").to_pylist()
    rows, distinct = disk.count_keys(directory)
    assert rows == distinct == sum(row["epochs_done"] for row in trials)
    assert {row["trial_id"] for row in trials} == {
        event["trial_id"] for event in read_events(directory / "journal" / "events.jsonl") if event["type"] == "asked"
    }
    assert not (directory / "staging" / "tune").exists()


def test_on_one_slot_ray_decides_and_measures_what_the_inline_executor_does(tmp_path):
    on_ray = _run_on_ray(tmp_path / "ray", ONE_SLOT)
    inline = disk.run(tmp_path / "inline", ONE_SLOT)
    assert disk.read_decisions(on_ray) == disk.read_decisions(inline)
    assert disk.read_all(on_ray) == disk.read_all(inline)


def test_on_two_slots_every_row_is_there_once(tmp_path):
    directory = _run_on_ray(tmp_path, TWO_PAIRS)
    _assert_whole(directory)
    events = [event for event in read_events(directory / "journal" / "events.jsonl") if event["type"] == "asked"]
    assert [event["stage"] for event in events[:2]] == ["teacher", "tune"]  # ce searches while the teacher trains


def test_a_trial_whose_worker_is_killed_goes_on_elsewhere_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("KILLER_FOLDER", str(tmp_path))
    text = TINY.replace("[ce, kd]", "[ce, {label: odd, method: 'tests.sweeps.killers:KillsItsWorkerOnce'}]")
    directory = _run_on_ray(tmp_path, text)
    assert (tmp_path / "killed").exists()
    _assert_whole(directory)
    lost = [event for event in read_events(directory / "journal" / "events.jsonl") if event.get("how") == "lost"]
    assert [(event["epoch"], event["error_type"]) for event in lost] == [(1, "lost")]
    assert "actor died" in lost[0]["error_text"]
    (row,) = _read(directory, "trials", trial_id=lost[0]["trial_id"])
    assert (row["status"], row["retries"], row["error_type"]) == ("completed", 0, None)
    epochs = sorted((r["epoch"], r["job"]) for r in _read(directory, "epochs", trial_id=row["trial_id"]))
    assert epochs == [(1, 1), (2, row["jobs"])]  # job 1 paused after the epoch that no later job repeats


def test_a_worker_that_ran_out_of_memory_ends_and_takes_no_other_job_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("KILLER_FOLDER", str(tmp_path))
    text = TINY.replace("[ce, kd]", "[ce, {label: odd, method: 'tests.sweeps.killers:AlwaysOutOfMemory'}]")
    directory = _run_on_ray(tmp_path, text + "failure: {retries: 1, max_failed_fraction: 1.0}\n")
    _assert_whole(directory)
    events = list(read_events(directory / "journal" / "events.jsonl"))
    assert [event for event in events if event.get("how") == "lost"] == []
    odd = _read(directory, "trials", method_label="odd")
    assert {(row["status"], row["error_type"], row["jobs"]) for row in odd} == {("failed", "out_of_memory", 2)}
    assert _read(directory, "trials", method_label="ce", status="failed") == []


def test_the_drivers_own_error_is_not_lost_in_tune(tmp_path, monkeypatch):
    driver, directory = disk.open_driver(tmp_path)
    full = OSError("no space left on device")
    monkeypatch.setattr(driver.journal, "append", lambda event: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match=r"^no space left on device$"):
        executor.run_on_ray(driver, directory)
    assert not ray.is_initialized()


def test_a_driver_killed_on_two_slots_and_resumed_keeps_every_promise(tmp_path):
    text = TWO_PAIRS.replace("epochs: 2, warmup_epochs: 0, batch", "epochs: 12, warmup_epochs: 0, batch")
    (tmp_path / "study.yaml").write_text(text)
    kills = 0
    for _ in range(3):
        kills += _kill_during_work(tmp_path, text)
    assert kills == 3
    directory = _run_on_ray(tmp_path, text)
    _assert_whole(directory)
    trials = tables.read(directory, "trials").to_pylist()
    assert len([row for row in trials if row["stage"] == "tune"]) == 4 * 3


def test_a_trial_that_no_node_can_hold_is_one_clear_error(tmp_path):
    driver, directory = disk.open_driver(tmp_path, TINY + "resources: {cpu: 1, gpu: 1}\n")
    with pytest.raises(ValueError, match=r"no node of this Ray has 1 CPU and 1 GPU for a trial; .* and 0 GPU"):
        executor.run_on_ray(driver, directory)


def test_an_address_where_no_cluster_answers_is_one_clear_error(tmp_path):
    driver, directory = disk.open_driver(tmp_path)
    with pytest.raises(ValueError, match=r"--address 127.0.0.1:1: no Ray cluster answers"):
        executor.run_on_ray(driver, directory, address="127.0.0.1:1")


@pytest.mark.parametrize(
    ("has", "cpu", "gpu", "slots"),
    [
        ({"CPU": 8}, 1, 0, 8),
        ({"CPU": 8}, 3, 0, 2),
        ({"CPU": 8, "GPU": 2}, 1, 0.25, 8),
        ({"CPU": 16, "GPU": 2}, 1, 0.34, 4),
        ({"CPU": 16, "GPU": 2}, 1, 1, 2),
        ({"CPU": 8}, 1, 0.5, 0),
        ({"CPU": 8, "GPU": 3}, 0, 0.5, 6),
    ],
)
def test_a_node_holds_as_many_trials_as_its_scarcest_resource_allows(has, cpu, gpu, slots):
    assert executor.count_on_node(has, cpu=cpu, gpu=gpu) == slots


def test_a_job_survives_its_way_to_a_worker(tmp_path):
    driver, _ = disk.open_driver(tmp_path)
    job = driver.next_job()
    assert executor.decode_job(executor.encode_job(job)) == job
    driver.close()


def test_a_trial_without_a_share_of_a_gpu_stays_off_the_gpus_of_its_node(tmp_path):
    driver, _ = disk.open_driver(tmp_path)
    job = driver.next_job()
    driver.close()
    anywhere = replace(job, config=replace(job.config, device="auto"))
    assert executor.place_job(anywhere, gpu=0).config.device == "cpu"
    assert executor.place_job(anywhere, gpu=0.25).config.device == "auto"
    assert executor.place_job(anywhere, gpu=0).config.trial_id == job.trial_id


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_two_trials_share_it_and_every_row_is_there_once(tmp_path):
    directory = _run_on_ray(tmp_path, TINY + "resources: {cpu: 1, gpu: 0.5}\n", device="cuda")
    _assert_whole(directory)
    assert all(row["device_seconds"] > 0 for row in tables.read(directory, "epochs").to_pylist())


def _kill_during_work(folder, text):
    """Runs the study in a process of its own and kills it with SIGKILL in the middle of a job. 1 if it was."""
    code = f"""if True:
        from pathlib import Path
        from tests.sweeps import test_ray
        test_ray._run_on_ray(Path({str(folder)!r}), Path({str(folder / "study.yaml")!r}).read_text())"""
    journal = folder / "tiny" / "journal" / "events.jsonl"
    before = len(list(read_events(journal)))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        events = list(read_events(journal))
        if len(events) > before + 8 and _count_running(events) > 0:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    process.wait()
    return int(_count_running(list(read_events(journal))) > 0)


def _count_running(events):
    running = set()
    for event in events:
        if event["type"] == "opened":
            running.clear()
        elif event["type"] == "asked":
            running.add(event["trial_id"])
        elif event["type"] == "ended" or (event["type"] == "rung" and event["then"] != "go"):
            running.discard(event["trial_id"])
    return len(running)


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("The current node timed out during startup. It", ValueError, "local: Ray did not start.*\n\nhint: the"),
        ("another failure", RuntimeError, "^another failure$"),
    ],
)
def test_a_ray_that_does_not_start_in_time_is_one_clear_error(monkeypatch, said, kind, told):
    def fail(**how):
        raise RuntimeError(said)

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(kind, match=told):
        executor.start_ray("local")
