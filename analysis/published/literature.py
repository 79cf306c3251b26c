"""The published results and their sources, read from this package's own files."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from analysis.names import describe_unknown

ROLES = ("primary", "reproduced", "quoted")     # in the order in which they are believed
SELECTIONS = ("last", "best_test", "best_val", "unknown")


@dataclass(frozen=True)
class Result:
    """One printed number. Shares are fractions; None is what the source does not print."""

    data: str
    teacher: str | None         # None: without a teacher
    student: str
    teacher_top1: float | None
    student_top1: float | None  # of the plain student, trained without a teacher
    method: str                 # as printed
    top1: float
    top1_sd: float | None
    num_runs: int | None
    source: str
    role: str
    selection: str
    note: str

    @property
    def pair(self) -> tuple[str, str | None, str]:
        return self.data, self.teacher, self.student

    @property
    def label(self) -> str:
        """The method as a study here would call it."""
        return to_label(self.method)


@dataclass(frozen=True)
class Source:
    """Where numbers were read, what they were made with, and how it is known which epoch they are of."""

    source: str
    repository: str     # on GitHub
    commit: str
    file: str
    title: str          # of the paper; empty where there is none
    arxiv: str
    recipe: str         # empty where not known
    selection: str      # of its own runs
    evidence: str       # for the selection
    note: str

    @property
    def address(self) -> str:
        return f"{self.repository}@{self.commit}:{self.file}"


@cache
def load() -> tuple[Result, ...]:
    """All published results, source by source."""
    return tuple(_read_result(row) for row in _rows("results.csv"))


@cache
def load_sources() -> dict[str, Source]:
    """All sources by name."""
    return {row["source"]: Source(**row) for row in _rows("sources.csv")}


def to_label(method: str) -> str:
    """A printed method as a label: `tf-NKD` is tf_nkd, `KD+LS` kd_plus_ls, a plain student ce. No two become one."""
    if method == "vanilla":
        return "ce"
    named = method.lower().replace("+", "_plus_").replace("*", "_star_")
    return re.sub(r"[^a-z0-9]+", "_", named).strip("_")


def find_name(kind: str, given: str, known: Collection[str]) -> str:
    """The known name that `given` is, whatever its case. ValueError with the nearest and all known ones."""
    names = {name.lower(): name for name in known}
    if given.lower() not in names:
        raise ValueError(describe_unknown(f"published {kind}", given, known))
    return names[given.lower()]


def find_source(given: str) -> Source:
    """The source of that name. ValueError with the known ones."""
    sources = load_sources()
    return sources[find_name("source", given, sources)]


def _rows(file: str) -> Iterator[dict[str, str]]:
    with (resources.files(__package__) / file).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def _read_result(row: dict[str, str]) -> Result:
    shares = {name: _read_share(row[name]) for name in ("teacher_top1", "student_top1", "top1_sd")}
    runs = int(row["num_runs"]) if row["num_runs"] else None
    return Result(**row | shares | {"teacher": row["teacher"] or None, "top1": float(row["top1"]), "num_runs": runs})


def _read_share(text: str) -> float | None:
    return float(text) if text else None
