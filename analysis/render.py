"""A leaderboard for people (terminal, Markdown) and for programs (CSV, JSON).

Per cent and "-" exist only in the first two; CSV and JSON hold fractions, empty fields and null.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from analysis.leaderboard import PLAIN, Column, Leaderboard, Table
from analysis.statistics import TIE_DIGITS

_PAIR_KEYS = ("study", "data", "teacher", "teacher_id", "student")
_FOLDED = ("test_top1_low", "test_top1_high", "teacher_top1")  # shown as the mean's ± and as the teacher's own line
_LINES_SHOWN = 8  # of what is missing; JSON has all of it. Chosen by hand
_ROOMY = 100  # columns of a terminal from which the numbers get more air
_HEADS = {"seconds": "time"}  # shown in minutes and hours


@dataclass(frozen=True)
class Section:
    """A block of the board as text, ready to be laid out."""

    title: str
    header: tuple[str, ...]
    meanings: tuple[str, ...]           # of each column
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]    # (row, column) of the best values


def print_terminal(board: Leaderboard, console: Console) -> None:
    """Prints the board; colours and widths are the console's business."""
    console.print(Text(describe_title(board), style="bold"))
    for section in sections(board):
        console.print()
        console.print(_rich_table(section, gap=1 if console.width >= _ROOMY else 0))
    console.print()
    for line in describe_notes(board):
        console.print(Text(line, style="yellow"))
    console.print(_rich_footer(board))


def to_markdown(board: Leaderboard) -> str:
    """The board as GitHub Markdown, the best values in bold."""
    blocks = [f"# {_escape_markdown(describe_title(board))}"]
    blocks += [_markdown_table(section) for section in sections(board)]
    notes = [f"- **{_escape_markdown(line)}**" for line in describe_notes(board)]
    notes += [f"- {word}: {_escape_markdown(sentence)}" for word, sentence in board.footer]
    return "\n\n".join([*blocks, "\n".join(notes)]) + "\n"


def to_csv(board: Leaderboard) -> str:
    """One line per pair and method, fractions as they are; a missing value is an empty field."""
    return board.pairs.to_pandas().to_csv(index=False, lineterminator="\n")


def to_json(board: Leaderboard) -> str:
    """Everything on the board, each column with unit and meaning; a missing value is null."""
    document = {
        "title": board.title,
        "partial": board.partial,
        "missing": board.missing,
        "warnings": board.warnings,
        "over_pairs": _table_to_dict(board.summary),
        "pairs": _table_to_dict(board.pairs),
        "footer": dict(board.footer),
    }
    return json.dumps(document, indent=2, allow_nan=False)


def describe_title(board: Leaderboard) -> str:
    """The studies' names, and whether anything is still missing."""
    return f"{board.title}{' (partial)' if board.partial else ''}"


def sections(board: Leaderboard) -> Iterator[Section]:
    """The board over pairs, then one section per pair."""
    yield _section("Over all pairs", board.summary, board.summary.rows, ())
    for _, group in itertools.groupby(board.pairs.rows, key=lambda row: [row[key] for key in _PAIR_KEYS]):
        rows = tuple(group)
        title = _describe_pair(rows[0], board.pairs.rows)
        yield _section(title, board.pairs, rows, _teacher_line(board.pairs, rows[0]))


def format_value(column: Column, row: Mapping[str, Any]) -> str:
    """The value as a person reads it; a mean with an interval carries half of it."""
    value = row[column.name]
    if value is None:
        return "-"
    text = _FORMATS[column.unit](value)
    high = row.get(column.name.replace("_mean", "_high")) if column.name.endswith("_mean") else None
    return f"{text} ± {_FORMATS[column.unit](high - value)}" if high is not None else text


def format_seconds(seconds: float) -> str:
    """Seconds under a minute, else minutes, else hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


_FORMATS = {
    "fraction": lambda value: f"{100 * value:.2f}",
    "difference": lambda value: f"{100 * value:+.2f}",
    "rank": lambda value: f"{value:.2f}",
    "s": format_seconds,
    "": lambda value: f"{value:,}",
}

_SIGNS = {"fraction": " %", "difference": " pp"}  # pp: percentage points


def _section(title: str, table: Table, rows: Sequence[Mapping[str, Any]], above: Sequence[tuple[str, ...]]) -> Section:
    columns = [column for column in table.columns if column.name not in _FOLDED]
    header = ("method", *(_head(column) for column in columns))
    body = [(_name_method(row["method"]), *(format_value(column, row) for column in columns)) for row in rows]
    best = {
        (len(above) + number, place)
        for place, column in enumerate(columns, start=1)
        for number in _find_best(column, rows)
    }
    meanings = ("", *(column.meaning for column in columns))
    return Section(title, header, meanings, (*above, *body), frozenset(best))


def _head(column: Column) -> str:
    name = _HEADS.get(column.name, column.name.removeprefix("num_"))
    return name.replace("_", " ") + _SIGNS.get(column.unit, "")


def _find_best(column: Column, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Rows that hold the column's best value; ties are all best, and a lone value is not."""
    known = ((number, row[column.name]) for number, row in enumerate(rows) if row[column.name] is not None)
    values = {number: round(value, TIE_DIGITS) for number, value in known}
    if not column.better or len(values) < 2:
        return []
    best = max(values.values()) if column.better == "high" else min(values.values())
    return [number for number, value in values.items() if value == best]


def _teacher_line(table: Table, row: Mapping[str, Any]) -> Sequence[tuple[str, ...]]:
    if row["teacher"] is None:
        return ()
    shown = [column for column in table.columns if column.name not in _FOLDED]
    top1 = "-" if row["teacher_top1"] is None else _FORMATS["fraction"](row["teacher_top1"])
    return (("teacher", *(top1 if column.name == "test_top1_mean" else "" for column in shown)),)


def _describe_pair(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The pair in words, with the study and the teacher's identity only where they tell pairs apart."""
    same = [other for other in rows if all(other[key] == row[key] for key in ("study", "data", "teacher", "student"))]
    study = f"{row['study']}: " if len({other["study"] for other in rows}) > 1 else ""
    teacher_id = f" ({row['teacher_id']})" if len({other["teacher_id"] for other in same}) > 1 else ""
    models = f"{row['teacher']}{teacher_id} → {row['student']}" if row["teacher"] else f"{row['student']}, no teacher"
    return f"{study}{row['data']}: {models}"


def _name_method(label: str) -> str:
    return f"{label} (plain)" if label == PLAIN else label


def describe_notes(board: Leaderboard) -> list[str]:
    """What is missing and what to beware of, one sentence each; a long list is cut and says so."""
    lines = [f"missing: {line}" for line in board.missing[:_LINES_SHOWN]]
    if len(board.missing) > _LINES_SHOWN:
        lines.append(f"missing: {len(board.missing) - _LINES_SHOWN} more: the JSON lists all")
    return lines + [f"beware: {line}" for line in board.warnings]


def _rich_table(section: Section, *, gap: int) -> RichTable:
    table = RichTable(title=escape(section.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                      padding=(0, gap, 0, 0), show_edge=False)
    for place, name in enumerate(section.header):
        words = [*name.split(), *(row[place] for row in section.rows)]  # a header wraps, a number does not
        table.add_column(name, justify="right" if place else "left", width=max(map(len, words)))
    for number, row in enumerate(section.rows):
        table.add_row(*(Text(cell, style="bold green" if (number, place) in section.best else "")
                        for place, cell in enumerate(row)))
    return table


def _rich_footer(board: Leaderboard) -> RichTable:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    for word, sentence in board.footer:
        grid.add_row(Text(word, style="dim"), Text(sentence))
    return grid


def _markdown_table(section: Section) -> str:
    lines = [
        f"## {_escape_markdown(section.title)}",
        "",
        _markdown_row(section.header),
        _markdown_row(["---", *["---:"] * (len(section.header) - 1)]),
    ]
    for number, row in enumerate(section.rows):
        cells = [_escape_markdown(cell) for cell in row]
        lines.append(_markdown_row(
            f"**{cell}**" if (number, place) in section.best else cell for place, cell in enumerate(cells)))
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str] | Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    for sign in "\\|*<`":
        text = text.replace(sign, "\\" + sign)
    return text


def _table_to_dict(table: Table) -> dict[str, Any]:
    columns = [
        {"name": c.name, "unit": c.unit, "meaning": c.meaning, "better": c.better or None} for c in table.columns
    ]
    return {"columns": columns, "rows": table.rows}
