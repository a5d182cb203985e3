"""The changes that a history is told: brought to the table's columns, checked, and kept in order of arrival.

What versions follow from them is `versions.py`. Changes between snapshots of a table are `reads/changes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import CommitError, SchemaMismatch
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.merge.versions import CHANGES
from lakehouse.iceberg.parquet.conform import Rows, conformed
from lakehouse.iceberg.reads.exact import decoded, encoded
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.tables import TableName

_ARRIVED = "lakehouse_arrived"
_BATCH_ROWS = 65_536
_TOLD_ROWS = 5
_DELETED = "lakehouse_deleted"
"""The marker of changes that have none: no key is deleted."""


class Changes:
    """Changes in the temporary table `history_changes` of a cursor, encoded, numbered as they arrived.

    `effective` is the column of the rows that says when a change took place, `deleted` the one that says whether the
    key is not there from then on (NULL: it is). Raises SchemaMismatch for columns, types and values that do not fit,
    for NULL in the key or in `effective`, and for NULL in a required column of a row that does not delete; CommitError
    for a marker that is a column of the table.
    """

    def __init__(  # noqa: PLR0913  (what is told, and what about)
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: TableName,
        of: Dimension,
        rows: Rows,
        *,
        effective: str,
        deleted: str | None,
    ) -> None:
        if deleted is not None and deleted in {field.name for field in of.schema.fields}:
            raise CommitError(
                f"{name} cannot have a history with the marker {deleted}, a column of the table",
                expected="a column of the rows alone",
                remedy="Nothing was written. Mend the argument.",
            )
        self._cursor, self._name, self._of, self._effective = cursor, name, of, effective
        self._schema = arrow_of(of.schema, field_ids=False)
        marker = _DELETED if deleted is None else deleted
        brought = [self._schema.field(column).with_nullable(nullable=True) for column in of.brought]
        arriving = pa.schema([*brought, pa.field(marker, pa.bool_())])
        self.rows = 0
        self._take(pa.RecordBatch.from_pylist([], schema=arriving), "CREATE OR REPLACE TEMP TABLE {} AS")
        may_lack = [marker] if deleted is None else []
        for batch in conformed(_named(rows, of, effective), arriving, may_lack=may_lack):
            self._take(batch, "INSERT INTO {}")

    def keys(self) -> pa.RecordBatchReader:
        """The keys that they are about, each once."""
        schema = pa.schema([self._schema.field(column) for column in self._of.key])
        listed = ", ".join(self._of.columns(self._of.key))
        rows = self._cursor.execute(f"SELECT DISTINCT {listed} FROM {CHANGES}").to_arrow_table()
        return pa.RecordBatchReader.from_batches(
            schema, (decoded(batch.columns, schema) for batch in rows.to_batches(_BATCH_ROWS))
        )

    def _take(self, batch: pa.RecordBatch, statement: str) -> None:
        """Put a batch into the table. The marker is its last column."""
        told, deleted = batch.select(self._of.brought), pc.fill_null(batch.columns[-1], False)
        self._refuse_null(told, deleted)
        numbers = pa.array(np.arange(self.rows, self.rows + batch.num_rows))
        names = ["row", "deleted", *self._of.columns(self._of.brought)]
        lines = pa.Table.from_arrays([numbers, deleted, *encoded(told).columns], names=names)
        self._cursor.register(_ARRIVED, lines)
        try:
            self._cursor.execute(f"{statement.format(CHANGES)} FROM {_ARRIVED}")
        finally:
            self._cursor.unregister(_ARRIVED)
        self.rows += batch.num_rows

    def _refuse_null(self, told: pa.RecordBatch, deleted: pa.Array) -> None:
        always = {*self._of.key, self._of.valid_from}
        found = []
        for name in told.schema.names:
            if name not in always and self._schema.field(name).nullable:
                continue
            empty = pc.is_null(told.column(name))
            empty = empty if name in always else pc.and_not(empty, deleted)
            if numbers := np.flatnonzero(empty.to_numpy(zero_copy_only=False)).tolist():
                shown = ", ".join(str(self.rows + number) for number in numbers[:_TOLD_ROWS])
                column = self._effective if name == self._of.valid_from else name
                found.append(f"{len(numbers)} NULL in {column}, in rows {shown}")
        if found:
            raise SchemaMismatch(
                f"changes of {self._name} hold NULL where they must not",
                expected="a key and a moment in every row, and the required columns in those that do not delete",
                found=f"{'; '.join(found)} (counted from 0)",
                remedy="Filter or fill these rows, or declare the column as not required.",
            )


def _named(rows: Rows, of: Dimension, effective: str) -> Rows:
    """The rows with the moment of the change in the column where a version's validity begins."""
    given = rows.schema
    if effective == of.valid_from or effective not in given.names:
        return rows
    moment, kept = given.get_field_index(effective), effective in {*of.key, *of.attributes}
    names = [of.valid_from if name == effective and not kept else name for name in given.names]
    fields = [given.field(number).with_name(name) for number, name in enumerate(names)]
    if kept:
        fields.append(given.field(moment).with_name(of.valid_from))
    schema = pa.schema(fields)

    def renamed() -> Iterator[pa.RecordBatch]:
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
            columns = [*batch.columns, *([batch.column(moment)] if kept else [])]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, renamed())
