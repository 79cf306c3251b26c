"""Tiny studies that are really trained, and what must be equal between two runs of one."""

import json
from textwrap import dedent

from analysis import tables
from sweeps import study
from sweeps.driver import Driver, write_study_files
from sweeps.executors.inline import run_inline
from sweeps.journal import read_events

TINY = dedent("""\
    study: tiny
    data: {name: digits, train_images: 40}
    teachers: {recipe: small, epochs: 1, warmup_epochs: 0}
    pairs: [{teacher: resnet8(width=2), student: resnet8(width=1)}]
    methods: [ce, kd]
    tune: {lr: {log: [0.01, 0.5]}}
    fix: {recipe: small, epochs: 2, warmup_epochs: 0, batch_size: 20}
    search: {sampler: random, trials_per_arm: 3, seed: 0}
    stop: {rule: asha, eta: 2, grace: 1, immune: 0}
    repeat: {seeds: 1, train_on: train, epoch: last, test_curve: true}
    """)
COMPRESSED = dedent("""\
    study: tiny
    data: {name: digits, train_images: 40}
    pairs: [{student: resnet8(width=1)}]
    methods: [ce]
    tune: {lr: {log: [0.01, 0.5]}}
    fix: {recipe: small, epochs: 2, warmup_epochs: 0, batch_size: 20}
    search: {sampler: random, trials_per_arm: 2, seed: 0}
    stop: {rule: asha, budgets: compress, eta: 2, grace: 1, immune: 0}
    repeat: {seeds: 1, train_on: train, epoch: last}
    """)
CHANGES_WITH_A_KILL = {
    "job", "jobs", "checkpoint", "epoch_seconds", "device_seconds", "wall_seconds", "cpu_seconds", "peak_bytes",
    "started_at", "ended_at", "created_at", "config_json",
}


def load(folder, text=TINY, *, device="cpu"):
    """The study, with its teachers beside its results."""
    (folder / "_weights").mkdir(parents=True, exist_ok=True)
    return study.parse(text, "tiny.yaml").at(weights_dir=folder / "_weights", device=device)


def open_driver(folder, text=TINY, *, device="cpu"):
    """The driver of folder/tiny, new or resumed, and that directory."""
    found, directory = load(folder, text, device=device), folder / "tiny"
    write_study_files(found, directory)
    return Driver.open(found, directory, weights_dir=folder / "_weights"), directory


def run(folder, text=TINY):
    """Runs or resumes the study in this process to its end; its directory."""
    driver, directory = open_driver(folder, text)
    run_inline(driver, directory)
    assert driver.is_done
    driver.close()
    return directory


def read_all(directory):
    """Every row of every table that a kill must not change, sorted; and the decisions in order."""
    rows = {}
    for table in ("trials", "epochs", "evals", "test_curves", "teachers"):
        kept = [
            {name: value for name, value in row.items() if name not in CHANGES_WITH_A_KILL}
            for row in tables.read(directory, table).to_pylist()
        ]
        rows[table] = sorted(kept, key=lambda row: json.dumps(row, sort_keys=True, default=str))
    return rows


def read_decisions(directory):
    """What was asked and decided, in order, without the jobs that a kill adds."""
    decided = []
    for event in read_events(directory / "journal" / "events.jsonl"):
        if event["type"] == "rung":
            decided.append(("rung", event["trial_id"], event["epoch"], event["value"], event["then"]))
        elif event["type"] == "asked" and event["job"] == 1:
            decided.append(("asked", event["trial_id"], event["arm_id"], json.dumps(event["settings"])))
        elif event["type"] == "ended" and event["how"] != "lost":
            decided.append(("ended", event["trial_id"], event["how"], event["value"]))
        elif event["type"] in ("closed", "teacher"):
            decided.append((event["type"], *(event.get(name) for name in ("arm_id", "winner", "teacher_id", "status"))))
    return decided


def count_keys(directory):
    """(rows, distinct (trial, epoch) keys) of the table epochs."""
    keys = [(row["trial_id"], row["epoch"]) for row in tables.read(directory, "epochs").to_pylist()]
    return len(keys), len(set(keys))
