"""What `kdsweep` answers without training anything: help, listings, checks, errors and their exit codes."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.cli_runs import TINY, run_apart, run_here


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


def test_the_version_is_that_of_the_package(capsys):
    assert run_here(capsys, "--version") == (0, "kdsweep 0.1.0\n", "")


LIGHT = [["--help"], ["run", "--help"], ["leaderboard", "nowhere"], ["sql", "nowhere", "select 1"]]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_commands_that_do_not_train_load_neither_torch_nor_ray(arguments: list[str], tmp_path: Path):
    code = (
        "import sys\n"
        "from sweeps.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        "    print(sorted({'torch', 'ray', 'optuna'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.endswith("[]\n")


def test_an_unknown_verb_and_an_unknown_option_are_wrong_arguments(capsys):
    for arguments in (["runn"], ["run", "digits", "--fast"], ["run"]):
        ran = run_here(capsys, *arguments)
        assert ran.code == 2
        assert ran.out == ""
        assert "Usage: kdsweep" in ran.err


def test_a_misspelt_study_is_answered_with_the_one_that_exists(capsys):
    ran = run_here(capsys, "run", "digist")
    assert ran.code == 2
    sentence, _, hint = ran.err.partition("\n\n")
    assert sentence.startswith("error: no study `digist`. Did you mean `digits`? Known: cifar10_small, digits, fashion")
    assert hint == "hint: a study of your own is found by its path, such as ./digist.yaml\n"


def test_a_wrong_study_file_is_answered_with_file_and_key(capsys, study_file: Path):
    study_file.write_text(TINY.replace("sampler: random", "sampler: randon"))
    ran = run_here(capsys, "validate", "tiny.yaml")
    assert ran.code == 2
    assert ran.err == "error: tiny.yaml: search.sampler: 'randon' is none of 'tpe', 'random' or 'grid'\n"


def test_missing_data_are_told_before_anything_is_written(capsys, study_file: Path):
    study_file.write_text(TINY.replace("digits, train_images: 100", "cifar10"))
    ran = run_here(capsys, "run", "tiny.yaml", "--data-root", "nowhere")
    assert ran.code == 2
    assert ran.err.startswith("error: data set CIFAR10: cannot be read from ")
    assert "\n\nhint: " in ran.err
    assert not Path("results/tiny").exists()


def test_resume_where_nothing_began_says_how_to_begin(capsys, study_file: Path):
    ran = run_here(capsys, "resume", "results/tiny")
    assert ran == (2, "", "error: results/tiny: no study was begun here\n\nhint: begin one: kdsweep run STUDY\n")


def test_validate_says_what_a_study_comes_to(capsys, study_file: Path):
    assert run_here(capsys, "validate", "tiny.yaml") == (0, "tiny is valid: 1 pair, 2 arms, 1 teacher\n", "")


def test_validate_shows_warnings_apart_from_the_data(capsys, study_file: Path):
    study_file.write_text(TINY.replace("tune:\n  lr: {log: [0.01, 0.5]}\n", ""))
    ran = run_here(capsys, "validate", "tiny.yaml")
    assert ran.out == "tiny is valid: 1 pair, 2 arms, 1 teacher\n"
    assert ran.err == "warning: methods.ce: nothing is searched: its trials differ by seed alone\n"


def test_validate_as_json_has_the_resolved_study_on_demand(capsys, study_file: Path):
    facts = json.loads(run_here(capsys, "validate", "tiny.yaml", "--json").out)
    assert facts["arms"] == 2
    assert "resolved" not in facts
    shown = json.loads(run_here(capsys, "validate", "tiny.yaml", "--json", "--show").out)
    assert shown["resolved"]["search"] == {"sampler": "random", "trials_per_arm": 3, "seed": 0}


def test_validate_shows_the_resolved_study_as_yaml(capsys, study_file: Path):
    import yaml

    resolved = yaml.safe_load(run_here(capsys, "validate", "tiny.yaml", "--show").out)
    assert [arm["label"] for arm in resolved["arms"]] == ["ce", "kd"]


def test_plan_counts_trials_and_epochs(capsys, study_file: Path):
    """An arm: 3 trials to rung 1, one of them to 2 and to 3, and 2 repeats of 3 epochs. Two arms; 2 of a teacher."""
    cost = json.loads(run_here(capsys, "plan", "tiny.yaml", "--json", "--device", "cpu").out)
    assert cost["trials"] == 2 * (3 + 2) + 1
    assert cost["epochs_low"] == cost["epochs_high"] == 2 * (5 + 6) + 2
    assert cost["seconds_low"] > 0
    assert [arm["arm_id"].rpartition("/")[2] for arm in cost["arms"]] == ["ce", "kd"]


def test_plan_shows_a_row_an_arm_and_their_sum(capsys, study_file: Path):
    lines = run_here(capsys, "plan", "tiny.yaml", "--device", "cpu").out.splitlines()
    assert lines[0].split() == ["arm", "or", "teacher", "trials", "+", "repeats", "epochs", "time", "on", "one", "slot"]
    assert lines[1].startswith("teacher resnet8(width=2)")
    assert lines[2].startswith("table of resnet8(width=2), 100 kB")
    assert [line.split()[:5] for line in lines[3:5]] == [
        ["digits/none/resnet8(width=1)/ce", "3", "+", "2", "11"],
        ["digits/resnet8(width=2)/resnet8(width=1)/kd", "3", "+", "2", "11"],
    ]
    assert lines[5].split()[:3] == ["all", "11", "24"]


def test_a_locked_study_is_told_with_its_owner(capsys, study_file: Path, begun: Path):
    with open(begun / "journal" / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("host elsewhere, pid 12")
        lock.flush()
        ran = run_here(capsys, "resume", str(begun))
    assert ran.code == 5
    owner = "another driver is at work on this study (host elsewhere, pid 12)"
    assert ran.err.startswith(f"error: {begun.resolve()}: {owner}\n\nhint: ")


def test_a_study_that_changed_since_it_began_is_refused(capsys, study_file: Path, begun: Path):
    (begun / "study.yaml").write_text(TINY.replace("seed: 0", "seed: 1"))
    ran = run_here(capsys, "resume", str(begun))
    assert ran.code == 6
    assert ran.err.startswith(f"error: {begun}/study.yaml: the study changed since it began: its hash is ")
    assert "\n\nhint: put study.yaml back" in ran.err
    assert run_here(capsys, "status", str(begun)).code == 6


def test_more_slots_do_not_change_a_study(capsys, study_file: Path, begun: Path):
    (begun / "study.yaml").write_text(TINY + "resources: {max_parallel: 1}\n")
    assert run_here(capsys, "status", str(begun)).code == 0


def test_a_traceback_is_shown_on_demand(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KDSWEEP_TRACEBACK", "1")
    ran = run_here(capsys, "run", "digist")
    assert ran.code == 2
    assert ran.err.startswith("Traceback (most recent call last):")


def test_an_internal_error_leaves_with_its_traceback(study_file: Path, tmp_path: Path, begun: Path):
    (begun / "study.json").write_text("{}")
    ran = run_apart("status", str(begun), cwd=tmp_path)
    assert ran.code == 1
    assert "KeyError: 'teachers'" in ran.err


@pytest.fixture
def begun(study_file: Path) -> Path:
    """A study that was opened and has asked for nothing yet; its directory as the user types it."""
    from sweeps import study as studies
    from sweeps.driver import Driver, write_study_files

    directory = Path("results/tiny")
    study = studies.load("tiny.yaml")
    write_study_files(study, directory)
    Driver.open(study, directory, weights_dir=Path("results/_weights")).close()
    return directory
