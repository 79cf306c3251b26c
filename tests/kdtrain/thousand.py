"""A data set of ImageNet's number of classes, in colour, small enough for tests: noise, an image or two of each."""

import torch

from kdtrain.images import DataInfo, Split

_CLASSES = 1000


class Thousand:
    INFO = DataInfo(
        num_classes=_CLASSES, channels=3, size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25),
        num_train=2 * _CLASSES + 24, num_test=32, validation=_CLASSES, augment="none", padding=0, source="noise",
    )

    @staticmethod
    def load(root, download):
        return _draw(2 * _CLASSES + 24, seed=0), _draw(32, seed=1)


class Hundred(Thousand):
    """The same with fewer classes."""

    INFO = DataInfo(**{**vars(Thousand.INFO), "num_classes": 100})


def _draw(count, *, seed):
    generator = torch.Generator().manual_seed(seed)
    image_NCHW = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(image_NCHW, torch.arange(count) % _CLASSES)
