"""The machine and its software, as a row that results can be traced to."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
from typing import Any

import torch

from kdtrain.config import digest

_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "optuna", "ray", "pyarrow", "kdsweep")


def describe_environment() -> dict[str, Any]:
    """The columns of the table `environments`; its id is the hash of the rest."""
    has_gpu = torch.cuda.is_available()
    packages = {name: version for name in _PACKAGES if (version := _find_version(name)) is not None}
    row = {
        "host": socket.gethostname(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "driver": _read_driver() if has_gpu else None,
        "gpu": torch.cuda.get_device_name() if has_gpu else None,
        "gpu_count": torch.cuda.device_count() if has_gpu else 0,
        "cpu": _read_cpu(),
        "num_threads": torch.get_num_threads(),
        "packages_json": json.dumps(packages, sort_keys=True),
        "ray": packages.get("ray"),
    }
    return {"environment_id": "v" + digest(row), **row}


def name_processor(device: torch.device) -> str:
    """What computes on the device, and with which instructions: others may round otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_read_cpu()}, {torch.backends.cpu.get_cpu_capability()}"


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_cpu() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read_driver() -> str | None:
    path = "/proc/driver/nvidia/version"
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return file.readline().strip()
