"""Runs a study in this process, one job after the other: for debugging, for small studies, as the reference for Ray."""

from __future__ import annotations

from sweeps import trial
from sweeps.driver import Driver


def run_inline(driver: Driver) -> None:
    """Returns when the study is done."""
    while (job := driver.next_job()) is not None:
        for report in trial.run(job, directory=driver.directory):
            if not driver.tell(job, report):
                break
