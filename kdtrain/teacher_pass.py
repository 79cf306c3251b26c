"""How a trial asks its frozen teacher: batch by batch as it trains, or once for each (image, view) by a table.

Where a method wants no more of the teacher than logits, and views are finite and not mixed, the logits of a whole epoch
are asked for at its beginning, in batches of one size that never changes. Then a logit is the same to the bit whoever
asks for it, and a trial with a table gives the rows of one without.

N images, B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdtrain.augment import Augment, count_views, normalise
from kdtrain.config import TrialConfig
from kdtrain.environment import name_processor
from kdtrain.evaluate import choose_batch, predict
from kdtrain.images import Images, Split, fingerprint_data
from kdtrain.method import asks_teacher, build_method
from kdtrain.precision import autocast
from kdtrain.teacher_table import TeacherTable, open_table
from kdtrain.teachers import load_teacher, read_card


class TeacherPass:
    """A trial's frozen teacher, on its device. The network is loaded when first asked: with a full table, never."""

    def __init__(
        self,
        config: TrialConfig,
        images: Images,
        device: torch.device,
        *,
        load: Callable[[], nn.Module],
        tables: Mapping[str, TeacherTable],
    ) -> None:
        """tables: arithmetic -> the table over what the teacher says in it; empty without a table."""
        self._config, self._images, self._device, self._load, self._tables = config, images, device, load, tables
        self._unwritten_before = {name: table.counts.unwritten for name, table in tables.items()}
        self._augment = Augment(config.augment, config.padding) if is_gathered(images, config) else None

    @cached_property
    def network(self) -> nn.Module:
        """In evaluation mode, without gradients."""
        return self._load().to(self._device, memory_format=torch.channels_last).eval().requires_grad_(False)

    @property
    def classifier(self) -> nn.Linear:
        """The network's last layer."""
        return self.network.classifier

    @cached_property
    def is_by_epoch(self) -> bool:
        """Whether the loop asks of an epoch at once."""
        return self._augment is not None and wants_logits_of_views(self._config)

    @property
    def kind(self) -> Literal["live", "table"]:
        """As in the column `teacher_pass`: what the loop's logits come from."""
        return "table" if self.is_by_epoch and self._tables else "live"

    def read_views(self, index_N: Tensor, view_N: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
        """logits_NC, float32, on the device, of these views of these train images.

        index_N: positions in the original train set. gather: places in [0, N) -> the images, as networks get them.
        """
        precision = self._config.precision
        return self._read(index_N, view_N, gather, precision=precision).to(self._device, non_blocking=True)

    def measure(self, name: Literal["val", "test"]) -> Tensor:
        """logits_NC of a split's images as they are, float32 whatever is trained in, on the CPU."""
        split = getattr(self._images, name)
        if self._augment is None or not isinstance(split, Split):
            return predict(self.network, split, self._images.info, workers=self._config.workers)
        index_N = self._images.val_index_N if name == "val" else torch.arange(len(split)) + self._num_train
        view_N = torch.full((len(split),), self._augment.middle_view)

        def gather(place_B: Tensor) -> Tensor:
            image_BCHW = split.image_NCHW[place_B].to(self._device)
            return normalise(image_BCHW.contiguous(memory_format=torch.channels_last), self._images.info)

        return self._read(index_N, view_N, gather, precision="float32").cpu()

    def describe_unwritten(self) -> str | None:
        """That what this trial asked the teacher could not all be stored, if so."""
        cells = sum(
            table.counts.unwritten - self._unwritten_before[name] for name, table in self._tables.items()
        )
        if not cells:
            return None
        folder = next(iter(self._tables.values())).folder.parent
        return f"teacher table: {cells:,} logits were not stored, there is no room for them in {folder}"

    def _read(
        self, index_N: Tensor, view_N: Tensor, gather: Callable[[Tensor], Tensor], *, precision: str
    ) -> Tensor:
        def ask(place_N: Tensor) -> Iterator[Tensor]:
            return self._ask(place_N.to(self._device), gather, precision=precision)

        table = self._tables.get(precision)
        if table is None:
            return torch.cat(list(ask(torch.arange(len(index_N)))))
        return table.fetch(index_N, view_N, ask, batch_size=choose_batch(self._device))

    @torch.no_grad()
    def _ask(self, place_N: Tensor, gather: Callable[[Tensor], Tensor], *, precision: str) -> Iterator[Tensor]:
        """The live teacher's logits at these places. The last batch is padded: the size may change the last bit."""
        batch_size = choose_batch(self._device)
        for place_B in place_N.split(batch_size):
            image_BCHW = gather(place_B)
            padded_BCHW = F.pad(image_BCHW, (0, 0, 0, 0, 0, 0, 0, batch_size - len(place_B)))
            with autocast(precision, self._device):
                logits_BC = self.network(padded_BCHW.contiguous(memory_format=torch.channels_last))
            yield logits_BC[: len(place_B)].float()

    @cached_property
    def _num_train(self) -> int:
        return fingerprint_data(self._config)[1] if self._tables else 0


def wants_logits_of_views(config: TrialConfig) -> bool:
    """Whether the trial wants no more of a teacher than logits, of views that have numbers and are not mixed."""
    needs = build_method(config.method, config.settings).needs
    is_mixed = config.mixup > 0 or config.cutmix > 0
    wants_logits = asks_teacher(needs) and not (needs.pooled or needs.maps)
    return wants_logits and not is_mixed and count_views(config) is not None


def is_gathered(images: Images, config: TrialConfig) -> bool:
    """Whether a batch is a gather from images in memory: they are of the networks' size, and their views finite."""
    full = images.full
    in_memory = isinstance(full, Split) and tuple(full.image_NCHW.shape[2:]) == images.info.size
    return in_memory and count_views(config) is not None


def build_teacher_pass(
    config: TrialConfig, images: Images, device: torch.device, *, network: nn.Module | None = None
) -> TeacherPass:
    """The trial's own. network: asked in place of the stored teacher, and never tabled.

    Raises ValueError where the trial names no teacher, or it is missing or altered.
    """
    if network is not None:
        return TeacherPass(config, images, device, load=lambda: network, tables={})
    if config.teacher is None or config.weights_dir is None:
        hint = "give teacher, teacher_id and weights_dir"
        raise ValueError(f"method {config.method} needs a teacher\n\nhint: {hint}")
    weights_dir, teacher_id = Path(config.weights_dir), config.teacher_id
    tables = {}
    if config.tables_dir is not None and is_gathered(images, config):
        card = read_card(weights_dir, teacher_id)
        tables = {name: _open(config, images, card, device, precision=name) for name in {config.precision, "float32"}}
    return TeacherPass(
        config, images, device, load=lambda: load_teacher(weights_dir, teacher_id, images.info), tables=tables
    )


def _open(
    config: TrialConfig, images: Images, card: Mapping[str, Any], device: torch.device, *, precision: str
) -> TeacherTable:
    """The table over what this teacher says of these images, shared by all who would compute the same bits."""
    data_hash, num_train, num_test = fingerprint_data(config)
    key = {
        "teacher_id": config.teacher_id,
        "weights_hash": card["weights_hash"],
        "data": config.data,
        "data_hash": data_hash,
        "augment": config.augment,
        "padding": config.padding,
        "precision": precision,
        "batch_size": choose_batch(device),
        "processor": name_processor(device),
        "torch": torch.__version__,
    }
    return open_table(
        Path(config.tables_dir), key, num_images=num_train + num_test,
        num_views=Augment(config.augment, config.padding).num_views, num_classes=images.info.num_classes,
        max_bytes=config.table_bytes,
    )
