"""A study on a cluster of two nodes: it uses both, and the loss of one of them costs nothing but time."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.xdist_group("ray")]

# In a process of its own: which cluster a process belongs to is settled when it first imports Ray.
_RUN = """
import json, os, sys, threading, time
from pathlib import Path
os.environ["RAY_AUTH_MODE"] = "disabled"
from ray.cluster_utils import Cluster
from analysis import tables
from sweeps.executors.ray import run_on_ray
from sweeps.journal import read_events
from tests.sweeps import studies_on_disk as disk

folder, lose = Path(sys.argv[1]), sys.argv[2] == "lose"
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
node = cluster.add_node(num_cpus=1)
text = disk.TINY.replace("epochs: 2, warmup_epochs: 0, batch", "epochs: 60, warmup_epochs: 0, batch")
driver, directory = disk.open_driver(folder, text)
slots = []

def lose_a_node():
    while sum(e["type"] == "rung" for e in read_events(directory / "journal" / "events.jsonl")) < 2:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)

if lose:
    threading.Thread(target=lose_a_node, daemon=True).start()
run_on_ray(driver, directory, address=cluster.address, on_start=slots.append)
trials = tables.read(directory, "trials").to_pylist()
rows, distinct = disk.count_keys(directory)
how = [e.get("how") for e in read_events(directory / "journal" / "events.jsonl")]
print(json.dumps({
    "slots": slots, "done": driver.is_done, "tuned": sum(row["stage"] == "tune" for row in trials), "rows": rows,
    "distinct": distinct, "epochs": sum(row["epochs_done"] for row in trials), "lost": how.count("lost"),
    "failed": sum(row["status"] == "failed" for row in trials), "retries": sum(row["retries"] for row in trials),
}))
cluster.shutdown()
"""


@pytest.mark.parametrize("fate", ["keep", "lose"])
def test_a_study_on_two_nodes_is_whole_also_when_one_is_lost(tmp_path, fate):
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path), fate], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["slots"], found["done"], found["tuned"]) == ([2], True, 6)
    assert found["rows"] == found["distinct"] == found["epochs"]
    assert (found["failed"], found["retries"]) == (0, 0)
    assert (found["lost"] > 0) == (fate == "lose")
