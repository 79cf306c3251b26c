"""`fidelity`, `curves` and `cost`: what the search of a study did and what it took."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import analysis
from analysis.commands.directories import Directories
from analysis.commands.printing import AsJson, RowsFormat, RowsFormatOption, show_answer

# pandas, scipy and matplotlib take seconds to import: a verb that needs them imports them itself


class Kind(StrEnum):
    budget = "budget"
    common = "common"
    learning = "learning"
    expected = "expected"


class Cost(StrEnum):
    seconds = "seconds"
    epochs = "epochs"
    device_seconds = "device_seconds"


def fidelity(
    directories: Directories,
    epochs: Annotated[
        str | None, typer.Option(help="Epochs to judge, such as 3,9; else the study's own rungs.", metavar="E,E,...")
    ] = None,
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Show how well each rung predicts the end and what stopping there loses, from the trials that no rung stopped."""
    from analysis import fidelity as rungs

    wanted = None if epochs is None else _parse_epochs(epochs)
    show_answer(rungs.measure(analysis.open(directories), epochs=wanted), form, as_json=as_json)


def curves(
    directories: Directories,
    kind: Annotated[Kind, typer.Option(help=(
        "budget: best so far by cost. common: each pair at its smallest common budget. learning: by epoch. expected: "
        "best of n random trials."
    ))] = Kind.budget,
    by: Annotated[Cost | None, typer.Option(help="The cost, for budget and common; else seconds.")] = None,
    biased: Annotated[bool, typer.Option("--biased", help="The form of Dodge et al. 2019, for expected.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw it into this new file too.", metavar="FILE")] = None,
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Show how the search went: by what it cost, by epoch, or the best to expect of n random trials."""
    _require_meaning(kind, by=by, biased=biased, svg=svg)
    from analysis import curves as found
    from analysis import search_plots

    results = analysis.open(directories)
    cost_name = (by or Cost.seconds).value
    if kind is Kind.budget:
        answer, draw = found.budget(results, by=cost_name), search_plots.draw_budget
    elif kind is Kind.common:
        answer, draw = found.at_common_budget(results, by=cost_name), None
    elif kind is Kind.learning:
        answer, draw = found.learning(results), search_plots.draw_learning
    else:
        answer, draw = found.expected(results, biased=biased), search_plots.draw_expected
    if svg is not None and draw is not None:
        search_plots.write_svg(draw(answer), svg)
    show_answer(answer, form, as_json=as_json)


def cost(directories: Directories, form: RowsFormatOption = RowsFormat.table, as_json: AsJson = False) -> None:
    """Show what every teacher, arm and stage cost, and what stopping saved."""
    from analysis import cost as spending

    show_answer(spending.measure(analysis.open(directories)), form, as_json=as_json)


def _parse_epochs(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--epochs: {text!r} is no list of epochs\n\nhint: --epochs 3,9") from None


def _require_meaning(kind: Kind, *, by: Cost | None, biased: bool, svg: Path | None) -> None:
    """ValueError for an option that says nothing about this kind, before anything is read."""
    if by is not None and kind not in (Kind.budget, Kind.common):
        raise ValueError(f"--by: kind {kind.value} has no cost to choose\n\nhint: --kind budget or --kind common")
    if biased and kind is not Kind.expected:
        raise ValueError(f"--biased: kind {kind.value} expects nothing\n\nhint: --kind expected")
    if svg is not None and kind is Kind.common:
        raise ValueError("--svg: kind common has no picture\n\nhint: the one of --kind budget marks the common budget")
    if svg is not None and svg.exists():
        raise ValueError(f"--svg: {svg} exists\n\nhint: name a new file; no picture is replaced")
