"""The arithmetic of the forward passes in training: float32, or bfloat16 or float16 under torch's autocast.

Mixed precision as in Micikevicius et al. 2017, arXiv:1710.03740: weights, optimizer, losses and the methods' own
modules stay in float32. float16 holds nothing between 0 and 6e-8, so its loss is scaled up before the backward pass;
where a gradient overflows, the step is left out and the scale falls. A loss that is not finite is a divergence in
float16 too: no scale cures a forward pass, and batch normalisation has taken the overflow into its running means.

Networks are measured in float32 whatever they were trained in: that is what is shipped, and a measurement then means
the same of every trial.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from kdtrain.method import Outputs

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ValueError where the device cannot compute in this precision."""
    if precision in _TYPES and not _can_compute(precision, device):
        raise ValueError(f"precision: {precision} is not possible on the device {device}\n\nhint: write float32")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Within it, a network's matrix products and convolutions are computed in this precision."""
    if precision not in _TYPES:
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[precision])


def build_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales float16's loss and skips its overflowed steps; in other precisions it changes nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def to_float32(outputs: Outputs) -> Outputs:
    """The outputs as methods get them; float32 comes back as it is."""
    return Outputs(
        logits_BC=outputs.logits_BC.float(),
        pooled_BD=None if outputs.pooled_BD is None else outputs.pooled_BD.float(),
        maps={name: map_BDHW.float() for name, map_BDHW in outputs.maps.items()},
    )


def name_arithmetic(precision: str, student: nn.Module, device: torch.device) -> str:
    """bfloat16, float16, float32, or tf32 where a GPU may round float32 so: cuDNN's convolutions do unless told not to.

    TF32 came with compute capability 8.0 (Ampere).
    """
    if precision in _TYPES:
        return str(_TYPES[precision]).removeprefix("torch.")
    dtype = next(student.parameters()).dtype
    is_allowed = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    can_round = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "tf32" if dtype == torch.float32 and is_allowed and can_round else str(dtype).removeprefix("torch.")


def _can_compute(precision: str, device: torch.device) -> bool:
    if not torch.amp.is_autocast_available(device.type):
        return False
    if device.type == "cuda" and precision == "bf16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return True
