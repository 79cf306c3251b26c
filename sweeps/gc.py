"""`kdsweep gc`: removes the teacher tables that no study under a results directory will read again.

A table only saves time: one that was removed is filled anew by whoever needs it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from sweeps.figures import format_bytes

# torch takes seconds to import: what needs it is imported where it is needed

Results = Annotated[Path, typer.Option(help="Where the directories of studies lie, and _teacher_tables beside them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@dataclass(frozen=True)
class Table:
    """A teacher table on disk."""

    folder: str
    teacher_id: str | None      # None where nothing says what it is of
    data: str | None
    num_bytes: int
    used_by: tuple[str, ...]    # the studies that have this teacher and are not finished


def gc(results: Results = Path("results"), dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Remove the teacher tables that no unfinished study under RESULTS has a use for."""
    tables = list_tables(results)
    for table in tables:
        if not table.used_by and not dry_run:
            shutil.rmtree(table.folder)  # who reads it at this moment goes on: what is mapped stays until it is let go
    if as_json:
        rows = [asdict(table) | {"removed": not table.used_by and not dry_run} for table in tables]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for table in tables:
        sys.stdout.write(f"{_describe(table, 'would remove' if dry_run else 'removed')}\n")
    if not tables:
        sys.stderr.write(f"no teacher table lies under {results}\n")


def list_tables(results: Path) -> list[Table]:
    """The teacher tables under `results`, sorted by folder."""
    from sweeps.launch import TABLES

    users = dict(_list_users(results))
    return [_look(folder, users) for folder in sorted((results / TABLES).glob("*")) if folder.is_dir()]


def _list_users(results: Path) -> Iterator[tuple[str, set[str]]]:
    """Each study that may go on, and the ids of its teachers."""
    from sweeps.launch import list_begun

    for directory in list_begun(results):
        if _may_go_on(directory):
            described = json.loads((directory / "study.json").read_text())
            yield described["study"], {teacher["teacher_id"] for teacher in described["teachers"]}


def _may_go_on(directory: Path) -> bool:
    """Whether a study may still need its tables. One that cannot be read may, once it is put right."""
    from sweeps.audit import is_finished

    try:
        return not is_finished(directory)
    except ValueError:
        return True


def _look(folder: Path, users: Mapping[str, set[str]]) -> Table:
    path = folder / "table.json"
    key = json.loads(path.read_text()) if path.exists() else {}
    teacher_id = key.get("teacher_id")
    return Table(
        folder=str(folder),
        teacher_id=teacher_id,
        data=key.get("data"),
        num_bytes=sum(found.stat().st_size for found in folder.rglob("*") if found.is_file()),
        used_by=tuple(name for name, teachers in users.items() if teacher_id in teachers),
    )


def _describe(table: Table, removed: str) -> str:
    what = f"{table.folder}: {format_bytes(table.num_bytes)} of teacher {table.teacher_id} on {table.data}"
    return f"kept {what}, for {', '.join(table.used_by)}" if table.used_by else f"{removed} {what}"
