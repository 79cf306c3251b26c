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

from analysis.answer import Answer, describe_column
from analysis.cells import Column
from analysis.formatting import count, format_head, format_value
from analysis.leaderboard import Leaderboard, Table
from analysis.statistics import TIE_DIGITS

_PAIR_KEYS = ("study", "data", "teacher", "teacher_id", "student")
_FOLDED = ("tied_with_best", "teacher_top1")  # shown as a sign at the mean, and as the teacher's own line
_LINES_SHOWN = 8  # of what is missing; JSON has all of it. Chosen by hand
_ROOMY = 100  # columns of a terminal from which the numbers get more air
_TIED = " ≈"


@dataclass(frozen=True)
class Section:
    """A block of the board as text, ready to be laid out."""

    title: str
    header: tuple[str, ...]
    meanings: tuple[str, ...]           # of each column
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()  # (row, column) of the best values
    lines: tuple[str, ...] = ()         # sentences that stand below it
    texts: frozenset[int] = frozenset()     # columns of words, which may wrap; numbers never do


def print_terminal(board: Leaderboard, console: Console, *, detail: bool = False) -> None:
    """Prints the board, with `detail` every column of it; colours and widths are the console's business."""
    console.print(Text(describe_title(board), style="bold"))
    for section in sections(board, detail=detail):
        console.print()
        table = _rich_table(section, gap=1 if console.width >= _ROOMY else 0)
        console.print(table if section.rows else Text(section.title, style="bold"), crop=False)
        for line in section.lines:
            console.print(Text(line))
    console.print()
    for line in describe_notes(board):
        console.print(Text(line, style="yellow"))
    console.print(_rich_footer(board))


def to_markdown(board: Leaderboard, *, detail: bool = False) -> str:
    """The board as GitHub Markdown, with `detail` every column of it; the best values in bold."""
    blocks = [f"# {_escape_markdown(describe_title(board))}"]
    blocks += [_markdown_table(section) for section in sections(board, detail=detail)]
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
        "verdicts": _table_to_dict(board.verdicts),
        "pairs": _table_to_dict(board.pairs),
        "profiles": _table_to_dict(board.profiles),
        "published": board.published and board.published.to_dict(),
        "footer": dict(board.footer),
    }
    return json.dumps(document, indent=2, allow_nan=False)


def describe_title(board: Leaderboard) -> str:
    """The studies' names, and whether anything is still missing."""
    return f"{board.title}{' (partial)' if board.partial else ''}"


def sections(board: Leaderboard, *, detail: bool = False) -> Iterator[Section]:
    """The board over pairs, what may be concluded from it, then one section per pair.

    detail: with every column, rather than those that answer in ten seconds.
    """
    yield from sections_over_pairs(board, detail=detail)
    yield from sections_by_pair(board, detail=detail)
    if board.published is not None:
        yield section_of(board.published)


def sections_over_pairs(board: Leaderboard, *, detail: bool = False) -> Iterator[Section]:
    """The aggregates, and how sure they are."""
    yield _section("Over all pairs", board, board.summary, board.summary.rows, detail=detail)
    if board.verdicts.rows:
        yield _verdicts(board, detail=detail)


def sections_by_pair(board: Leaderboard, *, detail: bool = False) -> Iterator[Section]:
    """One section per pair, each method a row below its teacher."""
    for _, group in itertools.groupby(board.pairs.rows, key=lambda row: [row[key] for key in _PAIR_KEYS]):
        rows = tuple(group)
        yield _section(_describe_pair(rows[0], board.pairs.rows), board, board.pairs, rows, detail=detail)


def section_of(answer: Answer) -> Section:
    """An answer as a block of text: no column that nothing fills, its notes below."""
    keys = [key for key in answer.keys if len({row[key] for row in answer.rows}) > 1 and not key.endswith("_id")]
    fields = [
        field for field in answer.fields
        if not field.name.endswith(("_low", "_high")) and any(row[field.name] is not None for row in answer.rows)
    ]
    rows = [
        (*(format_value(row[key]) for key in keys), *(format_value(row[field.name], field.unit) for field in fields))
        for row in answer.rows
    ]
    header = (*(key.replace("_", " ") for key in keys), *map(format_head, fields))
    meanings = (*("" for _ in keys), *(field.meaning for field in fields))
    words = frozenset(place for place, field in enumerate(fields, start=len(keys)) if field.unit == "text")
    return Section(answer.title, header, meanings, tuple(rows), lines=answer.notes, texts=words | set(range(len(keys))))


def _section(
    title: str, board: Leaderboard, table: Table, rows: Sequence[Mapping[str, Any]], *, detail: bool
) -> Section:
    columns = _choose(table, detail=detail)
    above = _teacher_line(columns, rows)
    header = ("method", *(format_head(column) for column in columns))
    best = {(number, place) for place, column in enumerate(columns) for number in _find_best(column, rows)}
    lone = sum(row.get("test_top1_mean") is not None for row in rows) == 1
    body = [
        (_name_method(board, row["method"]),
         *(_format_cell(column, row, is_best=lone or (number, place) in best) for place, column in enumerate(columns)))
        for number, row in enumerate(rows)
    ]
    tied = any(cell.endswith(_TIED) for row in body for cell in row)
    lines = (f"{_TIED.strip()} not told apart from the best by these seeds",) if tied else ()
    meanings = ("", *(column.meaning for column in columns))
    shifted = frozenset((len(above) + number, place + 1) for number, place in best)
    return Section(title, header, meanings, (*above, *body), shifted, lines)


def _choose(table: Table, *, detail: bool) -> list[Column]:
    """The columns that a person sees: not the ends of intervals, nor what no row has."""
    return [
        column for column in table.columns
        if (detail or not column.detail)
        and column.name not in _FOLDED
        and not column.name.endswith(("_low", "_high"))
        and (column.name in _ALWAYS or any(row[column.name] is not None for row in table.rows))
    ]


_ALWAYS = ("test_top1_mean", "gain", "gap_closed", "gap_closed_pooled", "gain_mean", "rank_mean")


def _verdicts(board: Leaderboard, *, detail: bool) -> Section:
    """Against plain training: how sure each aggregate is, and one sentence per method."""
    summary = {row["method"]: row for row in board.summary.rows}
    intervals = [c for c in board.summary.columns if f"{c.name}_low" in board.summary.rows[0]]
    intervals = [c for c in intervals if any(row[f"{c.name}_low"] is not None for row in board.summary.rows)]
    columns = _choose(board.verdicts, detail=detail)
    columns = [column for column in columns if column.name != "verdict"]
    rows = [
        (
            row["method"],
            *(_format_interval(column, summary[row["method"]]) for column in intervals),
            *(_format_cell(column, row) for column in columns),
        )
        for row in board.verdicts.rows
    ]
    header = ("method", *(f"{format_head(column)}, 95 %" for column in intervals), *map(format_head, columns))
    meanings = ("", *(f"95 % interval: {column.meaning}" for column in intervals), *(c.meaning for c in columns))
    title = f"Against {_name_method(board, board.plain)}"
    return Section(title, header, meanings, tuple(rows), lines=tuple(_conclude(board)))


def _conclude(board: Leaderboard) -> Iterator[str]:
    rows = board.verdicts.rows
    hopeless = sorted({row["num_pairs"] for row in rows if not row["can_be_significant"]})
    if hopeless:
        pairs = " or ".join([*map(str, hopeless[:-1]), count(hopeless[-1], "pair")])
        yield f"{pairs}: no p-value can be significant, whatever the methods are worth"
    yield from (row["verdict"] for row in rows if row["verdict"])


def _format_interval(column: Column, row: Mapping[str, Any]) -> str:
    low, high = row[f"{column.name}_low"], row[f"{column.name}_high"]
    return "-" if low is None else f"{format_value(low, column.unit)} to {format_value(high, column.unit)}"


def _format_cell(column: Column, row: Mapping[str, Any], *, is_best: bool = False) -> str:
    """The value; a mean carries half of its interval, and a sign where seeds cannot tell it from the best."""
    value = row[column.name]
    text = format_value(value, column.unit)
    if column.name == "test_top1_mean" and value is not None:
        if row["test_top1_high"] is not None:
            text += f" ± {format_value(row['test_top1_high'] - value, column.unit)}"
        text += _TIED if row["tied_with_best"] and not is_best else ""
    return text


def _find_best(column: Column, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Rows that hold the column's best value; ties are all best, and a lone value is not."""
    known = ((number, row[column.name]) for number, row in enumerate(rows) if row[column.name] is not None)
    values = {number: round(value, TIE_DIGITS) for number, value in known}
    if not column.better or len(values) < 2:
        return []
    best = max(values.values()) if column.better == "high" else min(values.values())
    return [number for number, value in values.items() if value == best]


def _teacher_line(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    if not rows or rows[0].get("teacher") is None:
        return ()
    top1 = format_value(rows[0]["teacher_top1"], "fraction")
    return (("teacher", *(top1 if column.name == "test_top1_mean" else "" for column in columns)),)


def _describe_pair(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The pair in words, with the study and the teacher's identity only where they tell pairs apart."""
    same = [other for other in rows if all(other[key] == row[key] for key in ("study", "data", "teacher", "student"))]
    study = f"{row['study']}: " if len({other["study"] for other in rows}) > 1 else ""
    teacher_id = f" ({row['teacher_id']})" if len({other["teacher_id"] for other in same}) > 1 else ""
    models = f"{row['teacher']}{teacher_id} → {row['student']}" if row["teacher"] else f"{row['student']}, no teacher"
    return f"{study}{row['data']}: {models}"


def _name_method(board: Leaderboard, label: str) -> str:
    return f"{label} (plain)" if label == board.plain else label


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
        is_text = place in section.texts
        cells = [row[place] for row in section.rows]
        words = [*name.split(), *(word for cell in cells for word in (cell.split() if is_text else [cell]))]
        width = max(map(len, words))  # a header wraps, a number does not
        table.add_column(name, justify="right" if place and not is_text else "left", min_width=width,
                         max_width=None if is_text else width)
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
    if not section.rows:
        return "\n\n".join([f"## {_escape_markdown(section.title)}", *map(_escape_markdown, section.lines)])
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
    return "\n".join([*lines, *(f"\n{_escape_markdown(line)}" for line in section.lines)])


def _markdown_row(cells: Sequence[str] | Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    for sign in "\\|*<`":
        text = text.replace(sign, "\\" + sign)
    return text


def _table_to_dict(table: Table) -> dict[str, Any]:
    return {"columns": [describe_column(column) for column in table.columns], "rows": table.rows}
