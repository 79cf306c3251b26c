"""Where the weights of a teacher that is not trained come from: `teachers: {resnet32x4: {file: ..., sha256: ...}}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdtrain.weights_file import hash_file
from sweeps.problems import Problems
from sweeps.schema import Imported


@dataclass(frozen=True)
class Origin:
    """A file of weights. The hash says which; where it lies matters only until it is imported."""

    path: Path
    sha256: str
    held_out: bool          # whether the study's validation images were kept from its training

    def to_json(self) -> dict[str, Any]:
        """What it is, as plain JSON values."""
        return {"sha256": self.sha256, "held_out": self.held_out}


@dataclass(frozen=True)
class Sources:
    """Where a study finds its files: under the study file's directory; and the hashes that it began with, by model."""

    folder: Path = Path()
    hashes: Mapping[str, str] = field(default_factory=dict)

    def read_origin(self, given: Imported, where: str, *, model: str, problems: Problems) -> Origin | None:
        """The origin that a study names at `where`. What is wrong goes to `problems`; then None."""
        path = self.folder / given.file
        with problems.collect(f"{where}."):
            return Origin(path, self._find_hash(given, path, model), held_out=given.held_out)
        return None

    def list_warnings(self, given: Imported, where: str, origin: Origin) -> list[str]:
        """What is allowed and probably not meant."""
        if given.sha256 is None:
            return [f"{where}.sha256: is not given, so another file at {given.file} is another teacher; write "
                    f"sha256: {origin.sha256}"]
        if not self.hashes and not origin.path.is_file():
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
