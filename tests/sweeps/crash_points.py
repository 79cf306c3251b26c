"""Kills a tiny study with SIGKILL before and after each of its appends and renames, resumes it, and compares.

`python -m tests.sweeps.crash_points FOLDER [STUDY [SHARD SHARDS]]` prints one JSON object; STUDY is `truncate`, with a
teacher, or `compress`, without one. Each run is a forked child of this process, which has imported torch once and never
trained.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import torch

from kdtrain.images import load_images
from tests.sweeps import studies_on_disk as disk

_KILLED = -signal.SIGKILL
_STUDIES = {"truncate": disk.TINY, "compress": disk.COMPRESSED}


def main(folder, name, shard, shards):
    text = _STUDIES[name]
    _warm_up(disk.load(folder / "whole", text))
    points = _run_child(folder / "whole", text, crash_at=None)
    whole = folder / "whole" / "tiny"
    found = {"points": points, "kills": 0, "survived": 0, "differ": [], "doubled": 0, "lost": 0, "decisions_differ": []}
    expected, decisions = disk.read_all(whole), disk.read_decisions(whole)
    for crash_at in range(1 + shard, points + 1, shards):
        where = folder / "killed"
        shutil.rmtree(where, ignore_errors=True)
        if _run_child(where, text, crash_at=crash_at) is None:
            found["kills"] += 1
        else:
            found["survived"] += 1
        assert _run_child(where, text, crash_at=None) is not None
        rows, distinct = disk.count_keys(where / "tiny")
        found["doubled"] += rows - distinct
        found["lost"] += len(expected["epochs"]) - distinct
        if disk.read_all(where / "tiny") != expected:
            found["differ"].append(crash_at)
        if disk.read_decisions(where / "tiny") != decisions:
            found["decisions_differ"].append(crash_at)
    return found


def _warm_up(study):
    """What the children would each do again: read the digits, and what torch imports with the first optimizer."""
    torch.set_num_threads(1)
    load_images(study.trial_config(study.arms[0], {}, seed=study.seed, stage="tune"))
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def _run_child(folder, text, *, crash_at):
    """Runs or resumes the study in a child; the number of points that it passed, None where it was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count = _count_points(crash_at)
            disk.run(folder, text)
            (folder / "points").write_text(str(count[0]))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED), code
    return None if code == _KILLED else int((folder / "points").read_text())


def _count_points(crash_at):
    """Wraps what makes a change durable: the journal's write, and the renames of checkpoints, tables and teachers."""
    count = [0]

    def tick():
        count[0] += 1
        if count[0] == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(function):
        def wrapped(*arguments, **keywords):
            tick()
            result = function(*arguments, **keywords)
            tick()
            return result

        return wrapped

    for name in ("write", "replace", "rename"):
        setattr(os, name, wrap(getattr(os, name)))
    return count


if __name__ == "__main__":
    name = sys.argv[2] if len(sys.argv) > 2 else "truncate"
    shard, shards = map(int, sys.argv[3:]) if len(sys.argv) > 3 else (0, 1)
    print(json.dumps(main(Path(sys.argv[1]), name, shard, shards)))  # noqa: T201
