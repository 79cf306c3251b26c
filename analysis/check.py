"""Whether a study's tables are whole: every file readable and of its table, every row there once, and none alone.

What the journal knows better is sweeps.audit's to say; `more` takes its findings in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from analysis import tables
from analysis.answer import Answer
from analysis.consistency import Found, Problem, find_orphans, find_wrong_rows
from analysis.files import count_rows, find_faults, find_torn_pages
from analysis.formatting import count
from analysis.views import Files, read_settled

PROBLEMS_FOUND = 3  # exit code: the check came to its end, and not all is well


def check(directory: Path, *, finished: bool = False, more: Iterable[Mapping[str, str]] = ()) -> Answer:
    """One row per problem: what, where, hint; a note says what was looked at.

    `finished`: the study is at its end, so that what a running one has for a while is a problem. `more`: problems
    that were found elsewhere. ValueError where there is no study.
    """
    directory = Path(directory)
    if not (directory / "tables").is_dir():
        raise ValueError(f"{directory}: no study here, there is no folder `tables`")
    found, problems = read_settled([directory], lambda files: _look(directory, files, finished=finished))
    rows = (*(asdict(problem) for problem in problems), *(dict(problem) for problem in more))
    title = f"{directory.resolve().name}: {count(len(rows), 'problem')}"
    return Answer(title, ("what", "where", "hint"), (), rows, tuple(_describe_looked_at(found, finished=finished)))


def _look(directory: Path, files: Files, *, finished: bool) -> tuple[Found, list[Problem]]:
    problems = [*_find_strangers(directory, files), *(_find_leftovers(directory) if finished else ())]
    found = Found({table: [] for table in files}, {table: set() for table in files})
    for table, paths in files.items():
        for path in paths:
            faults = list(_find_faults(directory, path, table))
            problems += faults
            if faults:
                found.spoiled[table].add(path.stem)
            else:
                found.whole[table].append(path)
    problems += find_wrong_rows(found)
    return found, problems + (list(find_orphans(found)) if finished else [])


def _find_strangers(directory: Path, files: Files) -> Iterator[Problem]:
    for path in sorted((directory / "tables").iterdir()):
        if path.name not in tables.TABLES or not path.is_dir():
            yield _at(directory, path, f"{path.name} is no table", hint="move it elsewhere")
    for table, own in files.items():
        folder = directory / "tables" / table
        for path in sorted(set(folder.iterdir()) - set(own)) if folder.is_dir() else ():
            yield _at(directory, path, f"{path.name} is no file of a table", hint="move it elsewhere")


def _find_leftovers(directory: Path) -> Iterator[Problem]:
    """A finished study has nothing on its way any more."""
    staging = directory / "staging"
    for path in sorted(staging.iterdir()) if staging.is_dir() else ():
        yield _at(directory, path, f"{path.name} was left over by a process that was killed",
                  hint="`kdsweep resume` publishes what is missing; what still lies there then can be removed")


def _find_faults(directory: Path, path: Path, table: str) -> Iterator[Problem]:
    hint = "remove it, then `kdsweep resume` writes what follows from the journal; or restore it from a backup"
    for fault in list(find_faults(path, table)) or find_torn_pages(path):
        yield _at(directory, path, f"{path.name} {fault}", hint=hint)


def _describe_looked_at(found: Found, *, finished: bool) -> Iterator[str]:
    counts = []
    for table, paths in found.whole.items():
        rows = sum(count_rows(path, table) for path in paths)
        counts.append(f"{table} ({count(rows, 'row')} in {count(len(paths), 'file')})")
    yield f"looked at {', '.join(counts)}"
    if not finished:
        yield "the study is not finished: rows that wait for their trial's, and files on their way, were not looked at"


def _at(directory: Path, path: Path, what: str, *, hint: str) -> Problem:
    return Problem(what, str(path.relative_to(directory)), hint)
