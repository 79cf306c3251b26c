"""Fashion-MNIST. Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747. Ten kinds of clothes, grey, 28x28."""

from __future__ import annotations

from functools import partial

from kdtrain.images import DataInfo, Split
from kdtrain.sources import debian, official, unpack_idx
from kdtrain.torchvision_data import fetch, read_both

INFO = DataInfo(
    num_classes=10,
    channels=1,
    size=(28, 28),
    mean=(0.2860,),     # over the 60,000 train images, as is usual
    std=(0.3530,),
    num_train=60_000,
    num_test=10_000,
    validation=5_000,   # chosen by hand: a twelfth of train
    augment="crop_flip",
    padding=4,          # the usual one at 28x28 too, taken over from CIFAR
    source="Fashion-MNIST, github.com/zalandoresearch/fashion-mnist: kdsweep data get fashion_mnist gets it, "
    "or Debian's dataset-fashion-mnist gunzipped into ROOT/FashionMNIST/raw",
    needs="ROOT/FashionMNIST/raw/*-ubyte",
)

SOURCES = (
    official(partial(fetch, "FashionMNIST")),
    debian("dataset-fashion-mnist", unpack_idx("FashionMNIST", "usr/share/datasets/fashion-mnist")),
)
# Of Debian's files, whose MD5 are those on record elsewhere, such as f4a8712d... of train-images-idx3-ubyte
SHA256 = "21aad080a5e96a3fcb882b59494caf34246facf76eb482bfc80b62d8b626c88e"


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set from ROOT/FashionMNIST/raw. Raises ValueError where they are not there."""
    return read_both("FashionMNIST", source=INFO.source, root=root, download=download)
