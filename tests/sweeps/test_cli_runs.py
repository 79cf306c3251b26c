"""Whole studies through `kdsweep`, in one process each: run, look, be interrupted, go on, fail."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.sweeps.cli_runs import TINY, Ran, run_apart, run_here

RUN = ("run", "tiny.yaml", "--executor", "inline", "--device", "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The directory in which a study was run to its end, and what the command said."""
    directory = tmp_path_factory.mktemp("finished")
    (directory / "tiny.yaml").write_text(TINY)
    return directory, run_apart(*RUN, cwd=directory)


def _drop_code(board: str) -> str:
    """The board without the commit, which may move on while the tests run."""
    return "\n".join(line for line in board.splitlines() if not line.startswith("code "))


def test_a_run_prints_its_board_and_says_where_everything_lies(finished: tuple[Path, Ran]):
    directory, ran = finished
    assert ran.code == 0
    assert ran.out.startswith("tiny\n")
    assert "digits: resnet8(width=2) → resnet8(width=1)" in ran.out
    assert ran.err.splitlines()[0] == "tiny: 2 arms of 3 trials and 2 repeats, 1 slot"
    assert ran.err.endswith("tables: results/tiny/tables\nreport: results/tiny/report.html\n")
    assert (directory / "results/tiny/report.html").exists()
    assert len(list((directory / "results/tiny/tables/trials").glob("*.parquet"))) == 2 * (3 + 2) + 1
    assert len(list((directory / "results/_weights").iterdir())) == 1


def test_a_study_that_exists_is_not_run_again(finished: tuple[Path, Ran], capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished[0])
    assert run_here(capsys, *RUN) == (
        2, "",
        "error: results/tiny: the study exists\n\n"
        "hint: go on with it: kdsweep resume results/tiny --executor inline --device cpu\n",
    )


def test_a_finished_study_says_so_and_shows_its_board(
    finished: tuple[Path, Ran], capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished[0])
    ran = run_here(capsys, "resume", "results/tiny", "--executor", "inline")
    assert ran.code == 0
    assert _drop_code(ran.out) == _drop_code(finished[1].out)
    assert ran.err.startswith("tiny: the study is finished\n")


def test_the_status_of_a_finished_study(finished: tuple[Path, Ran], capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished[0])
    found = json.loads(run_here(capsys, "status", "results/tiny", "--json").out)
    assert found["finished"]
    assert not found["driver_alive"]
    assert found["trials"] == {"completed": 1 + 2 + 4, "stopped": 4}
    assert [arm["status"] for arm in found["arms"]] == ["done", "done"]
    lines = run_here(capsys, "status", "results/tiny").out.splitlines()
    assert lines[0] == "tiny: 24 of at most 24 epochs, arms: 2 done"
    assert lines[1].startswith("finished; last event ")
    assert lines[2].startswith("teacher resnet8(width=2) (w")
    assert [line.split()[-8:-6] for line in lines[4:]] == [["ce", "done"], ["kd", "done"]]


def test_the_analysis_verbs_read_what_a_run_wrote(
    finished: tuple[Path, Ran], capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished[0])
    board = run_here(capsys, "leaderboard", "results/tiny").out
    assert _drop_code(board) == _drop_code(finished[1].out)
    query = "select count(*) as trials from trials where stage = 'repeat'"
    assert json.loads(run_here(capsys, "sql", "results/tiny", query, "--json").out) == [{"trials": 4}]
    refused = run_here(capsys, "sql", "results/tiny", "drop table trials")
    assert refused.code == 2
    assert refused.err.startswith("error: ")


def test_a_second_study_finds_the_teacher_of_the_first(finished: tuple[Path, Ran]):
    directory = finished[0]
    (directory / "second.yaml").write_text(TINY.replace("study: tiny", "study: second").replace("[ce, kd]", "[kd]"))
    plan = run_apart("plan", "second.yaml", "--json", cwd=directory)
    assert json.loads(plan.out)["teachers"] == []
    ran = run_apart("run", "second.yaml", "--executor", "inline", cwd=directory)
    assert ran.code == 0
    assert "teacher" not in ran.err


def test_a_study_that_was_refused_before_it_began_runs_once_it_is_right(finished: tuple[Path, Ran]):
    directory, _ = finished
    other = TINY.replace("study: tiny", "study: gated")
    (directory / "gated.yaml").write_text(other.replace("epochs: 2}", "epochs: 2, gate: {val_top1: 0.999}}"))
    run = ("run", "gated.yaml", "--executor", "inline", "--device", "cpu")
    refused = run_apart(*run, cwd=directory)
    assert refused.code == 2
    assert "is under the study's gate 0.999" in refused.err
    (directory / "gated.yaml").write_text(other)
    assert run_apart(*run, cwd=directory).code == 0


def test_an_interrupted_study_goes_on_with_the_printed_command(tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(TINY.replace("epochs: 2}", "epochs: 60}"))
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps", *RUN], cwd=tmp_path, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stderr.readline() == "tiny: 2 arms of 3 trials and 2 repeats, 1 slot\n"  # it trains from here on
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert out == ""
    message, command = err.split("\n\nhint: go on with it: ")
    assert message.splitlines()[-1] == "interrupted"
    assert command == "kdsweep resume results/tiny --executor inline --device cpu\n"
    status = json.loads(run_apart("status", "results/tiny", "--json", cwd=tmp_path).out)
    assert not status["finished"]
    ran = run_apart(*shlex.split(command)[1:], cwd=tmp_path)
    assert ran.code == 0
    assert "digits: resnet8(width=2) → resnet8(width=1)" in ran.out


FAILING = dedent("""\
    from dataclasses import dataclass

    from kdtrain.methods.ce import Method


    @dataclass(frozen=True)
    class Failing(Method):
        def __call__(self, batch, own):
            raise RuntimeError("no gradient today")
    """)


def _run_failing(directory: Path, failure: str) -> Ran:
    """A study of plain training, and of a user's own method that raises in each trial."""
    (directory / "own.py").write_text(FAILING)
    text = TINY.replace("[ce, kd]", "[ce, 'own:Failing']") + f"failure: {failure}\n"
    (directory / "tiny.yaml").write_text(text)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(directory), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", *RUN], cwd=directory, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_study_that_finished_with_failed_trials_leaves_with_3(tmp_path: Path):
    ran = _run_failing(tmp_path, "{retries: 0, max_failed_fraction: 1}")
    assert ran.code == 3
    assert "failed after epoch 0: RuntimeError: no gradient today; given up\n" in ran.err
    assert "digits/none/resnet8(width=1)/Failing: searched, no trial came to its end\n" in ran.err
    assert '3 trials failed\n\nhint: kdsweep sql results/tiny "select ' in ran.err


def test_a_study_with_too_many_failed_trials_is_given_up(tmp_path: Path):
    ran = _run_failing(tmp_path, "{retries: 0, max_failed_fraction: 0}")
    assert ran.code == 4
    reason = "1 of 10 planned trials failed, more than failure.max_failed_fraction allows"
    assert ran.err.endswith(f"error: given up: {reason}\n")
