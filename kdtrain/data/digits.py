"""Handwritten digits, 8x8, grey: the test part of the UCI data set by Alpaydin and Kaynak 1998, inside scikit-learn.

1,797 real images that need no download. Most are test images, so that a result has a narrow interval; few are left to
train on, so that plain students leave a gap for their teachers to close.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from kdtrain.images import DataInfo, Split, order_by_class

_CUT_SEED = 0  # part of the data set: test is the same for every study

INFO = DataInfo(
    num_classes=10,
    channels=1,
    size=(8, 8),
    mean=(0.3053,),     # measured over the 700 images that may be trained on
    std=(0.3760,),
    num_train=700,
    num_test=1_097,
    validation=400,
    augment="crop",     # no flip: a mirrored digit is another sign
    padding=1,
    source="UCI Optical Recognition of Handwritten Digits, archive.ics.uci.edu/dataset/80, inside scikit-learn",
)


def load(root: str | None, download: bool) -> tuple[Split, Split]:
    """The images that may be trained on and the test images, always the same cut; nothing is read from `root`."""
    digits = load_digits()
    # the 17 grey levels 0 to 16 are spread over 0 to 255: distinct levels stay distinct
    image_NCHW = torch.from_numpy(digits.images * 255 / 16).round().to(torch.uint8).unsqueeze(1)
    full = Split(image_NCHW, torch.from_numpy(digits.target).to(torch.int64))
    order_N = order_by_class(full.label_N, seed=_CUT_SEED)
    trainable, test = order_N[: INFO.num_train].sort().values, order_N[INFO.num_train :].sort().values
    return full.take(trainable), full.take(test)
