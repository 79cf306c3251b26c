"""`python -m analysis`: boards, SQL and reports for a machine that has neither torch nor Ray.

The verbs are plain functions, so that `kdsweep` mounts the same ones.
"""

from __future__ import annotations

from collections.abc import Callable

import typer
from rich.console import Console
from rich.text import Text

from analysis.commands import published
from analysis.commands.board import compare, leaderboard, report
from analysis.commands.files import export
from analysis.commands.search import cost, curves, fidelity
from analysis.commands.settings import importance, sensitivity
from analysis.commands.tables import describe, sql

# pandas, scipy and matplotlib take seconds to import: a verb that needs them imports them itself

VERBS: dict[str, Callable[..., None]] = {
    "leaderboard": leaderboard,
    "compare": compare,
    "importance": importance,
    "sensitivity": sensitivity,
    "curves": curves,
    "fidelity": fidelity,
    "cost": cost,
    "sql": sql,
    "report": report,
    "export": export,
    "tables": describe,
}
"""The verbs in the order in which --help lists them."""


def mount(app: typer.Typer) -> None:
    """Adds every verb to an application."""
    for name, verb in VERBS.items():
        app.command(name)(verb)
    app.add_typer(published.build_app(), name="published")


def build_app() -> typer.Typer:
    """The typer application with all verbs."""
    app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    mount(app)
    return app


def main() -> None:
    """Runs the command line; what the user got wrong is a message on stderr and exit code 2."""
    try:
        build_app()()
    except ValueError as error:
        Console(stderr=True, highlight=False).print(Text(f"error: {error}"), soft_wrap=True)
        raise SystemExit(2) from None
