"""The law that every file of kdtrain/data obeys, each on a miniature in the real format."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from kdtrain.config import TrialConfig
from kdtrain.images import Files, Split, find_data, list_data, load_info
from kdtrain.train import train
from kdtrain.transforms import build_measuring_transform
from tests.kdtrain.data_files import WRITERS

NEEDS_NO_FILES = {"digits"}
NAMES = ["folder/pets" if name == "folder/<path>" else name for name in list_data()]
every_data_set = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def root(name, tmp_path, monkeypatch) -> str | None:
    """A folder where the data set lies in miniature."""
    if name in NEEDS_NO_FILES:
        return None
    WRITERS[name](tmp_path, monkeypatch)
    return str(tmp_path)


def _load(name: str, root: str | None):
    return find_data(name, root).load(root, download=False)


def _read_some(split: Split | Files, info) -> torch.Tensor:
    """image_NCHW as networks see them, before they are standardised: all that are in memory, else five."""
    if isinstance(split, Split):
        return split.image_NCHW
    transform = build_measuring_transform(info)
    return torch.stack([transform(Image.open(split.locate(position))) for position in range(-4, 1)])


@every_data_set
def test_its_description_agrees_with_itself(name, root):
    info = load_info(name, root)
    assert info.num_classes >= 2
    assert len(info.mean) == len(info.std) == info.channels
    assert all(0 < mean < 1 for mean in info.mean)
    assert all(0 < std < 1 for std in info.std)
    assert info.num_classes <= info.validation < info.num_train
    assert info.num_test > 0
    assert info.augment in {"none", "crop", "crop_flip", "resized_crop_flip"}
    assert 2 * info.padding < min(info.size)
    assert (info.padding > 0) == (info.augment in {"crop", "crop_flip"})
    assert info.source
    assert bool(info.needs) == (name not in NEEDS_NO_FILES)
    assert 0 < info.kept <= 1


@every_data_set
def test_images_are_bytes_of_the_described_shape(name, root):
    info = load_info(name, root)
    for split in _load(name, root):
        image_NCHW = _read_some(split, info)
        assert image_NCHW.dtype == torch.uint8
        assert image_NCHW.shape[1:] == (info.channels, *info.size)
        assert image_NCHW.is_contiguous()
        assert image_NCHW.float().std() > 0


@every_data_set
def test_labels_are_all_the_classes(name, root):
    info = load_info(name, root)
    for split in _load(name, root):
        assert split.label_N.dtype == torch.int64
        assert split.label_N.shape == (len(split),)
        assert split.label_N.unique().tolist() == list(range(info.num_classes))


@every_data_set
def test_it_is_the_same_every_time(name, root):
    info = load_info(name, root)
    for first, second in zip(_load(name, root), _load(name, root), strict=True):
        assert torch.equal(_read_some(first, info), _read_some(second, info))
        assert torch.equal(first.label_N, second.label_N)


@every_data_set
def test_a_trial_learns_from_it_and_is_measured_on_it(name, root):
    info = load_info(name, root)
    config = TrialConfig(
        data=name, student="resnet8(width=1)", augment=info.augment, padding=info.padding, image_size=16, device="cpu",
        batch_size=64, train_images=info.num_classes, validation=info.num_classes, measure_test=True, data_root=root,
    )
    (epoch,) = train(config)
    assert epoch.row["num_images"] == info.num_classes
    assert [row["split"] for row in epoch.run.evals] == ["val", "test"]


@pytest.mark.parametrize("name", sorted({*NAMES} - NEEDS_NO_FILES))
def test_missing_files_are_one_sentence_and_a_hint(name, tmp_path):
    says = rf"^data set \S+: cannot be read from {tmp_path}[/\w]*: .*\n\nhint: set .* ROOT that holds it\. \S+, "
    with pytest.raises(ValueError, match=says):
        _load(name, str(tmp_path))


@pytest.mark.parametrize("name", sorted({*NAMES} - NEEDS_NO_FILES))
def test_no_folder_is_one_sentence_and_a_hint(name):
    says = r"^data set \S+: no folder is given\n\nhint: set .* ROOT that holds it\. \S+, "
    with pytest.raises(ValueError, match=says):
        _load(name, None)
