"""`kdsweep` on a local Ray: interrupted, then gone on with, as a person would."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.cli_runs import TINY, run_apart


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_study_on_ray_is_interrupted_and_goes_on_with_the_printed_command(tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(TINY.replace("epochs: 2}", "epochs: 60}"))
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps", "run", "tiny.yaml"], cwd=tmp_path, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert process.stderr.readline().startswith("tiny: 2 arms of 3 trials and 2 repeats, ")  # Ray has started
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    command = err.partition("hint: go on with it: ")[2]
    assert command == "kdsweep resume results/tiny\n"
    ran = run_apart(*shlex.split(command)[1:], cwd=tmp_path)
    assert ran.code == 0
    assert ran.out.startswith("tiny\n")
    assert ran.err.endswith("tables: results/tiny/tables\nreport: results/tiny/report.html\n")
