"""What a trial is fed: for each epoch its train images once, in the epoch's order, augmented, in batches.

Order and views are functions of (seed, epoch), never of who trains beside it.  N images, B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kdtrain.augment import Augment, normalise
from kdtrain.config import TrialConfig
from kdtrain.images import Images
from kdtrain.randomness import make_generator
from kdtrain.teacher_pass import TeacherPass, is_gathered

# kdtrain.stream and kdtrain.transforms import torchvision, which takes a second or two: who streams images does so


@dataclass(frozen=True)
class Fed:
    """A batch as the networks get it, on their device."""

    image_BCHW: Tensor                      # float32, standardised by channel
    label_B: Tensor                         # int64
    index_B: Tensor                         # int64 position in the data set's own train set
    view_B: Tensor | None = None            # int64 number of the augmented view, where views are finite
    soft_label_BC: Tensor | None = None     # a mixed label; label_B is then its argmax
    teacher_logits_BC: Tensor | None = None  # float32, where the teacher was asked of the whole epoch at once


class GatheredFeed:
    """Images in memory under a finite set of views: a batch is one gather on the device."""

    def __init__(
        self, images: Images, config: TrialConfig, device: torch.device, teacher: TeacherPass | None = None
    ) -> None:
        """teacher: one that is asked of an epoch at once; None where there is none, or it is asked batch by batch."""
        self._info, self._config, self._device, self._teacher = images.info, config, device, teacher
        self._augment = Augment(config.augment, config.padding)
        self._full, self._index_N = images.full.to(device), images.train_index_N.to(device)

    def read_epoch(self, epoch: int) -> Iterator[tuple[float, Fed]]:
        """The share of the epoch that is done, in [0, 1), and the next batch."""
        view_N = self._draw_views(epoch)
        logits_NC = self._ask_teacher(view_N)
        batches = [place_B.to(self._device) for place_B in _draw_batches(len(view_N), self._config, epoch)]
        for step, place_B in enumerate(batches):
            yield step / len(batches), Fed(
                image_BCHW=self._gather(place_B, view_N[place_B]),
                label_B=self._full.label_N[self._index_N[place_B]],
                index_B=self._index_N[place_B],
                view_B=view_N[place_B],
                teacher_logits_BC=None if logits_NC is None else logits_NC[place_B],
            )

    def _draw_views(self, epoch: int) -> Tensor:
        """view_N of the trial's train images. Trials that share their views see the same one of the same image, however
        their train sets were cut."""
        shared = self._config.view_seed
        if shared is None:
            view_N = self._augment.draw(len(self._index_N), make_generator(self._config.seed, epoch, "views"))
        else:
            view_N = self._augment.draw(self._info.num_train, make_generator(shared, epoch, "shared views"))
            view_N = view_N[self._index_N.cpu()]
        return view_N.to(self._device)

    def _ask_teacher(self, view_N: Tensor) -> Tensor | None:
        if self._teacher is None:
            return None
        return self._teacher.read_views(
            self._index_N, view_N, lambda place_B: self._gather(place_B, view_N[place_B])
        )

    def _gather(self, place_B: Tensor, view_B: Tensor) -> Tensor:
        """The images at these places of the trial's train images, in these views, as networks get them."""
        return normalise(self._augment.gather(self._full.image_NCHW, self._index_N[place_B], view_B), self._info)


class StreamedFeed:
    """Images in files, or views without number: a batch is made image by image, ahead by other processes."""

    def __init__(self, images: Images, config: TrialConfig, device: torch.device) -> None:
        from kdtrain.transforms import build_training_transform

        self._info, self._config, self._device = images.info, config, device
        self._train = images.train.to(torch.device("cpu"))  # whence images go to where they are made
        self._index_N = images.train_index_N
        self._transform = build_training_transform(config, images.info)

    def read_epoch(self, epoch: int) -> Iterator[tuple[float, Fed]]:
        """The share of the epoch that is done, in [0, 1), and the next batch."""
        from kdtrain.stream import Draws, stream

        config = self._config
        batches = _draw_batches(len(self._train), config, epoch)
        made = stream(
            self._train, batches, self._transform, info=self._info, device=self._device, workers=config.workers,
            draws=Draws(config.seed if config.view_seed is None else config.view_seed, epoch, self._index_N.numpy()),
        )
        for step, (place_B, image_BCHW) in enumerate(zip(batches, made, strict=True)):
            yield step / len(batches), Fed(
                image_BCHW=image_BCHW.contiguous(memory_format=torch.channels_last),
                label_B=self._train.label_N[place_B].to(self._device),
                index_B=self._index_N[place_B].to(self._device),
            )


def build_feed(
    images: Images, config: TrialConfig, device: torch.device, teacher: TeacherPass | None = None
) -> GatheredFeed | StreamedFeed:
    """The trial's own feed."""
    if not is_gathered(images, config):
        return StreamedFeed(images, config, device)
    return GatheredFeed(images, config, device, teacher if teacher is not None and teacher.is_by_epoch else None)


def _draw_batches(num_images: int, config: TrialConfig, epoch: int) -> list[Tensor]:
    """Every place once, in the epoch's order, in batches; a last one of a single image is left out, for batch norm."""
    order_N = torch.randperm(num_images, generator=make_generator(config.seed, epoch, "order"))
    return [place_B for place_B in order_N.split(config.batch_size) if len(place_B) > 1]
