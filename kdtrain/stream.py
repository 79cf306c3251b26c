"""Batches that are made image by image, in this process or in others: files are decoded, transforms are applied.

An image's random numbers are a function of (seed, epoch, its position in the data set's own train set), so that a
batch is the same whichever process makes it, and however many there are.  B batch, C channels, H and W sides.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kdtrain.augment import normalise
from kdtrain.images import DataInfo, Files, Split
from kdtrain.randomness import derive_seed
from kdtrain.transforms import Transform

# what Pillow raises for files that are cut short, altered, no images at all, or bombs
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Draws:
    """Where the random numbers of an epoch's images come from."""

    seed: int
    epoch: int
    index_N: np.ndarray                     # position of each image in the data set's own train set

    @contextmanager
    def at(self, position: int) -> Iterator[None]:
        """torch's CPU generator at the image's own numbers; afterwards as it was. A GPU's is left alone."""
        before = torch.get_rng_state()
        index = int(self.index_N[position])
        torch.default_generator.manual_seed(derive_seed(self.seed, self.epoch, "image", index))
        try:
            yield
        finally:
            torch.set_rng_state(before)


def stream(
    split: Split | Files, batches: Sequence[Tensor], transform: Transform, *, info: DataInfo, device: torch.device,
    workers: int, draws: Draws | None = None,
) -> Iterator[Tensor]:
    """image_BCHW of each batch of positions, float32, standardised, on the device.

    workers: processes that make batches ahead; 0: none, this one does. draws: None where nothing is drawn. Raises
    ValueError with the name of a file that cannot be read.
    """
    for made in _build_loader(_Batches(split, batches, transform, draws), workers, device):
        if isinstance(made, str):
            raise ValueError(made)
        image_BCHW = made.to(device, non_blocking=True)
        yield normalise(image_BCHW, info) if image_BCHW.dtype == torch.uint8 else image_BCHW


class _Batches(Dataset):
    """Item n is batch n, made whole; or, as a text, why it cannot be: an exception that crosses processes comes out
    as a traceback.
    """

    def __init__(
        self, split: Split | Files, batches: Sequence[Tensor], transform: Transform, draws: Draws | None
    ) -> None:
        # numpy arrays are copied to other processes through a pipe; tensors through shared memory, which may be small
        self._source = split if isinstance(split, Files) else split.image_NCHW.cpu().numpy()
        self._batches = [positions_B.cpu().numpy() for positions_B in batches]
        self._transform, self._draws = transform, draws

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> Tensor | str:
        try:
            return torch.stack([self._make(position) for position in self._batches[number]])
        except _BrokenImage as error:
            return str(error)

    def _make(self, position: int) -> Tensor:
        image = _read(self._source, position)
        if self._draws is None:
            return self._transform(image)
        with self._draws.at(position):
            return self._transform(image)


class _BrokenImage(Exception):
    """A file that is not the image that it should be."""


def _read(source: Files | np.ndarray, position: int) -> Image.Image:
    if isinstance(source, Files):
        return _open(source, position)
    image_CHW = source[position]
    return Image.fromarray(image_CHW[0] if len(image_CHW) == 1 else image_CHW.transpose(1, 2, 0))


def _open(files: Files, position: int) -> Image.Image:
    file = files.locate(position)
    try:
        with Image.open(file) as image:
            image.load()
            return image
    except _UNREADABLE as error:
        hint = "get this file again, or remove it"
        raise _BrokenImage(f"{file}: cannot be read as an image: {error}\n\nhint: {hint}") from error


def _build_loader(batches: _Batches, workers: int, device: torch.device) -> DataLoader:
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=_start_fork_server() if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # its own, or it would draw from the trial's
    )


def _start_fork_server() -> BaseContext:
    """The context of processes that come from a server, which has neither threads nor CUDA nor Ray's connections.

    A fork of this process would copy locks that its other threads hold, and could wait for them for ever
    (ray-project/ray#13407 and Ray's own guide). The server and all that come from it never see Ctrl-C: in a terminal
    it reaches every process, and the first is for the driver, which ends the epoch in good order.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by every process
    resource_tracker.ensure_running()  # the server asks for it, and it would let the signal through again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context
