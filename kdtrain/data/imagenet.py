"""ImageNet. Russakovsky et al. 2015, arXiv:1409.0575 (ILSVRC 2012). 1,000 classes, colour, of all sizes."""

from __future__ import annotations

from kdtrain.images import DataInfo, Files
from kdtrain.trees import read_trees

INFO = DataInfo(
    num_classes=1_000,
    channels=3,
    size=(224, 224),
    mean=(0.485, 0.456, 0.406),     # as torchvision's reference training has them
    std=(0.229, 0.224, 0.225),
    num_train=1_281_167,
    num_test=50_000,                # the official validation images: the labels of the test images are not public
    validation=50_000,              # chosen by hand: as many as are tested on
    augment="resized_crop_flip",
    padding=0,
    source="ImageNet, image-net.org (ILSVRC 2012): needs an account there; its validation images sorted into folders "
    "by class, as torchvision's ImageFolder expects them",
    needs="ROOT/imagenet/train/<wnid>/*.JPEG, ROOT/imagenet/val/<wnid>/*.JPEG",
    kept=224 / 256,                 # the shorter side becomes 256 pixels, of which 224 are kept
)


def load(root: str | None, download: bool) -> tuple[Files, Files]:
    """The files of ROOT/imagenet/train and ROOT/imagenet/val. Raises ValueError where they are not there."""
    return read_trees("imagenet", root, info=INFO, parts=("train", "val"))
