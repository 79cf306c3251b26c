"""One HTML file that says what a study found: it opens offline, runs no script and holds its own data."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from analysis import curves, drawing, heat_maps, plots, render, search_plots, sensitivity, studies
from analysis.leaderboard import Leaderboard
from analysis.render import Section
from analysis.settings import SETTINGS
from analysis.studies import Studies
from analysis.writing import write_whole

_CSS = """
:root { color-scheme: light; --ink: #1c2329; --soft: #5c6873; --line: #e3e7ea; --best: #0a6b4b; --warn: #8a4b00; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 66rem; color: var(--ink); background: #fff;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.1rem; margin: 2.6rem 0 0.4rem; }
h3 { font-size: 0.95rem; margin: 1.6rem 0 0.3rem; }
p { margin: 0.3rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.notes { margin: 1rem 0; padding: 0.7rem 1rem; border-left: 3px solid var(--warn); background: #fdf7ee;
         color: var(--warn); }
.notes p { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: 0.8rem; text-align: right; vertical-align: bottom;
     white-space: normal; max-width: 5.5rem; }
th, td { padding: 0.28rem 0.7rem 0.28rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; min-width: 7rem; }
td.best { color: var(--best); font-weight: 650; }
.legend span { display: inline-block; margin-right: 1.1rem; }
.legend i { display: inline-block; width: 0.7rem; height: 0.7rem; border-radius: 50%; margin-right: 0.35rem; }
svg { display: block; max-width: 100%; height: auto; margin: 0.4rem 0; }
dl { display: grid; grid-template-columns: 6.5rem 1fr; gap: 0.2rem 0.8rem; margin: 0.6rem 0; font-size: 0.9rem; }
dt { color: var(--soft); } dd { margin: 0; }
a { color: #0b5cad; }
@media print { body { padding: 0; } h2 { break-after: avoid; } svg, table { break-inside: avoid; } }
"""

# A page that is opened from anywhere loads nothing from anywhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_report(directories: str | Path | Sequence[str | Path], output: Path | None = None) -> Path:
    """Writes the report, replacing it whole, and returns its path: report.html in a lone study's directory, or output.

    ValueError if there is no study, or several and no output.
    """
    results = studies.open(directories)
    if output is None and len(results.directories) > 1:
        raise ValueError("report: several studies have no directory in common\n\nhint: say where: --output FILE")
    path = results.directories[0] / "report.html" if output is None else output
    write_whole(path, build_page(results))
    return path


def build_page(results: Studies) -> str:
    """The whole page as HTML text."""
    board = results.leaderboard()
    body = "\n".join(_build_body(results, board))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(render.describe_title(board))}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _build_body(results: Studies, board: Leaderboard) -> Iterator[str]:
    colours = drawing.colour_methods([row["method"] for row in board.summary.rows])
    yield f"<h1>{escape(render.describe_title(board))}</h1>"
    yield '<p class="soft">Test accuracy of every method on every pair, over fresh seeds.</p>'
    yield _notes(board)
    yield from (_table(section, level=2) for section in render.sections_over_pairs(board, detail=True))
    yield _picture("Test top-1 by pair", plots.draw_board(board, colours), colours,
                   "Mean and 95 % interval over fresh seeds. Dotted: plain student. Dashed: teacher.")
    yield _picture("Performance profiles", plots.draw_profiles(board, colours), colours,
                   "How many pairs and seeds gain more than so much over plain training. Further right is better.")
    yield "<h2>Pair by pair</h2>"
    yield from (_table(section, level=3) for section in render.sections_by_pair(board, detail=True))
    yield from _build_search(results, colours)
    yield _made(board)
    yield _data(board)


def _build_search(results: Studies, colours: Mapping[str, str]) -> Iterator[str]:
    """How the settings were found."""
    budget = search_plots.draw_budget(curves.budget(results), colours=colours)
    yield _picture("What the search found for its time", budget, colours,
                   "Best validation top-1 so far by the seconds that all trials of the arm had taken, failed and "
                   "stopped ones included. Dotted: the smallest budget of the pair's arms.")
    learning = search_plots.draw_learning(curves.learning(results), colours=colours)
    yield _picture("Learning curves of the search", learning, colours,
                   "Validation top-1 by epoch. Strong: the best trial of each arm. Dashed and shaded: median and "
                   "quartiles of the trials that were still at work.")
    maps = heat_maps.draw_heat_maps(sensitivity.measure(results))
    yield _picture("Settings against each other", maps, {}, heat_maps.CAPTION)
    settings = results.sql(f"SELECT * FROM ({SETTINGS}) ORDER BY study_id, number")
    yield _picture("Settings searched", plots.draw_settings(settings, colours), colours,
                   "Trials that ran to the end: setting against validation top-1. Ticks at the foot: settings that "
                   "were stopped, diverged or failed.")


def _notes(board: Leaderboard) -> str:
    lines = render.describe_notes(board)
    return f'<div class="notes">{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>' if lines else ""


def _table(section: Section, *, level: int) -> str:
    named = zip(section.header, section.meanings, strict=True)
    head = "".join(f'<th title="{escape(meaning)}">{escape(name)}</th>' for name, meaning in named)
    rows = []
    for number, row in enumerate(section.rows):
        marks = [' class="best"' if (number, place) in section.best else "" for place in range(len(row))]
        rows.append("".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True)))
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    title = f"<h{level}>{escape(section.title)}</h{level}>"
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    return "\n".join([title, table, *(f"<p>{escape(line)}</p>" for line in section.lines)])


def _picture(title: str, svg: str | None, colours: Mapping[str, str], caption: str) -> str:
    if svg is None:
        return ""
    items = (f'<span><i style="background:{colour}"></i>{escape(label)}</span>' for label, colour in colours.items())
    legend = f'<p class="legend">{"".join(items)}</p>'
    return f'<h2>{escape(title)}</h2>\n<p class="soft">{escape(caption)}</p>\n{legend}\n{svg}'


def _made(board: Leaderboard) -> str:
    lines = "".join(f"<dt>{escape(word)}</dt><dd>{escape(sentence)}</dd>\n" for word, sentence in board.footer)
    return f"<h2>How it was made</h2>\n<dl>{lines}</dl>"


def _data(board: Leaderboard) -> str:
    """The numbers of the page: as a link to save, and as JSON for a program that reads the page."""
    csv = b64encode(render.to_csv(board).encode()).decode()
    safe = render.to_json(board).replace("<", "\\u003c")  # no string can close the element
    return (
        f'<p><a download="leaderboard.csv" href="data:text/csv;base64,{csv}">leaderboard.csv</a></p>\n'
        f'<script type="application/json" id="leaderboard">{safe}</script>'
    )
