"""Whether the rows of a study's tables fit together: none twice, none without what it belongs to, no gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analysis import tables
from analysis.views import connect

_ANCESTORS = {"studies": "study_id", "teachers": "teacher_id", "environments": "environment_id"}
_DESCENDANTS = ("epochs", "evals", "test_curves")


@dataclass(frozen=True)
class Found:
    """The files of each table. What a damaged one should hold is missing elsewhere, which is no second problem."""

    whole: dict[str, list[Path]]        # can be read
    spoiled: dict[str, set[str]]        # keys of those that cannot


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    what: str       # a sentence
    where: str      # a path below the study's directory, or a table
    hint: str       # what to do


def find_wrong_rows(found: Found) -> Iterator[Problem]:
    """What is wrong whether or not the study is finished."""
    with connect(found.whole) as connection:
        for table in tables.TABLES:
            yield from _find_doubled(connection, table)
            yield from _find_misplaced(connection, table, found.whole[table])
            yield from _find_wrong_shares(connection, table)
        yield from _find_gaps(connection, found.spoiled["epochs"])
        yield from _find_missing_ancestors(connection, found.spoiled)


def find_orphans(found: Found) -> Iterator[Problem]:
    """Trials that have rows in other tables and none of their own: in a running study theirs is still to come."""
    with connect(found.whole) as connection:
        for table in _DESCENDANTS:
            query = f"SELECT DISTINCT trial_id FROM {table} ANTI JOIN trials USING (trial_id) ORDER BY ALL"
            for (trial_id,) in connection.execute(query).fetchall():
                if trial_id not in found.spoiled["trials"]:
                    yield Problem(f"trial {trial_id} has rows and no row in trials", table,
                                  "`kdsweep resume` writes it again, if the journal knows the trial")


def _find_doubled(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Problem]:
    """Rows with the same key. Several of one trial are one problem."""
    key, *rest = tables.KEYS[table]
    names = ", ".join(tables.KEYS[table])
    parts = f"string_agg({rest[0]}::VARCHAR, ', ' ORDER BY {rest[0]})" if rest else "NULL"
    query = f"""
        SELECT {key}, {parts} FROM (SELECT {names} FROM {table} GROUP BY ALL HAVING count(*) > 1)
        GROUP BY {key} ORDER BY {key}
    """
    for value, found in connection.execute(query).fetchall():
        which = f", {rest[0]} {found}," if rest else ""
        yield Problem(f"{key} {value}{which} is there more than once", table,
                      "two files hold it, or one does twice: remove the wrong one")


def _find_misplaced(
    connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path]
) -> Iterator[Problem]:
    """Rows in a file that does not say it holds them: by its name, or in a compacted one's footer."""
    key = tables.KEYS[table][0]
    held = {str(path): frozenset(tables.keys_of(path)) for path in files}
    query = f"SELECT DISTINCT filename, {key} FROM {table} ORDER BY ALL"
    for path, value in connection.execute(query).fetchall():
        if value not in held[path]:
            yield Problem(f"{Path(path).name} holds a row of {key} {value}", table,
                          "a file is named by what it holds: it was renamed, or made by hand")


def _find_wrong_shares(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Problem]:
    key = tables.KEYS[table][0]
    for column in tables.TABLES[table]:
        if column.unit == "fraction":
            query = f"SELECT {key}, {column.name} FROM {table} WHERE {column.name} NOT BETWEEN 0 AND 1 ORDER BY ALL"
            for value, share in connection.execute(query).fetchall():
                yield Problem(f"{column.name} of {value} is {share}", table, "a share is a fraction in [0, 1]")


def _find_gaps(connection: duckdb.DuckDBPyConnection, spoiled: set[str]) -> Iterator[Problem]:
    """Trials whose epochs are not 1 to epochs_done, all of them."""
    query = """
        SELECT trial_id, coalesce(epochs_done, 0) AS done,
            coalesce(list_sort(list(DISTINCT epoch) FILTER (epoch IS NOT NULL)), []) AS found
        FROM (SELECT trial_id, epochs_done FROM trials) LEFT JOIN epochs USING (trial_id)
        GROUP BY ALL HAVING found <> range(1, done + 1) ORDER BY ALL
    """
    for trial_id, done, found in connection.execute(query).fetchall():
        if trial_id not in spoiled:
            numbers = ", ".join(map(str, found)) or "none"
            yield Problem(f"trial {trial_id} has epochs {numbers}, not 1 to {done}", "epochs",
                          "restore its file from a backup: the journal does not hold epochs")


def _find_missing_ancestors(
    connection: duckdb.DuckDBPyConnection, spoiled: Mapping[str, set[str]]
) -> Iterator[Problem]:
    """What trials name and what has no row: their study, teacher or machine."""
    for table, key in _ANCESTORS.items():
        query = f"""
            SELECT {key}, count(*) FROM trials ANTI JOIN {table} USING ({key})
            WHERE {key} IS NOT NULL GROUP BY {key} ORDER BY {key}
        """
        for value, count in connection.execute(query).fetchall():
            if value not in spoiled[table]:
                yield Problem(f"{key} {value} has no row, and {count:,} trials name it", table,
                              "`kdsweep resume` writes it again")
