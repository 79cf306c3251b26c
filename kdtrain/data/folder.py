"""A folder of one's own: `folder/<path>`, with train/<class>/ and test/<class>/ (or val/<class>/) in it.

The path is below ROOT, or absolute: `folder/pets`, `folder//data/pets`. Whatever the images are, networks see them as
they see ImageNet; image_size changes the size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kdtrain.data import imagenet
from kdtrain.images import DataInfo, Files, describe_missing
from kdtrain.trees import list_classes, read_tree

NEEDS = "<path>/train/<class>/*.jpg, <path>/test/<class>/*.jpg"
_SHARE = 10  # one image of so many is held out of train, chosen by hand


@dataclass(frozen=True)
class Folder:
    """A data set whose description is counted from its files."""

    path: Path
    train: Files
    test: Files

    @property
    def INFO(self) -> DataInfo:  # noqa: N802  as in every other data set
        """Counts from the tree; how networks see the images, from ImageNet."""
        num_classes = int(self.train.label_N[-1]) + 1
        return replace(
            imagenet.INFO,
            num_classes=num_classes,
            num_train=len(self.train),
            num_test=len(self.test),
            validation=max(num_classes, len(self.train) // _SHARE),
            source=_describe_source(self.path),
            needs=NEEDS.replace("<path>", str(self.path)),
        )

    def load(self, root: str | None, download: bool) -> tuple[Files, Files]:
        """The files, listed already."""
        return self.train, self.test


def find_folder(name: str, root: str | None) -> Folder:
    """The folder that `folder/<path>` names. Raises ValueError where it is not there or holds no such tree."""
    path = Path(name.removeprefix("folder/"))
    if root is None and not path.is_absolute():
        raise ValueError(_describe_missing(name, root, path))
    path = Path(root or "", path)  # an absolute path stays as it is
    try:
        classes = list_classes(path / "train")
        test = "test" if (path / "test").is_dir() else "val"
        return Folder(path, read_tree(path / "train", classes), read_tree(path / test, classes))
    except ValueError as error:
        raise ValueError(_describe_missing(name, str(path), path, reason=str(error))) from error


def _describe_missing(name: str, where: str | None, path: Path, *, reason: str = "") -> str:
    """A study's folders are counted before the command line's --data-root is looked at."""
    source = _describe_source(path)
    return describe_missing(name, where, source=source, reason=reason, by="data.root or KDSWEEP_DATA")


def _describe_source(path: Path) -> str:
    return f"Folder, {path}: {NEEDS.replace('<path>', str(path))} are expected, or val instead of test"
