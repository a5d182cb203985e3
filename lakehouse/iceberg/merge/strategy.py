"""What a merge makes of the rows that it finds, as its rounds ask for it.

Rounds are `run.py`; the strategies `resolve.py` and those that stand on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import duckdb
import pyarrow as pa
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata

from lakehouse.iceberg.merge.found import Found
from lakehouse.iceberg.merge.remembered import Remembered
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.tables import TableName


@dataclass(frozen=True)
class Round:
    """What one round works with: the table as it was loaded, and in `merge_found` its rows that have a key of ours."""

    cursor: duckdb.DuckDBPyConnection
    name: TableName
    table: IcebergTable
    rules: Rules
    source: Source
    sources: Sources
    found: Found


@dataclass(frozen=True)
class Resolved:
    """What a round does to the table.

    `gone`: a relation (file, position) of the found rows that go. `rows`: the rows that come, in batches of the table's
    schema with field ids; asked once, None where none come. `counts`: for the summary, under `lakehouse.merge`.
    `summary`: further entries, which are worth a snapshot by themselves. `tombstones`: what they were made from.
    """

    gone: str
    rows: Callable[[], Iterator[pa.RecordBatch]] | None
    counts: Mapping[str, int] = field(default_factory=dict)
    summary: Mapping[str, str] = field(default_factory=dict)
    tombstones: Remembered | None = None

    def holds(self, metadata: TableMetadata) -> bool:
        """Whether the deleted keys that this was made from are those of the branch still."""
        return self.tombstones is None or self.tombstones.unchanged(metadata)

    def discard(self) -> None:
        """Remove what was written for the summary and no snapshot names."""
        if self.tombstones is not None:
            self.tombstones.remove()


class Strategy(Protocol):
    """What a merge makes of the rows that it finds. Asked once a round, which makes its temporary tables anew."""

    def resolve(self, now: Round) -> Resolved:
        """What goes and what comes. Raises SchemaMismatch, CatalogError."""
