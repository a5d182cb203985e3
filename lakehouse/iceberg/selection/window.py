"""Whole days of a table: which of them a file holds, and that rows stay inside them.

Which files an effect touches is `plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import DateType, NestedField

from lakehouse.errors import CommitError
from lakehouse.iceberg.schemas.schema import find_column
from lakehouse.tables import TableName, Window

WINDOW_COLUMN = "lakehouse.window-column"
"""The table property that names the column whose days a window is about."""
BUSINESS_DAY = "lakehouse.business-day"
"""The table property that says how loads compute that column, if they do: a JSON list of a column and a time zone."""

_EPOCH = date(1970, 1, 1)
_DAY = timedelta(days=1)


def window_column(name: TableName, metadata: TableMetadata) -> NestedField:
    """The column that windows of a table are about. Raises CommitError when the contract names none."""
    column = metadata.properties.get(WINDOW_COLUMN)
    if column is None:
        raise CommitError(
            f"{name} has no window column, so no window of it can be replaced",
            expected="a `window` in the table's contract",
            remedy="Declare it, or overwrite the whole table.",
        )
    return find_column(metadata.schema(), column)


def inside(
    batches: Iterable[pa.RecordBatch], name: TableName, column: NestedField, window: Window
) -> Iterator[pa.RecordBatch]:
    """The batches, unless a row's day is outside the window or NULL: then CommitError."""
    first, end = (_bound(column, day) for day in (window.start, window.end))
    for batch in batches:
        values = batch.column(column.name)
        good = pc.and_(pc.greater_equal(values, first), pc.less(values, end))
        outside = len(batch) - (pc.sum(good).as_py() or 0)
        if outside:
            span = pc.min_max(values)
            raise CommitError(
                f"{outside} of {len(batch)} rows for {name} lie outside the window that they should replace",
                expected=f"{column.name} in {window}",
                found=f"{span['min'].as_py()} to {span['max'].as_py()}, {values.null_count} NULL",
                remedy="Filter the query by the window. Nothing was written.",
            )
        yield batch


NO_DAY = (date.min, date.min)


def days_of(metadata: TableMetadata, column: NestedField, file: DataFile) -> tuple[date, date] | None:
    """First and last day that a file holds, `NO_DAY` if all its days are NULL; None when that is not known."""
    spec = metadata.specs()[file.spec_id]
    for position, field in enumerate(spec.fields):
        exact = isinstance(field.transform, DayTransform) or (
            isinstance(field.transform, IdentityTransform) and isinstance(column.field_type, DateType)
        )
        if field.source_id == column.field_id and exact:
            value = file.partition[position]
            return NO_DAY if value is None else (_EPOCH + _DAY * value, _EPOCH + _DAY * value)
    key = column.field_id
    if (file.null_value_counts or {}).get(key, 1):
        return None
    low, high = (file.lower_bounds or {}).get(key), (file.upper_bounds or {}).get(key)
    return None if low is None or high is None else (_day(column, low), _day(column, high))


def _day(column: NestedField, bound: bytes) -> date:
    value: Any = from_bytes(column.field_type, bound)  # type: ignore[arg-type]  # days or microseconds, both primitive
    days: int = value if isinstance(column.field_type, DateType) else timedelta(microseconds=value) // _DAY
    return _EPOCH + _DAY * days


def _bound(column: NestedField, day: date) -> pa.Scalar:
    if isinstance(column.field_type, DateType):
        return pa.scalar(day, pa.date32())
    zoned = str(column.field_type) == "timestamptz"
    at: Any = datetime.combine(day, time(), UTC if zoned else None)
    return pa.scalar(at, pa.timestamp("us", tz="UTC" if zoned else None))
