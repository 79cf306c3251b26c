"""Writes the golden study of schema version 1: typed-out values in every column of every table, a few kB.

`python -m tests.analysis.make_golden` wrote what lies in golden/version-1, once. It is never written again: every later
version must read it as it is. Fourteen trials, with every fate among them, are compacted; the last came afterwards.

    pair              teacher  ce (2 seeds)      kd, γ=1 (2 seeds)
    große -> kleine   0.90     0.80 0.82 = .81   0.84 0.88 = .86
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import analysis
from analysis import render, tables
from analysis.compact import compact

GOLDEN = Path(__file__).parent / "golden" / "version-1"
BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
STUDY, EPOCHS = "s0123456789abcdef", 3
TEST_TOP1 = {"ce": [0.80, 0.82], "kd, γ=1": [0.84, 0.88]}
Fate = tuple[str, str | None]  # status and stop_reason
FATES: list[Fate] = [
    ("completed", None), ("stopped", "rung"), ("stopped", "arm_done"), ("diverged", None), ("failed", None),
]
DONE = [3, 2, 1, 1, 1]  # epochs

# Of the board, what no later version may show otherwise.
STABLE = {
    "over_pairs": ["method", "gap_closed_pooled", "gain_mean", "rank_mean", "num_pairs", "trials", "epochs", "seconds"],
    "pairs": ["study", "data", "teacher", "teacher_id", "student", "method", "test_top1_mean", "test_top1_sd",
              "test_top1_low", "test_top1_high", "num_seeds", "gain", "gap_closed", "teacher_top1", "trials", "epochs"],
}
QUERIES = {
    "trials by fate": "SELECT stage, status, stop_reason, count(*) AS n FROM trials GROUP BY ALL ORDER BY ALL",
    "epochs": "SELECT count(*) AS n, sum(epoch)::BIGINT AS epochs, count(val_top1) AS measured FROM epochs",
    "terms": "SELECT epoch, terms['label'] AS label, terms['γ'] AS other FROM epochs WHERE trial_id = 't10' ORDER BY 1",
    "times": "SELECT min(ended_at)::VARCHAR AS first, max(ended_at)::VARCHAR AS last FROM epochs",
    "texts": "SELECT trial_id, error_type, error_text FROM trials WHERE error_text IS NOT NULL ORDER BY 1",
    "curves": "SELECT trial_id, max(test_top1) AS best, last(test_top1 ORDER BY epoch) AS last FROM test_curves "
              "GROUP BY ALL ORDER BY ALL",
    "evals": "SELECT split, count(*) AS n, avg(nll) AS nll, max(num_images) AS images FROM evals GROUP BY 1 ORDER BY 1",
    "teachers": "SELECT teacher_id, source, published_top1, saw_validation FROM teachers ORDER BY 1",
    "environments": "SELECT environment_id, gpu, gpu_count, cpu, packages_json FROM environments ORDER BY 1",
    "whole": "SELECT * EXCLUDE (started_at, ended_at) FROM trials WHERE trial_id = 't15'",
}


def make_golden(directory: Path) -> Path:
    """Writes the study's tables below `directory`, and returns it."""
    _write_study(directory)
    trials = _list_trials()
    for number, trial in enumerate(trials, start=1):
        if number == len(trials):
            compact(directory)
        _write_trial(directory, f"t{number}", **trial)
    (directory / "staging").rmdir()  # git keeps no empty directory
    return directory


def read_answers(directory: Path) -> dict[str, Any]:
    """What this version finds in it: the stable parts of the board, and the answers to the queries."""
    results = analysis.open(directory)
    board = json.loads(render.to_json(results.leaderboard()))
    parts = {
        part: [{name: row[name] for name in names} for row in board[part]["rows"]] for part, names in STABLE.items()
    }
    return {"board": parts, "answers": results.rows(QUERIES)}


def _list_trials() -> list[dict[str, Any]]:
    trials = [{"label": None, "stage": "teacher", "number": 0, "fate": FATES[0], "done": EPOCHS}]
    for label in TEST_TOP1:
        for number, (fate, done) in enumerate(zip(FATES, DONE, strict=True)):
            trials.append({"label": label, "stage": "tune", "number": number, "fate": fate, "done": done})
    for number in range(2):
        for label in TEST_TOP1:
            trials.append({"label": label, "stage": "repeat", "number": number, "fate": FATES[0], "done": EPOCHS})
    return trials


def _write_study(directory: Path) -> None:
    arms = [_arm(label) for label in TEST_TOP1]
    pair = {"data": "toy", "teacher": "große", "teacher_id": "w1", "student": "kleine"}
    config = {
        "pairs": [pair], "arms": arms, "repeat": {"seeds": 2, "train_on": "train+validation"},
        "search": {"trials_per_arm": 5, "sampler": "tpe"}, "stop": {"rule": "asha"},
    }
    tables.write(directory, "studies", STUDY, [{
        "study_id": STUDY, "name": "golden", "created_at": BEGAN, "schema_version": 1,
        "config_json": json.dumps(config, ensure_ascii=False), "config_hash": "c1", "objective": "val_top1",
        "selection_split": "val", "epoch_rule": "last", "seed": 7, "code_version": "abc1234", "code_dirty": False}])
    tables.write(directory, "teachers", "w1", [{
        "teacher_id": "w1", "data": "toy", "model": "große", "source": "trained", "weights_hash": "f00d",
        "params": 1000, "macs": 2000, "val_top1": 0.875, "test_top1": 0.90, "published_top1": None,
        "saw_validation": False, "recipe_json": "{}"}])
    tables.write(directory, "teachers", "w2", [
        {"teacher_id": "w2", "source": "from elsewhere", "published_top1": 0.9375}])
    tables.write(directory, "environments", "v1", [{
        "environment_id": "v1", "host": "h", "os": "Linux", "python": "3.11.7", "torch": "2.13.0", "cuda": "12.8",
        "driver": "570.1", "gpu": "Some GPU", "gpu_count": 2, "cpu": "Some CPU", "num_threads": 8,
        "packages_json": '{"numpy": "2.4"}', "ray": "2.60.0"}])


def _write_trial(
    directory: Path, trial_id: str, *, label: str | None, stage: str, number: int, fate: Fate, done: int
) -> None:
    ids, status = {"study_id": STUDY, "trial_id": trial_id}, fate[0]
    tables.write(directory, "epochs", trial_id, [_epoch(ids, epoch, stage, status) for epoch in range(1, done + 1)])
    top1 = TEST_TOP1[label][number] if stage == "repeat" else None
    if top1 is not None:
        tables.write(directory, "test_curves", trial_id, [_test_epoch(ids, epoch, top1) for epoch in (1, 2, 3)])
        tables.write(directory, "evals", trial_id, [_eval(ids, split, top1) for split in ("val", "test")])
    tables.write(directory, "trials", trial_id, [{
        **ids, **(_of_arm(label) if label else {"data": "toy", "student": "große", "method": "ce"}),
        **(_spent() if stage != "teacher" else {}), "number": number, "stage": stage, "seed": number,
        "method_label": label or "teacher", "train_on": "train" if stage == "tune" else "train+validation",
        "immune": number == 0, "status": status, "stop_reason": fate[1], "rung": done if stage == "tune" else None,
        "epochs_planned": EPOCHS, "epochs_done": done, "val_top1": 0.5 + done / 8 if status == "completed" else None,
        "val_epoch": done if status == "completed" else None, "test_top1": top1, "jobs": 1 + (fate[1] == "rung"),
        "started_at": BEGAN, "ended_at": BEGAN + timedelta(seconds=done), "environment_id": "v1",
        "checkpoint": f"checkpoints/{trial_id}/1.pt" if status == "completed" else None,
        "error_type": "RuntimeError" if status == "failed" else None,
        "error_text": "größer als 1\nzweite Zeile, \"漢\"" if status == "failed" else None}])


def _of_arm(label: str) -> dict[str, Any]:
    arm = _arm(label)
    of_method = {} if label == "ce" else {
        "temperature": 4.0, "weight": 0.5, "gamma": 1.0, "smoothing": 0.125, "power": 2.0}
    return {name: arm[name] for name in ("arm_id", "data", "teacher", "teacher_id", "student", "method")} | of_method


def _spent() -> dict[str, Any]:
    return {
        "setting_id": "e1", "lr": 0.1, "weight_decay": 0.0005, "settings_json": '{"lr": 0.1}', "retries": 0,
        "teacher_pass": "live", "deterministic": True, "precision": "float32", "memory_format": "contiguous",
        "wall_seconds": 3.5, "device_seconds": 2.25, "cpu_seconds": 4.75, "peak_bytes": 2**40, "student_params": 100,
        "deployed_params": 90, "student_macs": 200, "config_hash": "c2"}


def _epoch(ids: dict[str, str], epoch: int, stage: str, status: str) -> dict[str, Any]:
    val = None if stage == "repeat" else 0.5 + epoch / 8
    return ids | {
        "epoch": epoch, "job": 1, "lr": 0.1 / epoch, "loss_total": None if status == "diverged" else 1.5 / epoch,
        "loss_label": 1.0 / epoch, "loss_method": 0.5 / epoch, "terms": {"label": 1.0 / epoch, "γ": None},
        "train_top1": 0.25, "val_top1": val, "val_top5": val and 1.0, "val_nll": val and 1.25,
        "val_ece": val and 0.0625, "val_agreement": val and 0.75, "num_images": 1000,
        "epoch_seconds": 1.0, "device_seconds": 0.75, "ended_at": BEGAN + timedelta(seconds=epoch)}


def _test_epoch(ids: dict[str, str], epoch: int, top1: float) -> dict[str, Any]:
    best = top1 + (0.0625 if epoch == 2 else 0.0)  # the last epoch is not the best one
    return ids | {"epoch": epoch, "test_top1": best, "test_top5": 1.0, "test_nll": 1.5, "test_ece": 0.125,
                  "test_agreement": 0.5, "num_images": 500}


def _eval(ids: dict[str, str], split: str, top1: float) -> dict[str, Any]:
    return ids | {"split": split, "epoch": EPOCHS, "epoch_rule": "last", "top1": top1, "top5": 1.0, "nll": 1.5,
                  "ece": 0.125, "agreement": 0.75 if split == "test" else None, "num_images": 500}


def _arm(label: str) -> dict[str, Any]:
    teacher = None if label == "ce" else "große"
    return {"arm_id": f"toy/{label}", "data": "toy", "teacher": teacher, "teacher_id": teacher and "w1",
            "student": "kleine", "label": label, "method": label.partition(",")[0]}


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    make_golden(GOLDEN)
    answers = json.dumps(read_answers(GOLDEN), indent=1, ensure_ascii=False)
    (GOLDEN / "answers.json").write_text(f"{answers}\n", encoding="utf-8")
