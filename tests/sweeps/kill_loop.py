"""Kills the driver of a real study on Ray, again and again, and counts what that broke.

`python -m tests.sweeps.kill_loop FOLDER [KILLS] [STUDY]` runs STUDY (digits), kills its driver with SIGKILL at random
moments until KILLS (20) of the kills have interrupted a job, lets it end, and prints one JSON object. What is
lost, doubled, unfinished, differs or is missed should be zero.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from analysis import tables
from sweeps.driver import fold
from sweeps.journal import read_events
from sweeps.launch import load_begun
from sweeps.planner import Planner
from tests.sweeps import studies_on_disk as disk


def main(folder, kills, name):
    drawn, found = random.Random(0), {"kills": 0, "kills_between_jobs": 0}
    directory = folder / name
    while found["kills"] < kills:
        interrupted = _run_and_kill(folder, name, after_seconds=drawn.uniform(1, 6))
        if interrupted is None:
            break  # the study came to its end first
        found["kills" if interrupted else "kills_between_jobs"] += 1
    subprocess.run(_command(folder, name), check=True, capture_output=True)
    return found | _count_damage(directory)


def _command(folder, name):
    """Begins the study or goes on with it."""
    begun = (folder / name / "journal" / "events.jsonl").exists()
    verb = ["resume", str(folder / name)] if begun else ["run", name, "--results", str(folder)]
    return [sys.executable, "-m", "sweeps", *verb]


def _run_and_kill(folder, name, *, after_seconds):
    """Kills the driver `after_seconds` of work. Whether a job was under way; None where the study ended before."""
    journal = folder / name / "journal" / "events.jsonl"
    before = len(list(read_events(journal)))
    process = subprocess.Popen(_command(folder, name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(read_events(journal))) < before + 4:  # Ray takes seconds to start
        time.sleep(0.05)
    deadline = time.monotonic() + after_seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return any(trial.status == "running" for trial in _fold(folder / name).trials.values())


def _fold(directory):
    return fold(list(read_events(directory / "journal" / "events.jsonl")), load_begun(directory), where=str(directory))


def _count_damage(directory):
    study, state = load_begun(directory), _fold(directory)
    trials = tables.read(directory, "trials").to_pylist()
    rows, distinct = disk.count_keys(directory)
    asked = [len(state.of_arm("tune", arm.arm_id)) for arm in study.arms]
    return {
        "rows": rows,
        "rows_lost": sum(row["epochs_done"] for row in trials) - distinct,
        "rows_doubled": rows - distinct,
        "trials_lost": len(state.trials) - len(trials),
        "unfinished": int(not Planner(study, state).is_done),
        "digests_that_differ": _count_bad_digests(directory),
        "budget_missed": sum(count != study.search.trials_per_arm for count in asked),
        "epochs_per_arm": sorted({_count_epochs(state, arm) for arm in study.arms}),
        "drivers": state.openings,
    }


def _count_bad_digests(directory):
    """Folds event by event, independently of the fold that resumes."""
    study = load_begun(directory)
    planner, bad = Planner(study), 0
    for event in read_events(directory / "journal" / "events.jsonl"):
        planner.apply(event)
        bad += planner.state.digest != event["digest"]
    return bad


def _count_epochs(state, arm):
    return sum(trial.epoch for trial in state.of_arm("tune", arm.arm_id))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    print(json.dumps(main(where, count, sys.argv[3] if len(sys.argv) > 3 else "digits")))  # noqa: T201
