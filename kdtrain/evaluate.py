"""What a network is worth on a split: top-1, top-5, NLL, calibration, agreement with the teacher.

N images, C classes. Shares are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtrain.augment import normalise
from kdtrain.images import DataInfo, Files, Split

_BINS = 15   # of confidence, as in Guo et al. 2017, arXiv:1706.04599


@dataclass(frozen=True)
class Measurement:
    """A network's worth on a split. `top5` is None below five classes, `agreement` without a teacher."""

    top1: float
    top5: float | None
    nll: float                  # mean negative log likelihood, nats
    ece: float                  # expected calibration error, 15 bins of equal width
    agreement: float | None     # share of images on which student and teacher name the same class
    num_images: int

    def to_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def measure(
    model: nn.Module, split: Split | Files, info: DataInfo, *, teacher_logits_NC: Tensor | None = None, workers: int = 0
) -> Measurement:
    """The worth of `model` on `split`, in evaluation mode; its mode is put back."""
    return measure_logits(
        predict(model, split, info, workers=workers), split.label_N.cpu(), teacher_logits_NC=teacher_logits_NC
    )


def choose_batch(device: torch.device) -> int:
    """The images of a forward pass that only measures. One fixed size on each kind of device, since the size may change
    the last bit of a logit. On a CPU the layers of many images leave the cache.
    """
    return 32 if device.type == "cpu" else 256


@torch.no_grad()
def predict(model: nn.Module, split: Split | Files, info: DataInfo, *, workers: int = 0) -> Tensor:
    """Logits of every image, float32 (N, C), on the CPU. workers: processes that decode and resize, where there is
    something to decode or to resize.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    logits = [model(image_BCHW).float() for image_BCHW in _read_batches(split, info, device, workers)]
    model.train(training)
    return torch.cat(logits).cpu()


def _read_batches(split: Split | Files, info: DataInfo, device: torch.device, workers: int) -> Iterator[Tensor]:
    """The images in order, float32, standardised, at the size that networks see."""
    batch_size = choose_batch(device)
    if isinstance(split, Split) and tuple(split.image_NCHW.shape[2:]) == info.size:
        for image_BCHW in split.image_NCHW.split(batch_size):
            yield normalise(image_BCHW.to(device), info)
    else:
        from kdtrain.stream import stream  # with torchvision, which takes a second or two to import
        from kdtrain.transforms import build_measuring_transform

        batches = torch.arange(len(split)).split(batch_size)
        transform = build_measuring_transform(info)
        yield from stream(split, batches, transform, info=info, device=device, workers=workers)


def measure_logits(logits_NC: Tensor, label_N: Tensor, *, teacher_logits_NC: Tensor | None = None) -> Measurement:
    """The same from logits; sums in float64, so that the order of images does not matter to ten digits."""
    log_probability_NC = F.log_softmax(logits_NC.double(), dim=1)
    prediction_N = logits_NC.argmax(dim=1)
    top5 = None
    if logits_NC.shape[1] >= 5:
        top5 = (logits_NC.topk(5, dim=1).indices == label_N[:, None]).any(dim=1).double().mean().item()
    agreement = None
    if teacher_logits_NC is not None:
        agreement = (prediction_N == teacher_logits_NC.argmax(dim=1)).double().mean().item()
    return Measurement(
        top1=(prediction_N == label_N).double().mean().item(),
        top5=top5,
        nll=F.nll_loss(log_probability_NC, label_N).item(),
        ece=_measure_calibration(log_probability_NC.exp().amax(dim=1), prediction_N == label_N),
        agreement=agreement,
        num_images=len(label_N),
    )


def _measure_calibration(confidence_N: Tensor, correct_N: Tensor) -> float:
    bin_N = (confidence_N * _BINS).ceil().long().clamp(1, _BINS) - 1   # bins are (low, high]
    difference = torch.zeros(_BINS, dtype=torch.float64)
    difference.index_add_(0, bin_N, correct_N.double() - confidence_N)
    return (difference.abs().sum() / len(confidence_N)).item()
