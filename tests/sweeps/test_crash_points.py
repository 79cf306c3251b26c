"""A driver killed anywhere loses nothing: every append and every rename of a tiny study, before and after."""

import json
import subprocess
import sys

import pytest

# Of compressed budgets, every other point: before each append and rename. After one is before the next, as a rule.
_SHARDS = [("truncate", 0, 4), ("truncate", 1, 4), ("truncate", 2, 4), ("truncate", 3, 4), ("compress", 0, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("study", "shard", "shards"), _SHARDS)
def test_a_driver_killed_at_any_point_and_resumed_gives_the_undisturbed_study(tmp_path, study, shard, shards):
    command = [sys.executable, "-m", "tests.sweeps.crash_points", str(tmp_path), study, str(shard), str(shards)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["kills"] == len(range(1 + shard, found["points"] + 1, shards)) > 40
    assert found == {
        "points": found["points"], "kills": found["kills"], "survived": 0, "differ": [], "doubled": 0, "lost": 0,
        "decisions_differ": [],
    }
