"""torchvision, importable even where its compiled part does not fit the installed torch.

torchvision's Python part names two operators of its compiled part, `nms` and `qnms`, while it is being imported. Where
the compiled part cannot be loaded (a CUDA build of torchvision beside a CPU build of torch), they do not exist and the
import fails. Data sets and transforms need neither, so the two are declared here, without code, before the import.
Where the compiled part loads, nothing is declared and this is a plain `import torchvision`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_MISSING = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _compiled_part_loads() -> bool:
    """Whether torchvision's own operators are there. Loading them twice is harmless: the second time does nothing."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise ImportError("torchvision is not installed\n\nhint: pip install torchvision")
    for file in sorted(Path(found.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(file)
        except OSError:  # built for another torch, or for a CUDA that is not here
            return False
    return hasattr(torch.ops.torchvision, "nms")


def _declare_missing() -> torch.library.Library | None:
    """The declarations, which live as long as the returned object does; None where nothing was missing."""
    if _compiled_part_loads():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _MISSING.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    return library


_library = _declare_missing()

import torchvision  # noqa: E402  only after the declarations
from torchvision.transforms import v2  # noqa: E402

__all__ = ["torchvision", "v2"]
