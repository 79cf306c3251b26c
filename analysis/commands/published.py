"""`published`: what the literature reports, and its tables with our statistics."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from analysis.commands.board import BoardFormat
from analysis.commands.printing import AsJson, RowsFormat, RowsFormatOption, show_answer

_Data = Annotated[str | None, typer.Option(help="Only this data set, such as cifar100.")]
_Teacher = Annotated[str | None, typer.Option(help="Only this teacher, such as resnet32x4.")]
_Student = Annotated[str | None, typer.Option(help="Only this student, such as resnet8x4.")]
_Method = Annotated[str | None, typer.Option(help="Only this method, as printed (tf-NKD) or as its label (tf_nkd).")]
_Source = Annotated[str | None, typer.Option(help="Only this source, such as RepDistiller.")]
_Role = Annotated[str | None, typer.Option(help="Only this role: primary, reproduced or quoted.")]


def list_results(
    context: typer.Context,
    data: _Data = None,
    teacher: _Teacher = None,
    student: _Student = None,
    method: _Method = None,
    source: _Source = None,
    role: _Role = None,
    form: RowsFormatOption = RowsFormat.table,
    as_json: AsJson = False,
) -> None:
    """List what the literature reports, each number with its source, its role and the epoch that it is of."""
    if context.invoked_subcommand is not None:
        return
    from analysis.published.listing import list_published

    found = list_published(data=data, teacher=teacher, student=student, method=method, source=source, role=role)
    show_answer(found, form, as_json=as_json)


def sources(form: RowsFormatOption = RowsFormat.table, as_json: AsJson = False) -> None:
    """List where the numbers are from, and how it is known which epoch they are of."""
    from analysis.published.listing import list_sources

    show_answer(list_sources(), form, as_json=as_json)


def board(
    data: Annotated[str, typer.Argument(help="Data set, such as cifar100.")],
    source: Annotated[str, typer.Option(help="Whose table, such as RepDistiller; see `published sources`.")],
    form: Annotated[BoardFormat, typer.Option("--format", help="How to show it.")] = BoardFormat.terminal,
    as_json: AsJson = False,
) -> None:
    """Show a published table as a leaderboard: ranks, gains and gap closed of numbers that others measured."""
    from analysis import render
    from analysis.published.board import build_board

    found = build_board(data, source=source)
    if as_json or form is BoardFormat.json:
        sys.stdout.write(render.to_json(found) + "\n")
    elif form is BoardFormat.csv:
        sys.stdout.write(render.to_csv(found))
    elif form is BoardFormat.markdown:
        sys.stdout.write(render.to_markdown(found))
    else:
        render.print_terminal(found, Console())


def build_app() -> typer.Typer:
    """The verb with its two commands; without one it lists."""
    app = typer.Typer(invoke_without_command=True)
    app.callback()(list_results)
    app.command()(sources)
    app.command()(board)
    return app
