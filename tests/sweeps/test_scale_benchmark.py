"""The benchmark of growth runs whole studies, and its arithmetic has known answers."""

import io
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet
import pytest

from analysis import tables
from benchmarks import scale, scale_memory, scale_study
from benchmarks.random_trials import TINY_PAIR
from benchmarks.scale_memory import Memory
from benchmarks.scale_study import Cost
from kdtrain.train import train_on_batch
from sweeps.driver import Driver

TINY_DATA = "benchmarks.random_trials:TINY"


@pytest.mark.parametrize(("costs", "exponent"), [
    ([3.0, 3.0, 3.0], 0.0),
    ([1.0, 4.0, 16.0], 1.0),
    ([3.0, 6.0, 12.0], 0.5),
    ([4.0, 1.0, 0.25], -1.0),
    ([1.0, 4.0, 4.0], 0.5),     # (0, 0), (1, 1), (2, 1) in steps of log 4: no line meets all, the nearest has slope 1/2
])
def test_the_exponent_is_the_slope_of_the_logarithms(costs, exponent):
    assert scale.fit_exponent([1, 4, 16], costs) == pytest.approx(exponent)


def test_the_exponent_is_fitted_to_medians_of_one_kind_of_growth():
    found = {
        ("slots", 1): [Cost(0.010, 1.0, 10), Cost(0.020, 1.0, 10), Cost(9.0, 1.0, 10)],
        ("slots", 4): [Cost(0.080, 1.0, 10)],
        ("data", 1): [Cost(9.0, 9.0, 1)],
    }
    assert scale.fit_axis(found, "slots", "cpu_seconds") == pytest.approx(1.0)
    assert scale.fit_axis(found, "slots", "wall_seconds") == pytest.approx(0.0)


def test_a_cost_is_shown_in_milliseconds_of_one_trial(capsys):
    found = {("slots", 1): [Cost(0.010, 0.5, 10)], ("slots", 4): [Cost(0.160, 0.5, 10)]}
    scale.print_growth(found)
    lines = capsys.readouterr().out.splitlines()
    assert "| slots | 4 | 10 | 16.000 | 16.000 to 16.000 | 50.000 | 50.000 to 50.000 |" in lines
    assert "| slots | +2.00 | +0.00 |" in lines


@pytest.mark.parametrize("slots", [1, 3])
def test_a_study_whose_trials_cost_nothing_comes_to_its_end_and_publishes_all(tmp_path, slots):
    study = scale_study.build_study(tmp_path, trials=4, pairs=2)
    driver = Driver.open(study, tmp_path, weights_dir=tmp_path / "_weights")
    scale_study.run_for_nothing(driver, tmp_path, slots=slots)
    assert driver.is_done
    driver.close()
    trials = tables.read(tmp_path, "trials").to_pylist()
    assert sorted(row["stage"] for row in trials) == ["repeat"] * 2 + ["tune"] * 8
    assert tables.read(tmp_path, "epochs").num_rows == sum(row["epochs_done"] for row in trials)
    completed = {row["trial_id"] for row in trials if row["status"] == "completed"}
    assert set(tables.read(tmp_path, "evals")["trial_id"].to_pylist()) == completed
    assert len({row["epochs_done"] for row in trials}) > 1  # some were stopped early


@pytest.mark.parametrize("slots", [1, 3])
def test_as_many_jobs_are_asked_for_as_there_are_slots_before_one_reports(tmp_path, slots):
    study = scale_study.build_study(tmp_path, trials=4, pairs=1)
    driver = Driver.open(study, tmp_path, weights_dir=tmp_path / "_weights")
    scale_study.run_for_nothing(driver, tmp_path, slots=slots)
    kinds = [event["type"] for event in driver.journal.events if event["type"] in ("asked", "rung")]
    driver.close()
    assert kinds.index("rung") == slots


def test_a_promoted_trial_reports_what_is_new_and_stages_its_whole_history(tmp_path):
    study = scale_study.build_study(tmp_path, trials=2, pairs=1)
    driver = Driver.open(study, tmp_path, weights_dir=tmp_path / "_weights")
    job = replace(driver.next_job(), job=2, after_epoch=3, stops=(9,))
    driver.close()
    reports = list(scale_study._report_epochs(job, tmp_path, {}))
    assert [report["epoch"] for report in reports] == [4, 5, 6, 7, 8, 9]
    assert [report["end"] for report in reports] == [None] * 5 + ["completed"]
    (staged,) = (tmp_path / "staging").glob("epochs.*.2.parquet")
    assert pyarrow.parquet.read_table(staged)["epoch"].to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_cost_of_a_study_is_shared_by_its_trials_and_repeats(tmp_path):
    found = scale_study.measure_study(tmp_path, trials=2, pairs=3, slots=2)
    assert found.count == 3 * (2 + 1)
    assert found.cpu_seconds > 0
    assert found.wall_seconds > 0


def test_every_kind_of_growth_is_measured_at_every_size_in_every_round(monkeypatch):
    asked = []
    monkeypatch.setattr(scale, "_measure_point", lambda point, size, folder: asked.append(point) or Cost(1, 1, 1))
    found = scale.measure_growth(scale.TINY, repeats=2, folder=None)
    points = [(axis, factor) for axis in ("trials", "pairs", "slots", "data") for factor in (1, 2)]
    assert asked == [("trials", 1), ("data", 1), *points, *points]
    assert {point: len(costs) for point, costs in found.items()} == dict.fromkeys(points, 2)


@pytest.mark.parametrize(("point", "count"), [
    (("trials", 2), 3), (("pairs", 2), 10), (("slots", 2), 3), (("data", 2), 200)
])
def test_what_grows_is_what_is_named(point, count):
    """One arm of two settings and a repeat; two arms of four and a repeat each; two times a hundred images."""
    assert scale._measure_point(point, scale.TINY, None).count == count


@pytest.mark.parametrize(("axis", "asked"), [
    ("trials", {"trials": 16, "pairs": 1, "slots": 4}),
    ("pairs", {"trials": 4, "pairs": 16, "slots": 4}),
    ("slots", {"trials": 64, "pairs": 1, "slots": 16}),
])
def test_one_thing_grows_and_the_others_stay(monkeypatch, axis, asked):
    monkeypatch.setattr(scale, "measure_study", lambda folder, **grown: grown)
    assert scale._measure_point((axis, 16), scale.Size(), None) == asked


def test_the_cost_of_an_image_is_that_of_the_second_epoch_alone(tmp_path, monkeypatch):
    spent = {"cpu_seconds": 0.0, "wall_seconds": 0.0}

    def train(config):
        """As a trial does: one and the same dict, that grows."""
        for cpu, wall in ((5.0, 7.0), (2.0, 3.0)):
            spent["cpu_seconds"] += cpu
            spent["wall_seconds"] += wall
            yield SimpleNamespace(run=SimpleNamespace(spent=spent))

    monkeypatch.setattr(scale, "train", train)
    assert scale.measure_epoch(tmp_path, num_images=100) == Cost(2.0, 3.0, 100)


def test_the_sizes_are_1_4_16_and_64():
    assert scale.Size().factors == (1, 4, 16, 64)
    assert scale.Size().processes == (1, 2, 4)


# Memory

def test_memory_is_read_from_the_kernels_own_words():
    text = "Name:\tpython\nRss:            2048 kB\nPss:             512 kB\nThreads:\t3\n"
    assert scale_memory._read_kilobytes(text) == {"Rss": 2 * 2**20, "Pss": 2**19}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_process_shares_some_of_what_it_holds():
    found = scale_memory.read_memory(os.getpid())
    assert 0 < found.proportional <= found.resident <= found.peak


def test_the_memory_of_several_is_their_sum():
    assert Memory.of([Memory(1, 2, 3), Memory(10, 20, 30)]) == Memory(11, 22, 33)


def test_one_process_more_takes_the_average_from_the_fewest_to_the_most():
    found = {1: Memory(100, 200, 300), 2: Memory(0, 0, 0), 4: Memory(160, 500, 900)}
    assert scale.find_extra(found) == Memory(20, 100, 200)


def test_a_held_trial_trains_three_steps_and_says_so(tmp_path, monkeypatch, capsys):
    config, steps = scale_memory.prepare_trial(tmp_path, TINY_PAIR, data=TINY_DATA), []

    def step(run, fed, **moment):
        steps.append(len(fed.label_B))
        train_on_batch(run, fed, **moment)

    monkeypatch.setattr(scale_memory, "train_on_batch", step)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    scale_memory.hold_trial(config)
    assert capsys.readouterr().out == "ready\n"
    assert steps == [64, 64, 64]
    assert list((tmp_path / "_tables").rglob("*.chunk"))  # the teacher was asked for a table


@pytest.mark.slow
def test_each_process_holds_its_trial(tmp_path):
    config = scale_memory.prepare_trial(tmp_path, TINY_PAIR, data=TINY_DATA)
    one, two = (scale_memory.measure_memory(config, count, tmp_path) for count in (1, 2))
    assert one.resident < two.resident
    assert two.proportional < two.resident


def test_a_process_that_ends_before_its_trial_stands_is_told_of(tmp_path, monkeypatch):
    config = scale_memory.prepare_trial(tmp_path, TINY_PAIR, data=TINY_DATA)
    monkeypatch.setattr(scale_memory.sys, "executable", "/bin/true")
    with pytest.raises(RuntimeError, match="ended before its trial stood"):
        scale_memory.measure_memory(config, 1, tmp_path)
