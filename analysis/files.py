"""What a file of a table says of itself: its rows, its keys, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis import tables

_VERSION, _TABLE, _KEYS = b"kdsweep.schema_version", b"kdsweep.table", b"kdsweep.keys"


def count_rows(path: Path, table: str) -> int:
    """The rows that the footer tells of. ValueError where it is not the footer of a file of this table."""
    for fault in find_faults(path, table):
        raise ValueError(f"{path}: {fault}\n\nhint: `kdsweep check` lists every such file")
    return pq.read_metadata(path).num_rows


def find_faults(path: Path, table: str) -> Iterator[str]:
    """One sentence, without its subject, for each way in which the footer is not that of a file of this table."""
    try:
        found = pq.read_schema(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        yield f"is not a whole Parquet file: {error}"
        return
    metadata = found.metadata or {}
    if (version := metadata.get(_VERSION, b"").decode()) != str(tables.SCHEMA_VERSION):
        known = f"schema version {version}" if version else "no schema version"
        yield f"is of {known}, not of {tables.SCHEMA_VERSION}"
    if (name := metadata.get(_TABLE, b"").decode()) != table:
        yield f"is of {f'table {name}' if name else 'no table'}, not of {table}"
    if path.name.startswith(tables.COMPACTED) and _KEYS not in metadata:
        yield "is compacted and does not say which keys it holds"
    yield from _compare_columns(found, tables.schema(table))


def find_torn_pages(path: Path) -> Iterator[str]:
    """A sentence where the data cannot be read, or are not what was written: every page has a checksum."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for _ in file.iter_batches(use_threads=False):  # a table has thousands of small files
                pass
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        yield f"cannot be read to its end: {error}"


def _compare_columns(found: pa.Schema, expected: pa.Schema) -> Iterator[str]:
    if missing := [name for name in expected.names if name not in found.names]:
        yield f"lacks {', '.join(missing)}"
    if extra := [name for name in found.names if name not in expected.names]:
        yield f"has {', '.join(extra)}, which version {tables.SCHEMA_VERSION} does not know"
    for field in expected:
        if field.name in found.names and (kind := found.field(field.name).type) != field.type:
            yield f"has {field.name} as {kind}, not {field.type}"
    if not missing and not extra and found.names != expected.names:
        yield "has its columns in another order"
