"""The least that any program of this kind does before its first step has been taken: benchmarks/start.py times it.

    python -m benchmarks.first_step [--ray]

Imports torch and trains a small network for one step, here or in an actor of a Ray of its own; prints when it was done,
in seconds since 1970.
"""
# ruff: noqa: T201

from __future__ import annotations

import sys
import time


def take_step() -> float:
    """When the step was done."""
    import torch

    torch.set_num_threads(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.Flatten(), torch.nn.Linear(288, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = torch.nn.functional.cross_entropy(network(torch.zeros(32, 1, 8, 8)), torch.zeros(32, dtype=torch.int64))
    loss.backward()
    optimizer.step()
    return time.time()


def take_step_on_ray() -> float:
    """The same in a process that Ray starts."""
    import ray

    ray.init(address="local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    done_at = ray.get(ray.remote(take_step).remote())
    ray.shutdown()
    return done_at


if __name__ == "__main__":
    print((take_step_on_ray if "--ray" in sys.argv else take_step)())
