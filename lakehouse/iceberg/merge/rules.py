"""What a merge is asked for, checked against the table and the columns of the rows.

Nothing is read here. Which rows of the table are found is `found.py`, what becomes of them `resolve.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, FloatType, NestedField

from lakehouse.errors import CommitError, SchemaMismatch
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.tables import TableName


class Way(StrEnum):
    """How the rows that a merge replaces leave a data file."""

    COPY_ON_WRITE = "copy-on-write"
    """The file is written anew without them."""
    MERGE_ON_READ = "merge-on-read"
    """A delete file hides them."""


@dataclass(frozen=True)
class Rules:
    """How rows enter by key. All names but `deleted` are columns of the table.

    `columns` are those that the rows bring, key and sequence included, in the table's order; where a row is found, the
    others keep their values.
    """

    key: tuple[str, ...]
    sequence: str | None = None
    deleted: str | None = None
    columns: tuple[str, ...] = ()

    @classmethod
    def of(  # noqa: PLR0913  (what a merge says is named)
        cls,
        name: TableName,
        schema: Schema,
        given: pa.Schema,
        *,
        key: Sequence[str],
        sequence: str | None = None,
        deleted: str | None = None,
    ) -> Self:
        """The rules for rows of the schema `given`.

        Raises CommitError for a key, sequence or marker that cannot be one, SchemaMismatch for rows without a column
        of these, with columns that the table does not have, or with one twice.
        """
        key = (key,) if isinstance(key, str) else tuple(key)
        fields = {field.name: field for field in schema.fields}
        if not key or len(set(key)) != len(key):
            raise _wrong(name, "key", ", ".join(key) or "no column", "one or more columns, each once")
        for column in key:
            _check(name, "key", column, fields)
        if sequence is not None:
            if sequence in key:
                raise _wrong(name, "sequence", f"{sequence}, which is in the key", "a column that tells versions apart")
            _check(name, "sequence", sequence, fields)
        if deleted is not None and deleted in fields:
            raise _wrong(name, "marker of deleted rows", f"{deleted}, a column of the table", "a column of the rows")
        _check_given(name, given, [*key, *filter(None, (sequence, deleted))], {*fields, *filter(None, (deleted,))})
        if deleted is not None and not _is_marker(given.field(deleted).type):
            raise SchemaMismatch(
                f"column {deleted!r}, which tells deleted rows of {name}, is of another type",
                expected="boolean",
                found=str(given.field(deleted).type),
                remedy="Cast it in the query.",
            )
        return cls(key, sequence, deleted, tuple(column for column in fields if column in given.names))

    def fit(self, before: Schema, after: Schema) -> bool:
        """Whether the columns that the rows bring are the same ones in both schemas of a table."""
        then, now = ({field.name: field for field in schema.fields} for schema in (before, after))
        return all(
            column in now
            and now[column].field_id == then[column].field_id
            and now[column].field_type == then[column].field_type
            for column in self.columns
        )

    def lacking(self, schema: Schema) -> tuple[NestedField, ...]:
        """The columns of the table that the rows do not bring, in the table's order."""
        return tuple(field for field in schema.fields if field.name not in self.columns)

    def arriving(self, schema: Schema) -> pa.Schema:
        """What rows are brought to as they arrive: `columns` with field ids, then the marker as boolean.

        Every column may hold NULL: a row that deletes needs its key and sequence only, and about NULL in these more is
        told than which column it is in. What the table requires is asked of the rows that come into it.
        """
        known = arrow_of(schema, field_ids=True)
        fields = [known.field(column).with_nullable(nullable=True) for column in self.columns]
        return pa.schema([*fields, *([pa.field(self.deleted, pa.bool_())] if self.deleted is not None else [])])


def _check(name: TableName, what: str, column: str, fields: dict[str, NestedField]) -> None:
    """A column that rows are told apart or ordered by."""
    if column not in fields:
        raise _wrong(name, what, column, f"some of {', '.join(fields)}")
    kind = fields[column].field_type
    if not kind.is_primitive or isinstance(kind, FloatType | DoubleType):
        # Iceberg spec, "Identifier Field IDs": NaN is not equal to itself, and 0.0 is to -0.0.
        raise _wrong(name, what, f"{column}, of type {kind}", "columns that are neither float, double nor nested")


def _check_given(name: TableName, given: pa.Schema, needed: Sequence[str], known: set[str]) -> None:
    told = (
        ("missing", [column for column in needed if column not in given.names]),
        ("unknown", [column for column in given.names if column not in known]),
        ("twice", sorted({column for column in given.names if given.names.count(column) > 1})),
    )
    if any(columns for _, columns in told):
        raise SchemaMismatch(
            f"the rows cannot be merged into {name}",
            expected=f"{', '.join(needed)}, and others of the table's columns",
            found="; ".join(f"{what} {', '.join(columns)}" for what, columns in told if columns),
            remedy="Mend the query or the contract.",
        )


def _is_marker(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_null(kind))


def _wrong(name: TableName, what: str, found: str, expected: str) -> CommitError:
    return CommitError(
        f"{name} cannot be merged by this {what}",
        expected=expected,
        found=found,
        remedy="Nothing was written. Mend the argument.",
    )
