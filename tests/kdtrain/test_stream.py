"""Streamed batches: the same bits whoever makes them, and as they would be in memory."""

from __future__ import annotations

import dataclasses
import signal
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kdtrain.augment import normalise
from kdtrain.config import TrialConfig
from kdtrain.evaluate import choose_batch, predict
from kdtrain.feed import Fed, GatheredFeed, StreamedFeed, build_feed
from kdtrain.images import Images, Split, load_images
from kdtrain.train import train
from tests.kdtrain.batches import make_info
from tests.kdtrain.data_files import draw_images, write_folder
from tests.kdtrain.trials import finish, run_interrupted, store_teacher, without_times

CPU = torch.device("cpu")
HEAVY = {"augment": "resized_crop_flip", "rand_augment": 2, "erasing": 0.5}


@pytest.fixture
def pets(tmp_path, monkeypatch) -> dict:
    """Fields of a trial on files."""
    write_folder(tmp_path, monkeypatch)
    return {
        "data": "folder/pets", "data_root": str(tmp_path), "student": "resnet8(width=1)", "image_size": 16,
        "batch_size": 8, "epochs": 2, "validation": 6, "device": "cpu",
    }


def _read(config: TrialConfig, epoch: int = 1) -> list[Fed]:
    return [fed for _, fed in build_feed(load_images(config), config, CPU).read_epoch(epoch)]


def _same(one: list[Fed], other: list[Fed]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a.image_BCHW, b.image_BCHW) and torch.equal(a.index_B, b.index_B) for a, b in pairs)


def test_batches_are_the_same_bits_however_many_processes_make_them(pets):
    alone, helped = (_read(TrialConfig(**pets, **HEAVY, workers=workers)) for workers in (0, 2))
    assert _same(alone, helped)
    assert not _same(alone, _read(TrialConfig(**pets, **HEAVY), epoch=2))
    assert not _same(alone, _read(TrialConfig(**pets, **HEAVY, seed=1)))


def test_a_trial_is_the_same_however_many_processes_help_and_wherever_it_is_interrupted(pets, tmp_path):
    fields = {**pets, "measure_test": True, **HEAVY}
    expected = without_times(finish(TrialConfig(**fields)))
    assert without_times(finish(TrialConfig(**fields, workers=2))) == expected
    assert without_times(run_interrupted(TrialConfig(**fields), tmp_path / "c.pt")) == expected


def test_an_epoch_is_every_image_once_in_the_order_that_images_in_memory_have(pets):
    config = TrialConfig(**pets, **HEAVY)
    images = load_images(config)
    fed = _read(config)
    index_N = torch.cat([batch.index_B for batch in fed])
    assert sorted(index_N.tolist()) == images.train_index_N.tolist()
    label_of = dict(zip(images.train_index_N.tolist(), images.train.label_N.tolist(), strict=True))
    assert torch.cat([batch.label_B for batch in fed]).tolist() == [label_of[index] for index in index_N.tolist()]
    zeros = Split(torch.zeros(len(images.full), 3, 16, 16, dtype=torch.uint8), images.full.label_N)
    gathered = GatheredFeed(dataclasses.replace(images, full=zeros), TrialConfig(**pets), CPU).read_epoch(1)
    assert index_N.tolist() == torch.cat([batch.index_B for _, batch in gathered]).tolist()
    assert all(batch.view_B is None and batch.soft_label_BC is None for batch in fed)


def test_shares_of_the_epoch_are_those_of_images_in_memory(pets):
    config = TrialConfig(**pets, **HEAVY)
    shares = [share for share, _ in build_feed(load_images(config), config, CPU).read_epoch(1)]
    assert shares == [0, 1 / 3, 2 / 3]  # 18 images in batches of 8, 8 and 2


def _read_by_index(config: TrialConfig, epoch: int = 1) -> dict[int, torch.Tensor]:
    return {
        int(index): image
        for fed in _read(config, epoch)
        for index, image in zip(fed.index_B, fed.image_BCHW, strict=True)
    }


def test_an_image_s_view_depends_on_itself_alone_not_on_its_batch(pets):
    one, other = (_read_by_index(TrialConfig(**pets | {"batch_size": size}, **HEAVY)) for size in (8, 5))
    assert set(one) == set(other)
    assert all(torch.equal(image, other[index]) for index, image in one.items())


def test_two_images_of_one_batch_are_drawn_apart():
    info = make_info(2, channels=3)
    split = Split(torch.from_numpy(draw_images(1, 3, 8, 8)).repeat(8, 1, 1, 1), torch.tensor([0, 1] * 4))
    config = TrialConfig(data="digits", student="resnet8", batch_size=8, augment="resized_crop_flip")
    ((_, fed),) = StreamedFeed(Images(info, split, split, "", torch.arange(8)), config, CPU).read_epoch(1)
    assert len(fed.image_BCHW.unique(dim=0)) > 4  # of 8: an image of 64 pixels has few views


def test_an_image_s_view_is_the_same_whichever_others_are_trained_on(pets):
    some, all_of_them = (_read_by_index(TrialConfig(**pets | {"validation": held}, **HEAVY)) for held in (6, 0))
    assert len(some) < len(all_of_them)
    assert all(torch.equal(image, all_of_them[index]) for index, image in some.items())


def test_an_image_s_view_is_another_in_every_epoch_and_for_every_seed(pets):
    first = _read_by_index(TrialConfig(**pets, **HEAVY))
    for seed, epoch in ((0, 2), (1, 1)):
        other = _read_by_index(TrialConfig(**pets, **HEAVY, seed=seed), epoch)
        assert not any(torch.equal(image, other[index]) for index, image in first.items())


@pytest.mark.parametrize("workers", [0, 2])
def test_the_trial_s_own_random_numbers_are_left_alone(pets, workers):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    _read(TrialConfig(**pets, **HEAVY, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_plain_images_in_memory_are_gathered_and_all_others_streamed():
    info = make_info(2, channels=3)
    split = Split(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    images = Images(info, split, split, "", torch.arange(4))

    def build(images: Images, **fields) -> type:
        return type(build_feed(images, TrialConfig(data="digits", student="resnet8", **fields), CPU))

    assert build(images) is GatheredFeed
    assert build(images, augment="crop_flip", padding=1, mixup=0.8) is GatheredFeed
    assert build(images, augment="resized_crop_flip") is StreamedFeed
    assert build(images, rand_augment=1) is StreamedFeed
    assert build(images, erasing=0.1) is StreamedFeed
    assert build(dataclasses.replace(images, info=dataclasses.replace(info, size=(16, 16)))) is StreamedFeed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("erasing", [0.0, 1e-12], ids=["bytes", "floats"])  # erased after they are standardised: once
def test_images_in_memory_are_streamed_as_they_are(channels, erasing):
    info = make_info(2, channels=channels)
    split = Split(torch.from_numpy(draw_images(14, channels, 8, 8)), torch.tensor([0, 1] * 7))
    images = Images(info, split, split, "", torch.tensor([10, 11, 12, 13]))
    feed = StreamedFeed(images, TrialConfig(data="digits", student="resnet8", batch_size=4, erasing=erasing), CPU)
    ((_, fed),) = feed.read_epoch(1)
    assert sorted(fed.index_B.tolist()) == [10, 11, 12, 13]
    assert torch.equal(fed.image_BCHW, normalise(split.image_NCHW[fed.index_B], info))
    assert torch.equal(fed.label_B, split.label_N[fed.index_B])


class _Mean(nn.Module):
    """Logits that are the channels' means."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image_BCHW):
        return self.scale * image_BCHW.mean(dim=(2, 3))


@pytest.mark.parametrize("workers", [0, 2])
def test_files_are_measured_in_their_order(pets, workers):
    images = load_images(TrialConfig(**pets))
    logits_NC = predict(_Mean(), images.test, images.info, workers=workers)
    mean, std = (torch.tensor(values)[:, None, None] for values in (images.info.mean, images.info.std))
    for position, logits_C in enumerate(logits_NC):
        image = Image.open(images.test.locate(position)).convert("RGB").resize((18, 24), Image.Resampling.BILINEAR)
        box = (1, 4, 17, 20)  # 16 / 0.875 is 18; 30 by 40 pixels become 18 by 24, of which the middle 16 by 16 are kept
        pixels = torch.tensor(np.asarray(image.crop(box)), dtype=torch.float32).permute(2, 0, 1)
        assert torch.allclose(logits_C, ((pixels / 255 - mean) / std).mean(dim=(1, 2)), atol=1e-5)


def test_images_in_memory_are_measured_at_the_size_of_the_trial():
    info = dataclasses.replace(make_info(3, channels=3), size=(16, 16))
    batch_size = choose_batch(CPU)
    count = batch_size + 3
    split = Split(torch.from_numpy(draw_images(count, 3, 8, 8)), torch.zeros(count, dtype=torch.int64))
    seen = []

    class Watch(_Mean):
        def forward(self, image_BCHW):
            seen.append(tuple(image_BCHW.shape))
            return super().forward(image_BCHW)

    assert predict(Watch(), split, info).shape == (count, 3)
    assert seen == [(batch_size, 3, 16, 16), (3, 3, 16, 16)]


def test_a_trial_with_a_size_of_its_own_trains_and_measures_at_it():
    fields = {"data": "digits", "student": "resnet8(width=1)", "device": "cpu", "validation": 400, "train_images": 20}
    plain, large = (next(train(TrialConfig(**fields, image_size=size))).run for size in (None, 16))
    assert large.student_macs > 3 * plain.student_macs  # four times the pixels
    ((_, fed),) = large.feed.read_epoch(1)
    assert fed.image_BCHW.shape == (20, 1, 16, 16)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("break_it", [
    lambda file: file.write_bytes(file.read_bytes()[:-200]),
    lambda file: file.write_bytes(b"no image"),
    lambda file: file.write_bytes(b""),
    lambda file: file.unlink(),
], ids=["cut", "text", "empty", "gone"])
def test_a_broken_image_is_named_in_one_sentence(pets, break_it, workers):
    config = TrialConfig(**pets, **HEAVY, workers=workers)
    images = load_images(config)
    file = images.train.locate(5)
    break_it(file)
    with pytest.raises(ValueError, match=rf"^{file}: cannot be read as an image: .*\n\nhint: get ") as told:
        list(build_feed(images, config, CPU).read_epoch(1))
    assert "Traceback" not in str(told.value)


@pytest.fixture
def helpers(pets):
    """An epoch under way, and the file that lists the processes that make its batches."""
    config = TrialConfig(**pets, **HEAVY, workers=2)
    epoch = build_feed(load_images(config), config, CPU).read_epoch(1)
    next(epoch)
    server = forkserver._forkserver._forkserver_pid
    yield epoch, Path(f"/proc/{server}/task/{server}/children")
    epoch.close()


def test_an_epoch_that_is_left_early_leaves_no_process(helpers):
    epoch, children = helpers
    assert len(children.read_text().split()) == 2
    epoch.close()
    assert children.read_text() == ""


def test_ctrl_c_is_for_the_driver_alone(helpers):
    """A terminal sends it to every process; one that makes batches must not end by it, not even while it starts."""
    _, children = helpers
    for child in children.read_text().split():
        status = Path(f"/proc/{child}/status").read_text()
        (blocked,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
        assert int(blocked, 16) & 1 << signal.SIGINT - 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_fed_the_same_bits(pets):
    config = TrialConfig(**pets, **HEAVY, workers=2)
    on_cpu, on_gpu = (
        [fed for _, fed in build_feed(load_images(config), config, torch.device(name)).read_epoch(1)]
        for name in ("cpu", "cuda")
    )
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert other.image_BCHW.device.type == other.label_B.device.type == other.index_B.device.type == "cuda"
        assert torch.equal(one.image_BCHW, other.image_BCHW.cpu())


def test_a_teacher_is_asked_on_files_too(pets, tmp_path):
    pets |= {"train_images": None, "augment": "resized_crop_flip", "padding": 0}
    student = pets.pop("student")
    teacher = store_teacher(tmp_path / "weights", **pets)
    state = finish(TrialConfig(student=student, method="kd", measure_test=True, **pets, **teacher))
    assert 0 <= state["rows"][-1]["val_agreement"] <= 1
    assert 0 <= state["evals"][1]["agreement"] <= 1
