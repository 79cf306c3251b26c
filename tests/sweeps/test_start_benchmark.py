"""The benchmark of the start times what it says."""

import time

from benchmarks import start
from benchmarks.first_step import take_step


def test_a_study_s_first_epoch_comes_after_its_start_and_the_next_job_after_that(tmp_path):
    first, following = start.measure_study(tmp_path, executor="inline")
    assert 0 < following < first


def test_the_floor_tells_when_its_step_was_done():
    before = time.time()
    assert before < take_step() < time.time()
    assert start.measure_floor(executor="inline") > 0


def test_ratios_are_to_the_floor_of_the_same_executor():
    found = {("ray", "floor"): [2.0, 4.0, 9.0], ("ray", "first epoch"): [8.0], ("ray", "next job"): [0.5]}
    assert list(start.describe(found)) == [
        "| ray | floor | 4.000 | 2.000 to 9.000 | 1.00 |", "| ray | first epoch | 8.000 | 8.000 to 8.000 | 2.00 |",
        "| ray | next job | 0.500 | 0.500 to 0.500 | - |",
    ]
