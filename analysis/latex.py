r"""A leaderboard as LaTeX: one booktabs table over the pairs and one per pair, for \input into a paper.

The best values are bold, ties included; the caption says how the numbers came about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from analysis import render
from analysis.leaderboard import Leaderboard
from analysis.render import Section

_CAPTION = ("selection", "epoch", "seeds", "budget", "interval")  # of the board's footer

_JOINING = re.compile(r"([-'])(?=\1)")          # -- would be a dash, '' a quote
_MINUS = re.compile(r"(?<![^ ])-(?=\d)")        # before a number, where it begins a word

# What LaTeX would take for a command; also what ends a row's `\\` wrongly: an argument in brackets, a star.
_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$", "≈": r"$\approx$", "→": r"$\to$", "·": r"$\cdot$", "≥": r"$\geq$", "≤": r"$\leq$",
}


def to_latex(board: Leaderboard) -> str:
    """The board as LaTeX. What is missing, and what to beware of, stands in comments above it."""
    lines = [
        r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}.",
        *(f"% {' '.join(note.split())}" for note in render.describe_notes(board)),
    ]
    sections = [section for section in render.sections(board) if section.rows]
    return "\n".join([*lines, *("\n".join(_draw(board, section)) for section in sections)]) + "\n"


def escape(text: str) -> str:
    """The text as LaTeX prints it, on one line: a minus is one, and no two hyphens or quotes join."""
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return _MINUS.sub("$-$", _JOINING.sub(r"\1{}", "".join(_ESCAPED.get(sign, sign) for sign in text)))


def _draw(board: Leaderboard, section: Section) -> Iterator[str]:
    yield ""
    yield r"\begin{table}"
    yield r"\centering\small"
    yield rf"\caption{{{escape(_describe(board, section))}}}"
    yield rf"\begin{{tabular}}{{l{'r' * (len(section.header) - 1)}}}"
    yield r"\toprule"
    yield _row(escape(name) for name in section.header)
    yield r"\midrule"
    for number, cells in enumerate(section.rows):
        yield _row(
            rf"\textbf{{{escape(cell)}}}" if (number, place) in section.best else escape(cell)
            for place, cell in enumerate(cells)
        )
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _describe(board: Leaderboard, section: Section) -> str:
    said = dict(board.footer)
    facts = [f"{word}: {said[word]}" for word in _CAPTION if word in said]
    return ". ".join([f"{render.describe_title(board)}: {section.title}", *facts, *section.lines]) + "."


def _row(cells: Iterator[str]) -> str:
    return " & ".join(cells) + r" \\"
