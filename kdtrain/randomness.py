"""Every random number is a function of (seed, epoch, purpose): never of the worker, the neighbours or a resume."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) that depends on every part and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one epoch. On the CPU always, so that a GPU draws the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, epoch, purpose))
