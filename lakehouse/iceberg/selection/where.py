"""What an effect is about: days of the window column, the rows of a filter, or everything.

A `Selection` answers for rows, and for files and manifests as far as their metadata proves it. Which files of a table
that makes is `plan.py`; how a filter's text is read is `filter.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.expressions.visitors import (
    ROWS_MIGHT_MATCH,
    ROWS_MUST_MATCH,
    _InclusiveMetricsEvaluator,
    _StrictMetricsEvaluator,
    bind,
    expression_evaluator,
    extract_field_ids,
    inclusive_projection,
    manifest_evaluator,
    strict_projection,
)
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import DateType, DoubleType, FloatType, TimestamptzType

from lakehouse.errors import CommitError
from lakehouse.iceberg.selection.filter import row_filter
from lakehouse.iceberg.selection.window import inside, window_column
from lakehouse.tables import TableName, Window

Where: TypeAlias = Window | str | None
"""Days of the window column, an Iceberg filter such as "amount > 10 and status = 'paid'", or everything."""

_Evaluators: TypeAlias = tuple[Callable[[ManifestFile], bool], Callable[[Record], bool], Callable[[Record], bool]]
"""May a manifest, may a partition, must a partition hold selected rows."""


class Selection:
    """The rows of one table that a `Where` means: those for which it is true, neither false nor unknown."""

    def __init__(self, table: TableName, metadata: TableMetadata, where: Where) -> None:
        """Raises QueryError for a filter that is wrong, CommitError for a window of a table that has none."""
        self.table = table
        self.where = where
        self._schema = metadata.schema()
        self._specs = metadata.specs()
        self._expression = _expression(table, metadata, where)
        self._bound = bind(self._schema, self._expression, case_sensitive=True)
        self._fields = [] if self.everything else [self._schema.find_field(of) for of in extract_field_ids(self._bound)]
        # NaN is in no bound and not counted: no bound of such a column proves anything about all rows.
        self._bounded = not any(isinstance(field.field_type, FloatType | DoubleType) for field in self._fields)
        self._strict = _StrictMetricsEvaluator(self._schema, self._expression)
        self._inclusive = _InclusiveMetricsEvaluator(self._schema, self._expression)
        # One evaluator a spec, for as long as this selection is in use.
        self._partitions = lru_cache(maxsize=None)(self._evaluators)

    @property
    def everything(self) -> bool:
        """Whether no row is left out."""
        return isinstance(self._bound, AlwaysTrue)

    @property
    def columns(self) -> Schema:
        """The columns that the rows' answer depends on."""
        return Schema(*self._fields, schema_id=self._schema.schema_id)

    def manifest_may(self, manifest: ManifestFile) -> bool:
        """Whether a manifest may list a file that holds selected rows, as far as its partition summaries tell."""
        return self._partitions(manifest.partition_spec_id)[0](manifest)

    def file_may(self, file: DataFile) -> bool:
        """Whether a file may hold selected rows."""
        return self._partitions(file.spec_id)[1](file.partition) and self._inclusive.eval(file) is ROWS_MIGHT_MATCH

    def file_must(self, file: DataFile) -> bool:
        """Whether all rows of a file are proved to be selected."""
        if self.everything or self._partitions(file.spec_id)[2](file.partition):
            return True
        # PyIceberg takes a column without a count of NULLs for one without NULLs.
        counted = all(field.field_id in (file.null_value_counts or {}) for field in self._fields)
        return self._bounded and counted and self._strict.eval(file) is ROWS_MUST_MATCH

    def count(self, batch: pa.RecordBatch) -> int:
        """How many rows of a batch are selected."""
        return batch.num_rows if self.everything else int(self._filtered(batch, self._arrow).num_rows)

    def without(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that are not selected, in their order."""
        left = self._filtered(batch, ~self._arrow).combine_chunks().to_batches()
        return left[0] if left else batch.slice(0, 0)

    def only(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, unless a row is not selected: then CommitError."""
        if isinstance(self.where, Window):
            yield from inside(batches, self.table, self._fields[0], self.where)
            return
        for batch in batches:
            if outside := len(batch) - self.count(batch):
                raise CommitError(
                    f"{outside} of {len(batch)} rows for {self.table} do not match the filter that they should replace",
                    expected=f"{self.where}",
                    remedy="Filter the query in the same way. Nothing was written.",
                )
            yield batch

    @cached_property
    def _arrow(self) -> pc.Expression:
        return pc.coalesce(expression_to_pyarrow(self._bound, self._schema), pc.scalar(value=False))

    def _filtered(self, batch: pa.RecordBatch, chosen: pc.Expression) -> pa.Table:
        return pa.Table.from_batches([batch]).filter(chosen)

    def _evaluators(self, spec_id: int) -> _Evaluators:
        spec = self._specs[spec_id]
        partitions = Schema(*spec.partition_type(self._schema).fields)
        may = inclusive_projection(self._schema, spec)(self._expression)
        must = strict_projection(self._schema, spec)(self._expression)
        return (
            manifest_evaluator(spec, self._schema, may),
            expression_evaluator(partitions, may, case_sensitive=True),
            expression_evaluator(partitions, must, case_sensitive=True),
        )


def _expression(table: TableName, metadata: TableMetadata, where: Where) -> BooleanExpression:
    if where is None:
        return AlwaysTrue()
    if isinstance(where, Window):
        column = window_column(table, metadata)
        midnight = "" if isinstance(column.field_type, DateType) else "T00:00:00"
        zone = "+00:00" if isinstance(column.field_type, TimestamptzType) else ""
        first, end = (f"{day.isoformat()}{midnight}{zone}" for day in (where.start, where.end))
        day = Reference(column.name)
        return And(GreaterThanOrEqual(term=day, value=literal(first)), LessThan(term=day, value=literal(end)))
    return row_filter(where, metadata.schema())
