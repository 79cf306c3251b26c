"""A DuckDB that answers SELECTs over a study's files and can do nothing else, whatever it is asked.

Two walls. `find_tables` reads the statement as DuckDB's own parser sees it and lets through what it knows to only
read: a list of what is allowed, since DuckDB's sandbox is not read-only (COPY, as a statement or inside WITH, writes
to any file that may be read). `expose` then locks the connection onto the listed files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import duckdb

from analysis.columns import KEYS, TABLES
from analysis.quoting import quote_list

Result = TypeVar("Result")

_SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "map": "MAP(VARCHAR, DOUBLE)",
}

# Two studies may have used one teacher or one machine: each is one row, lest a join double the trials.
_SHARED = {"teachers": "teacher_id", "environments": "environment_id"}

# Parts of a query, in DuckDB's words. WITH may also hold COPY_QUERY_NODE, INSERT_QUERY_NODE and others that write.
_READING = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}

# Functions in FROM that make rows of their arguments; all others read files, settings or SQL hidden in a string.
_HARMLESS = {"unnest", "range", "generate_series", "json_each", "json_tree"}


def find_tables(connection: duckdb.DuckDBPyConnection, queries: Iterable[str]) -> set[str]:
    """The study's tables that the queries name. ValueError if one is not one SELECT, or may do more than read them."""
    nodes = [node for query in queries for node in _walk(_parse(connection, query))]
    for node in nodes:
        kind = node.get("type")
        if "cte_map" in node and kind not in _READING:
            raise ValueError(_refuse(f"{str(kind).partition('_')[0]} inside a query is not allowed"))
        if kind == "TABLE_FUNCTION" and (name := node["function"]["function_name"]) not in _HARMLESS:
            raise ValueError(_refuse(f"function {name} in FROM is not allowed"))
    if any(node.get("type") == "SHOW_REF" for node in nodes):   # SHOW TABLES names none
        return set(TABLES)
    return {node["table_name"].lower() for node in nodes if node.get("type") == "BASE_TABLE"} & TABLES.keys()


def expose(
    connection: duckdb.DuckDBPyConnection,
    files: Mapping[str, Sequence[str]],
    *,
    reads: Mapping[str, Collection[str]],
    hold: Collection[str] = (),
    mixed: bool = False,
) -> None:
    """Makes the tables of `files` known and locks the connection: from then on it can read these files at most.

    reads: table -> the only columns that it has; all where it is not named. hold: those of the tables in `reads` that
    are read into memory now, so that their files are out of reach. mixed: see `_select`.
    """
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET temp_directory = ''")               # a large query leaves no file behind
    connection.execute("SET enable_progress_bar = false")       # it would go to stdout, where the data go
    connection.execute("SET python_enable_replacements = false")
    for table in hold:
        select = _select(table, files[table], columns={*reads[table], *KEYS[table]}, mixed=mixed)
        # in the order of the files, DuckDB stores one row per file and takes twice as long (2,000 files)
        connection.execute(f"CREATE TABLE {table} AS {select} ORDER BY {', '.join(KEYS[table])}")
    shown = {table: paths for table, paths in files.items() if table not in hold}
    connection.execute(f"SET allowed_paths = {quote_list(path for paths in shown.values() for path in paths)}")
    connection.execute("SET enable_external_access = false")    # no other file, no network, no Python variable
    connection.execute("SET lock_configuration = true")
    for table, paths in shown.items():
        select = _select(table, paths, columns=reads.get(table), mixed=mixed)
        connection.execute(f"CREATE VIEW {table} AS {select}")


def interruptible(work: Callable[..., Result], connection: duckdb.DuckDBPyConnection, *arguments: Any) -> Result:
    """work(connection, *arguments), which Ctrl-C stops at once: by itself DuckDB runs some endless queries on."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        working = pool.submit(work, connection, *arguments)
        try:
            return working.result()
        except KeyboardInterrupt:
            while not working.done():       # a query that begins only now forgets that it was interrupted
                connection.interrupt()
                wait([working], timeout=0.1)
            raise


def _parse(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """The one statement as a tree. ValueError if it is none, or no SELECT."""
    try:
        found = json.loads(connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()[0])
    except (RecursionError, duckdb.Error) as error:
        raise ValueError(_refuse(f"the query cannot be understood ({error})")) from error
    if found["error"] and found["error_type"] != "not implemented":     # said of whatever is no SELECT
        raise ValueError(_refuse(found["error_message"]))
    if found["error"] or len(found["statements"]) != 1:
        raise ValueError(_refuse("exactly one SELECT is allowed"))
    return found["statements"][0]


def _walk(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in the tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _refuse(why: str) -> str:
    return f"sql: {why}\n\nhint: one SELECT over {', '.join(TABLES)}; copy the Parquet files to change them"


def _select(table: str, files: Sequence[str], *, columns: Collection[str] | None, mixed: bool) -> str:
    """The columns, or all, with their types, over exactly these files; no rows where there are none.

    mixed: whether files may lack columns that the version which wrote them did not know; they are null then. That is
    twice as slow, since DuckDB looks into no file before and knows of no sizes. Otherwise the first file must have
    all columns, and another that lacks one is an error where it is read. `union_by_name` is no third way: it opens
    every file twice, and one may have been replaced by then.
    """
    types = {c.name: _SQL_TYPES[c.type] for c in TABLES[table] if columns is None or c.name in columns}
    if not files:
        return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in types.items())} WHERE false"
    schema = ", ".join(f"'{name}': {{name: '{name}', type: '{kind}', default_value: NULL}}"
                       for name, kind in types.items())
    source = f"read_parquet({quote_list(files)}{f', schema = MAP {{{schema}}}' if mixed else ''})"
    once = f"DISTINCT ON ({_SHARED[table]})" if table in _SHARED else ""
    return f"SELECT {once} {', '.join(types)} FROM {source}"
