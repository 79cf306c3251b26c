"""What won an arm: the rule against the tables, never by test; and the student that is exported of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import tables
from sweeps import best, trial
from sweeps.executors.replay import replay
from tests.sweeps import studies_on_disk as disk
from tests.sweeps.cli_runs import run_here
from tests.sweeps.curves import draw_curve, draw_fate, draw_pick, make_study

TEXT = disk.TINY.replace("seeds: 1,", "seeds: 3,")
STUDENT = "resnet8(width=1)"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two arms with three repeats each, away from where it ran and from its teachers."""
    ran = disk.run(tmp_path_factory.mktemp("ran"), TEXT)
    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.move(ran, moved)
    return moved


def _read_trials(directory: Path, **where: str) -> list[dict]:
    rows = tables.read(directory, "trials").to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def _find(directory: Path) -> dict[str, dict]:
    planner = best.read_planner(directory)
    return {w.arm.label: best.to_row(w, directory) for w in best.find_winners(planner)}


def test_the_tables_alone_lead_to_the_same_winners(finished: Path):
    found = _find(finished)
    assert list(found) == ["ce", "kd"]
    for label, row in found.items():
        tune = _read_trials(finished, method_label=label, stage="tune", status="completed")
        repeats = _read_trials(finished, method_label=label, stage="repeat", status="completed")
        winner = min(tune, key=lambda t: (-t["val_top1"], t["number"]))
        chosen = min(repeats, key=lambda t: (-t["val_top1"], t["seed"]))
        assert {t["setting_id"] for t in repeats} == {winner["setting_id"]}
        assert row["settings"]["lr"] == winner["lr"]
        assert (row["val_top1"], row["stage"], row["num_repeats"]) == (winner["val_top1"], "repeat", 3)
        assert row["test_top1"] == pytest.approx(sum(t["test_top1"] for t in repeats) / 3, rel=1e-15)
        assert (row["trial_id"], row["chosen_by"]) == (chosen["trial_id"], "best validation")
        assert row["checkpoint"] == chosen["checkpoint"]
        assert (finished / row["checkpoint"]).exists()


def test_whatever_test_says_another_trial_is_never_chosen(finished: Path):
    planner = best.read_planner(finished)
    before = [winner.chosen.trial_id for winner in best.find_winners(planner)]
    for raised in [each for each in planner.state.trials.values() if each.stage == "repeat"]:
        for each in planner.state.trials.values():
            for found in each.report.get("evals", []):
                if found["split"] == "test":
                    found["top1"] = float(each is raised)
        assert [winner.chosen.trial_id for winner in best.find_winners(planner)] == before


@pytest.mark.parametrize(
    ("values", "seeds", "chosen", "rule"),
    [
        ([0.5, 0.7, 0.6], [1, 2, 3], 1, "best validation"),
        ([0.7, 0.5, 0.7], [3, 2, 1], 2, "best validation"),
        ([None, None, None], [3, 1, 2], 1, "lowest seed"),
    ],
    ids=["highest", "equal", "no validation"],
)
def test_of_the_repeats_the_one_with_the_highest_validation_value_is_chosen_else_the_lowest_seed(
    values: list, seeds: list, chosen: int, rule: str
):
    planner = replay(make_study(methods="ce", seeds=3, trials=3), draw_curve()).planner
    repeats = planner.state.of_arm("repeat", planner.study.arms[0].arm_id)
    for repeat, value, seed in zip(repeats, values, seeds, strict=True):
        repeat.value, repeat.seed = value, seed
    (winner,) = best.find_winners(planner)
    assert (winner.chosen, winner.chosen_by) == (repeats[chosen], rule)


def test_repeats_that_trained_on_validation_are_chosen_by_seed(tmp_path: Path):
    text = TEXT.replace("train_on: train,", "train_on: train+validation,").replace("[ce, kd]", "[ce]")
    directory = disk.run(tmp_path, text.replace("train_images: 40", "validation: 600"))
    repeats = _read_trials(directory, stage="repeat")
    (row,) = _find(directory).values()
    assert {t["val_top1"] for t in repeats} == {None}
    assert (row["trial_id"], row["chosen_by"]) == (min(repeats, key=lambda t: t["seed"])["trial_id"], "lowest seed")


@pytest.mark.parametrize("reports", range(0, 70, 9))
def test_at_any_time_a_repeat_stands_for_the_arm_or_else_its_best_search_trial_so_far(reports: int):
    """With failures, losses and any order: the winner of the planner, once it has decided."""
    run = {"slots": 3, "pick": draw_pick(1), "fate": draw_fate(2, failed=0.05, lost=0.05), "curve": draw_curve(3)}
    planner = replay(make_study(seeds=2), **run, max_reports=reports).planner
    for winner in best.find_winners(planner):
        tune, repeat = (planner.state.of_arm(stage, winner.arm.arm_id) for stage in ("tune", "repeat"))
        completed = [each for each in repeat if each.status == "completed"]
        assert list(winner.repeats) == completed
        if winner.arm.arm_id in planner.state.winners:
            assert getattr(winner.searched, "trial_id", None) == planner.state.winners[winner.arm.arm_id]
        if completed:
            assert winner.chosen in completed
        else:
            assert winner.chosen is winner.searched
            assert winner.chosen_by == (None if winner.chosen is None else "best of the search")
        assert (winner.searched is None) == (not any(each.status == "completed" for each in tune))


@pytest.fixture
def searching(tmp_path: Path) -> Path:
    """A study whose driver was killed after its first completed trial of a search."""
    driver, directory = disk.open_driver(tmp_path, TEXT.replace("rule: asha", "rule: none"))
    while not any(t.stage == "tune" and t.status == "completed" for t in driver.planner.state.trials.values()):
        job = driver.next_job()
        for report in trial.run(job, directory=directory):
            if not driver.tell(job, report):
                break
    driver.close()
    return directory


def test_while_no_repeat_is_completed_the_search_trial_stands_for_its_arm_and_says_so(searching: Path, capsys):
    rows = list(_find(searching).values())
    (row,) = [row for row in rows if row["trial_id"] is not None]
    assert (row["stage"], row["chosen_by"], row["test_top1"], row["num_repeats"]) == (
        "tune", "best of the search", None, 0,
    )
    (empty,) = [row for row in rows if row["trial_id"] is None]
    assert {value for name, value in empty.items() if name not in (*best.KEYS, "num_repeats")} == {None}
    ran = run_here(capsys, "best", searching, "--method", row["method"], "--export", searching / "student.pt")
    assert ran.code == 0
    assert "no repeat is completed: the search trial itself, which never saw test" in ran.err
    card = json.loads((searching / "student.pt.json").read_text())
    assert (card["stage"], card["trial_id"], card["test_top1"]) == ("tune", row["trial_id"], None)
    ran = run_here(capsys, "best", searching, "--method", empty["method"], "--export", searching / "other.pt")
    assert ran.code == 2
    assert ran.err.endswith(f"/{empty['method']}: no trial is completed, there is nothing to export\n")


def test_the_exported_student_measures_what_the_tables_say(finished: Path, capsys, tmp_path: Path):
    ran = run_here(capsys, "best", finished, "--method", "kd", "--export", tmp_path / "student.pt")
    assert ran.code == 0
    (row,) = [row for row in _find(finished).values() if row["method"] == "kd"]
    card = json.loads((tmp_path / "student.pt.json").read_text())
    (table,) = _read_trials(finished, trial_id=row["trial_id"])
    assert _measure_apart(tmp_path, card) == table["test_top1"] == card["test_top1"]
    for name in ("study_id", "trial_id", "setting_id", "arm_id", "method_label", "stage", "val_top1"):
        assert card[name] == table[name]
    assert (card["config"]["teacher_id"], card["config"]["seed"]) == (table["teacher_id"], table["seed"])
    assert card["code_version"] == tables.read(finished, "studies").to_pylist()[0]["code_version"]
    assert card["chosen_by"] == "of the completed repeats the one with the highest validation top-1"
    assert ran.err.splitlines()[-1] == f"{tmp_path / 'student.pt'}: trial {row['trial_id']}: {card['chosen_by']}"


def _measure_apart(folder: Path, card: dict) -> float:
    code = "\n".join([
        *card["how_to_load"],
        "import json; torch.set_num_threads(1)",
        "from kdtrain.config import TrialConfig; from kdtrain.evaluate import measure",
        "from kdtrain.images import load_images",
        "config = TrialConfig.from_dict(json.load(open('student.pt.json'))['config'])",
        "images = load_images(config)",
        "print(repr(measure(model, images.test, images.info).top1))",
    ])
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True,
                          check=True)
    return float(done.stdout)


def test_best_shows_a_row_an_arm_and_the_rule(finished: Path, capsys):
    ran = run_here(capsys, "best", finished)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].strip() == "tiny"
    assert [line.split()[:1] for line in lines[2:]] == [["digits"], ["digits"]]
    assert "lr 0." in lines[2]
    assert ran.err == (
        "note: chosen by best validation: of the completed repeats the one with the highest validation top-1\n"
    )


def test_best_as_json_has_the_settings_as_values_and_explains_its_columns(finished: Path, capsys):
    found = json.loads(run_here(capsys, "best", finished, "--student", STUDENT, "--teacher", "none", "--json").out)
    assert [row["method"] for row in found["rows"]] == ["ce"]
    assert found["rows"] == [_find(finished)["ce"]]
    assert [column["name"] for column in found["columns"]] == [name for name, *_ in best.COLUMNS]


def test_only_one_arm_can_be_exported(finished: Path, capsys, tmp_path: Path):
    ran = run_here(capsys, "best", finished, "--student", STUDENT, "--export", tmp_path / "student.pt")
    assert ran.code == 2
    assert ran.err == (
        "error: --export writes the student of one arm; these match: digits/none/resnet8(width=1)/ce, "
        "digits/resnet8(width=2)/resnet8(width=1)/kd\n\n"
        "hint: narrow them by --data, --teacher, --student and --method\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_arm_has_is_answered_with_those_that_arms_have(finished: Path, capsys):
    ran = run_here(capsys, "best", finished, "--method", "kdd")
    assert ran == (2, "", "error: no method of this study `kdd`. Did you mean `kd`? Known: ce, kd\n")


def test_a_missing_checkpoint_is_one_sentence(finished: Path, capsys, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("checkpoints"))
    assert _find(copy)["kd"]["checkpoint"] is None
    ran = run_here(capsys, "best", copy, "--method", "kd", "--export", tmp_path / "student.pt")
    assert ran.code == 2
    assert "the checkpoint of the chosen trial is not there\n\nhint: a study is copied with its" in ran.err
    assert not (tmp_path / "student.pt").exists()


def test_a_checkpoint_of_another_trial_is_not_passed_off_as_the_winner(finished: Path, capsys, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    found = _find(copy)
    shutil.copy(copy / found["ce"]["checkpoint"], copy / found["kd"]["checkpoint"])
    ran = run_here(capsys, "best", copy, "--method", "kd", "--export", tmp_path / "student.pt")
    assert ran.code == 2
    assert f"checkpoint of trial {found['ce']['trial_id']}, not of {found['kd']['trial_id']}" in ran.err


def test_nothing_is_written_into_a_study_that_is_looked_at(finished: Path, capsys, tmp_path: Path):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    run_here(capsys, "best", finished, "--method", "kd", "--export", tmp_path / "student.pt")
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_the_settings_are_those_that_were_searched_and_those_that_the_label_fixes(tmp_path: Path):
    study = make_study(methods="{label: ce_x2, method: ce, weight: 2}", rule="none", trials=1)
    (winner,) = best.find_winners(replay(study, draw_curve(), max_reports=2 + 9).planner)
    assert best.to_row(winner, tmp_path)["settings"] == {"weight": 2.0, "lr": winner.searched.settings["lr"]}
