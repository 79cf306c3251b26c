"""`kdsweep data`: what has to be on disk before a study can read it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set, as in `kdsweep list data`.")]
Root = Annotated[Path | None, typer.Option(help="Where data sets lie; else $KDSWEEP_DATA.")]


def get(name: Name, root: Root = None) -> None:
    """Get a data set from the first of its known sources that has it, and check every pixel and label."""
    from kdtrain.download import get_data

    get_data(name, _find_root(root), say=lambda line: sys.stderr.write(line + "\n"))


def build_app() -> typer.Typer:
    """The verbs of `kdsweep data`."""
    app = typer.Typer(no_args_is_help=True, help="Get data sets.")
    app.command()(get)
    app.callback()(lambda: None)  # with one verb alone typer would leave its name out
    return app


def _find_root(root: Path | None) -> Path:
    if root is None and "KDSWEEP_DATA" not in os.environ:
        raise ValueError("no folder is given to put data sets into\n\nhint: --root DIR, or set KDSWEEP_DATA")
    return root or Path(os.environ["KDSWEEP_DATA"])
