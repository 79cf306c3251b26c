"""The argument that most verbs begin with: which studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Directories = Annotated[list[Path], typer.Argument(help="Directories of studies, such as results/digits.")]
Directory = Annotated[Path, typer.Argument(help="Directory of a study, such as results/digits.")]
