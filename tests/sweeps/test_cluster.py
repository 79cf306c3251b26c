"""cluster.yaml, by Ray's own checks: what `ray up` does before it touches a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_the_cluster_file(cluster: dict):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster)
    validate_config(prepared)
    assert prepared["max_workers"] == 2
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_ray_refuses_a_key_that_it_does_not_know(cluster: dict):
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster | {"setup_comands": []})
    with pytest.raises(jsonschema.ValidationError, match="setup_comands"):
        validate_config(prepared)


def test_every_machine_starts_ray_with_the_token(cluster: dict):
    starts = [cluster["head_start_ray_commands"][-1], cluster["worker_start_ray_commands"][-1]]
    assert all(command.startswith("RAY_AUTH_MODE=token ") and " start " in command for command in starts)
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_pinned_project_is_copied_and_installed(cluster: dict):
    assert cluster["file_mounts"]["~/kdsweep"] == "."
    install = "~/kdsweep-env/bin/pip install --quiet -c ~/kdsweep/constraints.txt -e ~/kdsweep"
    assert install in cluster["setup_commands"]
    assert (ROOT / "constraints.txt").exists()
