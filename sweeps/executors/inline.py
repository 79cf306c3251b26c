"""Runs a study in this process, one job after the other: for debugging, for small studies, as the reference for Ray."""

from __future__ import annotations

from pathlib import Path

from sweeps import trial
from sweeps.driver import Driver
from sweeps.interrupt import catch_signals


def run_inline(driver: Driver, directory: Path) -> None:
    """Returns when the study in `directory` is done. Raises Interrupted at the first signal."""
    with catch_signals(immediate=True) as interruption:
        while True:
            with interruption.deferred():
                job = driver.next_job()
            if job is None:
                return
            for report in trial.run(job, directory=directory):
                interruption.check()  # torch.save, interrupted, raises its own error: that is no failure of the trial
                with interruption.deferred():
                    goes_on = driver.tell(job, report)
                if not goes_on:
                    break
