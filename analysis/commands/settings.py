"""`importance` and `sensitivity`: which searched settings matter, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import analysis
from analysis.commands.directories import Directories
from analysis.commands.printing import AsJson, RowsFormat, RowsFormatOption, show_answer

# pandas, scipy, matplotlib and Optuna take seconds to import: a verb that needs them imports them itself


class Evaluator(StrEnum):
    ped_anova = "ped_anova"
    fanova = "fanova"


Method = Annotated[str | None, typer.Option(help="Show this method alone, by its label.")]


def importance(
    directories: Directories,
    evaluator: Annotated[Evaluator, typer.Option(help=(
        "ped_anova: what sets the best trials apart. fanova: share of the variance over the ranges; needs scikit-learn."
    ))] = Evaluator.ped_anova,
    method: Method = None,
    resamples: Annotated[int | None, typer.Option(help=(
        "Bootstrap samples for the intervals: 200 unless told; for fanova none, 20 take it 10 s an arm."
    ))] = None,
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Show each searched setting's importance for validation top-1, arm by arm."""
    from analysis import importance as shares

    results = analysis.open(directories)
    answer = shares.measure(results, evaluator=evaluator.value, method=method, num_resamples=resamples)
    show_answer(answer, form, as_json=as_json)


def sensitivity(
    directories: Directories,
    x: Annotated[str | None, typer.Option(help="Setting along x, such as temperature.")] = None,
    y: Annotated[str | None, typer.Option(help="Setting along y, such as weight.")] = None,
    method: Method = None,
    bins: Annotated[int | None, typer.Option(help="Parts of a range; by the number of trials unless told.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw it into this new file too.", metavar="FILE")] = None,
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """Show mean validation top-1 by two searched settings, arm by arm, as heat maps."""
    from analysis import sensitivity as cells

    answer = cells.measure(analysis.open(directories), x=x, y=y, method=method, bins=bins)
    if svg is not None:
        from analysis.heat_maps import draw_heat_maps
        from analysis.search_plots import write_svg

        write_svg(draw_heat_maps(answer), svg)
    if as_json or form is not RowsFormat.table:
        show_answer(answer, form, as_json=as_json)
        return
    from analysis.commands.heat_table import print_heat_maps

    print_heat_maps(answer, Console(highlight=False))
    for note in answer.notes:
        Console(stderr=True, highlight=False).print(Text(f"note: {note}"), soft_wrap=True)
