"""Reading one table as Arrow, without DuckDB: batch by batch, pruned and filtered.

SQL over a table is `relation.py`; which snapshot is meant, `at.py`; what changed between two, `changes.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan, FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import QueryError
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.reads.file_reader import FileReader
from lakehouse.iceberg.refs.at import At, snapshot_at
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.iceberg.selection.filter import row_filter
from lakehouse.tables import TableName

_EQUALITY_DELETES = "equality deletes"


@dataclass(frozen=True)
class State:
    """What a reader sees of a table: a snapshot (None: no rows yet), and the columns that its rows are shown with."""

    name: TableName
    table: IcebergTable
    snapshot: Snapshot | None
    schema: Schema

    @property
    def metadata(self) -> TableMetadata:
        """The table's metadata as if `schema` were its current one: PyIceberg's planner and reader know no other."""
        return self.table.metadata.model_copy(update={"current_schema_id": self.schema.schema_id})


def state_at(name: TableName, table: IcebergTable, at: At = MAIN) -> State:
    """The state that `at` means: a branch has the table's columns of now, the past has those of its own time.

    Raises BranchMissing, SnapshotMissing, QueryError.
    """
    metadata = table.metadata
    snapshot = snapshot_at(name, metadata, at)
    ref = metadata.refs.get(at) if isinstance(at, str) else None
    grows = at == MAIN or (ref is not None and ref.snapshot_ref_type is SnapshotRefType.BRANCH)
    return State(name, table, snapshot, metadata.schema() if grows else schema_of(metadata, snapshot))


def schema_of(metadata: TableMetadata, snapshot: Snapshot | None) -> Schema:
    """The schema that a snapshot was written with; the current one where it does not say."""
    known = {schema.schema_id: schema for schema in metadata.schemas}
    return known.get(snapshot.schema_id if snapshot and snapshot.schema_id is not None else -1, metadata.schema())


def read_rows(
    state: State, *, columns: Sequence[str] | None = None, where: str | None = None, limit: int | None = None
) -> pa.RecordBatchReader:
    """The rows of a state that fulfil a filter, in no order, in the columns asked for (default: all).

    Memory holds a few batches of one file: PyIceberg's own reader starts on all files at once. Raises QueryError for
    an unknown column, a wrong filter, and equality deletes; CatalogError also while it is read.
    """
    wanted = projected(state.schema, columns)
    chosen = row_filter(where, state.schema)
    tasks = planned(state, chosen)
    schema = arrow_of(wanted, field_ids=False)
    return pa.RecordBatchReader.from_batches(schema, _limited(read_files(state, tasks, wanted, chosen), limit))


def planned(state: State, chosen: BooleanExpression | None = None) -> list[FileScanTask]:
    """The data files, with their delete files, that may hold chosen rows. Raises QueryError for equality deletes."""
    if state.snapshot is None:
        return []
    scan = DataScan(
        table_metadata=state.metadata,
        io=state.table.io,
        row_filter=AlwaysTrue() if chosen is None else chosen,
        snapshot_id=state.snapshot.snapshot_id,
    )
    with catalog_errors(f"planning to read {state.name}"):
        try:
            return list(scan.plan_files())
        except ValueError as error:
            if _EQUALITY_DELETES not in str(error):
                raise
            raise QueryError(
                f"{state.name} has equality deletes of another program, which only DuckDB applies here",
                found=f"snapshot {state.snapshot.snapshot_id}",
                remedy="Read it with `lakehouse query`, or let that program compact the table.",
            ) from error


def read_files(
    state: State, tasks: Iterable[FileScanTask], wanted: Schema, chosen: BooleanExpression | None = None
) -> Iterator[pa.RecordBatch]:
    """The chosen rows of some files, one file after the other, deletes applied, columns by field id. CatalogError."""
    schema = arrow_of(wanted, field_ids=False)
    reader = FileReader(state.metadata, state.table.io, wanted, AlwaysTrue() if chosen is None else chosen)
    with catalog_errors(f"reading {state.name}"):
        for task in tasks:
            for batch in reader.batches(task):
                yield batch.cast(schema)


def projected(schema: Schema, columns: Sequence[str] | None) -> Schema:
    """The schema with only these columns, in their order. Raises QueryError for an unknown or repeated one."""
    if columns is None:
        return schema
    known = {field.name: field for field in schema.fields}
    if unknown := [name for name in columns if name not in known]:
        raise QueryError(
            f"there is no column {', '.join(unknown)}", expected=f"some of {', '.join(known)}", remedy="Mend the name."
        )
    if len(set(columns)) != len(columns):
        raise QueryError(f"a column is asked for twice: {', '.join(columns)}", remedy="Name each once.")
    return Schema(*(known[name] for name in columns), schema_id=schema.schema_id)


def _limited(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    if limit is None:
        yield from batches
        return
    left = limit
    while left > 0 and (batch := next(batches, None)) is not None:
        yield batch.slice(0, left)
        left -= min(left, batch.num_rows)
