"""The command line as tests call it, and a study that takes two seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TINY = """\
study: tiny
data: {name: digits, train_images: 100}
teachers: {recipe: small, epochs: 2}
pairs:
  - {teacher: resnet8(width=2), student: resnet8(width=1)}
methods: [ce, kd]
tune:
  lr: {log: [0.01, 0.5]}
fix: {recipe: small, epochs: 3, batch_size: 50}
search: {sampler: random, trials_per_arm: 3, seed: 0}
stop: {rule: asha, eta: 2, grace: 1}
repeat: {seeds: 2, train_on: train, epoch: last}
"""


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """`kdsweep` in this process."""
    from sweeps.cli import main

    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Ran(left.value.code or 0, captured.out, captured.err)


def run_apart(*arguments: str, cwd: Path) -> Ran:
    """`kdsweep` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)
