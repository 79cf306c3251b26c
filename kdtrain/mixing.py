"""Mixed batches: mixup (Zhang et al. 2017, arXiv:1710.09412) and cutmix (Yun et al. 2019, arXiv:1905.04899).

Each image of a batch gets a partner from the same batch. Mixup adds the two, lambda x + (1 - lambda) partner; cutmix
pastes a box of the partner that covers 1 - lambda of the plane. Their labels are mixed alike. lambda ~ Beta(alpha,
alpha), one for a batch.  B batch, C classes, H and W height and width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Mixture:
    """What was drawn for one batch."""

    own: float                                      # share of an image, and of its label, that stays: lambda
    partner_B: Tensor                               # int64 place in the batch of the image that comes in
    box: tuple[int, int, int, int] | None = None    # cutmix: top, bottom, left, right of what is pasted

    def apply(self, image_BCHW: Tensor, label_B: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
        """The mixed images, the label with the larger share of each, and the mixed labels (B, C), float32."""
        partner_B = self.partner_B.to(label_B.device)
        own_BC, other_BC = (F.one_hot(label, num_classes).float() for label in (label_B, label_B[partner_B]))
        return (
            self._mix_images(image_BCHW, partner_B),
            label_B if self.own >= 0.5 else label_B[partner_B],
            self.own * own_BC + (1 - self.own) * other_BC,
        )

    def _mix_images(self, image_BCHW: Tensor, partner_B: Tensor) -> Tensor:
        if self.box is None:
            return self.own * image_BCHW + (1 - self.own) * image_BCHW[partner_B]
        top, bottom, left, right = self.box
        mixed_BCHW = image_BCHW.clone()
        mixed_BCHW[:, :, top:bottom, left:right] = image_BCHW[:, :, top:bottom, left:right][partner_B]
        return mixed_BCHW


def mix(
    image_BCHW: Tensor,
    label_B: Tensor,
    *,
    num_classes: int,
    mixup: float,
    cutmix: float,
    probability: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The batch mixed with this probability, else as it is and without a mixed label: image, label, mixed label.

    `mixup` and `cutmix` are the alpha of each, 0 for never; with both, each batch draws one of them evenly. The label
    of a mixed image is the argmax of its mixed label. `generator` is on the CPU: a GPU mixes the same.
    """
    if not (mixup or cutmix) or torch.rand((), generator=generator) >= probability:
        return image_BCHW, label_B, None
    mixture = draw_mixture(image_BCHW.shape, mixup=mixup, cutmix=cutmix, generator=generator)
    return mixture.apply(image_BCHW, label_B, num_classes=num_classes)


def draw_mixture(shape: torch.Size, *, mixup: float, cutmix: float, generator: torch.Generator) -> Mixture:
    """How a batch of this shape (B, C, H, W) is mixed; one of the two alphas is above 0 at least."""
    cuts = bool(cutmix) and (not mixup or bool(torch.rand((), generator=generator) < 0.5))
    own = _draw_beta(cutmix if cuts else mixup, generator)
    partner_B = torch.randperm(shape[0], generator=generator)
    if not cuts:
        return Mixture(own, partner_B)
    height, width = shape[2:]
    box = _draw_box(height, width, area=1 - own, generator=generator)
    top, bottom, left, right = box
    return Mixture(1 - (bottom - top) * (right - left) / (height * width), partner_B, box)


def _draw_beta(alpha: float, generator: torch.Generator) -> float:
    """From Beta(alpha, alpha), by a stream that numpy's NEP 19 freezes: torch's own Beta takes no generator."""
    seed = int(torch.randint(2**32, (), generator=generator))
    return np.random.RandomState(seed).beta(alpha, alpha)


def _draw_box(height: int, width: int, *, area: float, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a box that covers a share `area` of the plane, before it is clipped to the plane.

    Its centre is uniform over the pixels, its shape the plane's, its half sides are rounded down: as published.
    """
    edges = []
    for side in (height, width):
        centre, half = int(torch.randint(side, (), generator=generator)), int(0.5 * math.sqrt(area) * side)
        edges += [max(centre - half, 0), min(centre + half, side)]
    top, bottom, left, right = edges
    return top, bottom, left, right
