"""Where the weights of a teacher that is not trained come from: a file, or torchvision.

In a study `teachers: {resnet32x4: {file: ..., sha256: ...}}`, or the weights in the model's name:
`pairs: [{teacher: "torchvision/resnet34(weights=IMAGENET1K_V1)", ...}]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdtrain.imports import brings_weights, check_classes
from kdtrain.weights_file import hash_file
from sweeps.problems import Problems
from sweeps.schema import Imported


@dataclass(frozen=True)
class Origin:
    """A file of weights, or none where torchvision brings them. The hash says which file; where it lies matters only
    until it is imported."""

    path: Path | None
    sha256: str | None
    held_out: bool          # whether the study's validation images were kept from its training

    def to_json(self) -> dict[str, Any]:
        """What it is, as plain JSON values."""
        return {"sha256": self.sha256, "held_out": self.held_out}


@dataclass(frozen=True)
class Sources:
    """Where a study finds its files: under the study file's directory; and the hashes that it began with, by model."""

    folder: Path = Path()
    hashes: Mapping[str, str] = field(default_factory=dict)

    def find_origin(self, given: Imported, model: str, *, num_classes: int, problems: Problems) -> Origin | None:
        """Where the model's weights come from; None where it is trained. What is wrong goes to `problems`."""
        where = f"teachers.{model}"
        if given.file is not None:
            with problems.collect(f"{where}."):
                if brings_weights(model):
                    raise ValueError("file: the model's name asks for weights already\n\nhint: leave out one of both")
                path = self.folder / given.file
                return Origin(path, self._find_hash(given, path, model), held_out=given.held_out)
        elif brings_weights(model) and not given.is_training:
            with problems.collect(f"{where}: "):
                check_classes(model, num_classes)
                return Origin(None, None, held_out=False)
        return None

    def list_warnings(self, given: Imported, model: str, origin: Origin) -> list[str]:
        """What is allowed and probably not meant."""
        where = f"teachers.{model}"
        if origin.path is None or model in self.hashes:
            return []
        if given.sha256 is None:
            return [f"{where}.sha256: is not given, so another file at {given.file} is another teacher; write "
                    f"sha256: {origin.sha256}"]
        if not origin.path.is_file():
            return [f"{where}.file: {origin.path}: no such file: it must have been imported before"]
        return []

    def _find_hash(self, given: Imported, path: Path, model: str) -> str:
        """A study that has begun goes on with the hash that it began with, whether the file is still there or not."""
        if model in self.hashes:
            return given.sha256 or self.hashes[model]
        if given.sha256 is not None and not path.is_file():
            return given.sha256
        try:
            found = hash_file(path)
        except ValueError as error:
            raise ValueError(f"file: {error}\n\nhint: it is looked for from the study file's directory on") from error
        if given.sha256 not in (None, found):
            raise ValueError(
                f"sha256: {path} is another file: its SHA-256 is {found}, not {given.sha256}\n\n"
                "hint: get the file that was meant, or write its hash"
            )
        return found
