"""torchvision can be imported beside any torch: what its compiled part lacks is declared, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import torch

from kdtrain import torchvision_ops


def test_where_the_compiled_part_loads_nothing_is_declared(monkeypatch):
    monkeypatch.setattr(torchvision_ops, "_compiled_part_loads", lambda: True)
    assert torchvision_ops._declare_missing() is None


def test_where_it_does_not_load_both_operators_are_there_before_the_import():
    code = (
        "import kdtrain.torchvision_ops as ops, torch\n"
        "print(all(hasattr(torch.ops.torchvision, name) for name in ('nms', 'qnms')), ops.torchvision.__name__)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "True torchvision\n"


def test_declaring_again_declares_nothing_twice(monkeypatch):
    monkeypatch.setattr(torchvision_ops, "_compiled_part_loads", lambda: False)
    torchvision_ops._declare_missing()
    assert str(torch.ops.torchvision.nms.default) == "torchvision.nms.default"
