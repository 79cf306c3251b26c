"""What the loss terms of several methods are made of, in forms that stay finite at any finite logits.

B batch, C classes, D the C - 1 classes that are not the target, K a sample's labels. Everything is per sample.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdtrain.method import Batch


def label_cross_entropy(batch: Batch) -> Tensor:
    """Cross-entropy of the student against the label, or against the soft label where there is one; (B,).

    A recipe's label smoothing acts here and nowhere else: what a method makes of the label itself is not smoothed.
    """
    smoothing = batch.label_smoothing
    logits_BC = batch.student.logits_BC if batch.label_logits_BC is None else batch.label_logits_BC
    if batch.soft_label_BC is None:
        return F.cross_entropy(logits_BC, batch.label_B, reduction="none", label_smoothing=smoothing)
    log_student_BC = logits_BC.log_softmax(1)
    return (1 - smoothing) * cross_entropy(batch.soft_label_BC, log_student_BC) - smoothing * log_student_BC.mean(1)


def label_distribution(batch: Batch) -> Tensor:
    """label_BC: the soft label where there is one, else 1 on the label; without a recipe's label smoothing."""
    if batch.soft_label_BC is not None:
        return batch.soft_label_BC
    logits_BC = batch.student.logits_BC
    return F.one_hot(batch.label_B, logits_BC.shape[1]).to(logits_BC.dtype)


def largest_labels(batch: Batch) -> tuple[Tensor, Tensor]:
    """label_BK and value_BK: the label with value 1, or the soft label's two largest, of which the second may be 0."""
    if batch.soft_label_BC is None:
        label_B1 = batch.label_B[:, None]
        return label_B1, torch.ones_like(label_B1, dtype=batch.student.logits_BC.dtype)
    value_BK, label_BK = batch.soft_label_BC.topk(2, dim=1)
    return label_BK, value_BK


def self_weighed_loss(batch: Batch, *, smoothing: float, power: float) -> Tensor:
    """-sum_k w_k log p_k over the largest labels, w_k = V_k + smoothing (p_k^power - mean(p_k^power)); (B,).

    w has no gradient and the mean is over the batch: the target loss of tf-NKD, whose file derives it, and of USKD.
    """
    label_BK, value_BK = largest_labels(batch)
    log_p_BK = batch.student.logits_BC.log_softmax(1).gather(1, label_BK)
    confidence_BK = (power * log_p_BK.detach()).exp()
    target_BK = value_BK + smoothing * (confidence_BK - confidence_BK.mean(0))
    return -(torch.where(value_BK == 0, 0, target_BK) * log_p_BK).sum(1)


def cross_entropy(target_BC: Tensor, log_student_BC: Tensor) -> Tensor:
    """-sum p log q; (B,)."""
    return -(target_BC * log_student_BC).sum(1)


def divergence(log_teacher_BC: Tensor, log_student_BC: Tensor) -> Tensor:
    """KL(teacher || student) from two log distributions; (B,)."""
    return (log_teacher_BC.exp() * (log_teacher_BC - log_student_BC)).sum(1)


def drop_target(logits_BC: Tensor, label_B: Tensor) -> Tensor:
    """logits_BD: each row without its target's logit. A gather, since a large negative mask is lost in large logits."""
    column_D = torch.arange(logits_BC.shape[1] - 1, device=logits_BC.device)
    return logits_BC.gather(1, column_D + (column_D >= label_B[:, None]))


def log_target_or_not(logits_BC: Tensor, label_B: Tensor) -> Tensor:
    """(B, 2): log p of the target, and log(1 - p), the latter summed from the other classes instead of subtracted."""
    target_B1 = logits_BC.gather(1, label_B[:, None])
    others_B1 = drop_target(logits_BC, label_B).logsumexp(1, keepdim=True)
    return torch.cat([target_B1, others_B1], dim=1).log_softmax(1)


def check_setting(name: str, value: float, *, least: float, most: float = float("inf"), above: bool = False) -> None:
    """Raises ValueError where a setting is no finite number from `least` (or above it) to `most`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if is_number and least <= value <= most and not (above and value == least):
        return
    low = f"above {least}" if above else f"from {least}"
    raise ValueError(f"{name}: {value!r} is not a number {low}{'' if most == float('inf') else f' to {most}'}")
