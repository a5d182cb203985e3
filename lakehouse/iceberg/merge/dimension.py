"""The columns of a slowly changing dimension of type 2: what each is for, checked against the table.

What is made of them is `versions.py`; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    StringType,
    TimestampType,
    TimestamptzType,
    UUIDType,
)

from lakehouse.errors import CommitError
from lakehouse.iceberg.reads.exact import position
from lakehouse.tables import TableName

_MOMENTS = (TimestampType, TimestamptzType, DateType)
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Dimension:
    """What the columns of a table are for, by name. Each column of the table is exactly one of these.

    `tracked` are the attributes whose change makes a new version, `overwritten` the others that rows bring, `retired`
    those that rows do not bring any more.
    """

    schema: Schema
    key: tuple[str, ...]
    valid_from: str
    valid_to: str
    current: str | None
    surrogate: str | None
    tracked: tuple[str, ...]
    overwritten: tuple[str, ...]
    retired: tuple[str, ...] = ()

    @classmethod
    def of(  # noqa: PLR0913  (each says what some columns are for)
        cls,
        name: TableName,
        schema: Schema,
        *,
        key: Sequence[str],
        valid_from: str,
        valid_to: str,
        current: str | None,
        surrogate: str | None,
        tracked: Collection[str] | None,
        retired: Collection[str] = (),
    ) -> Self:
        """The dimension that a table is. Raises CommitError for columns that cannot be what they are said to be."""
        key = (key,) if isinstance(key, str) else tuple(key)
        kinds = {field.name: field.field_type for field in schema.fields}
        named = [*key, *filter(None, (valid_from, valid_to, current, surrogate))]
        if unknown := [column for column in [*named, *(tracked or ())] if column not in kinds]:
            raise _wrong(name, f"no column {', '.join(unknown)}", f"some of {', '.join(kinds)}")
        if twice := sorted({column for column in named if named.count(column) > 1}):
            raise _wrong(name, f"{', '.join(twice)} for two things", "each column for one")
        if wrong := [column for column in key if _is_no_key(kinds[column])] or ([] if key else ["nothing"]):
            raise _wrong(name, f"the key {', '.join(wrong)}", "columns that are neither float, double nor nested")
        moment = kinds[valid_from]
        if not isinstance(moment, _MOMENTS) or kinds[valid_to] != moment:
            found = f"{valid_from} of type {moment} and {valid_to} of type {kinds[valid_to]}"
            raise _wrong(name, found, "a validity of two timestamps, or two dates, of one type")
        if schema.find_field(valid_to).required:
            raise _wrong(name, f"{valid_to}, which is required", "NULL in it for the current version")
        for column, kind in ((current, BooleanType()), (surrogate, StringType())):
            if column is not None and kinds[column] != kind:
                raise _wrong(name, f"{column} of type {kinds[column]}", f"the type {kind}")
        attributes = [column for column in kinds if column not in named]
        chosen = set(attributes) - set(retired) if tracked is None else set(tracked)
        if strangers := sorted(chosen - set(attributes)):
            raise _wrong(name, f"{', '.join(strangers)} among the tracked columns", "attributes")
        brought = [column for column in attributes if column in chosen or column not in retired]
        return cls(
            schema,
            key,
            valid_from,
            valid_to,
            current,
            surrogate,
            tuple(column for column in brought if column in chosen),
            tuple(column for column in brought if column not in chosen),
            tuple(column for column in attributes if column not in brought),
        )

    @property
    def attributes(self) -> tuple[str, ...]:
        """What rows say about a key."""
        return (*self.tracked, *self.overwritten)

    @property
    def brought(self) -> tuple[str, ...]:
        """The columns that rows bring, in the table's order; `valid_from` is the moment of their change."""
        known = {*self.key, self.valid_from, *self.attributes}
        return tuple(field.name for field in self.schema.fields if field.name in known)

    def column(self, name: str) -> str:
        """What a column of the table is called in relations of encoded rows (`reads/exact.py`)."""
        return position([field.name for field in self.schema.fields].index(name))

    def columns(self, names: Sequence[str]) -> list[str]:
        """The same for several."""
        return [self.column(name) for name in names]

    def hashed(self, relation: str, since: str) -> str:
        r"""SQL of the surrogate key of a version: of a relation with the key, and its first moment in column `since`.

        The MD5, as hexadecimal text, of the key columns and the microseconds of that moment since 1970, joined by "|".
        Dates and times count as they are encoded, binaries and UUIDs as hexadecimal text; in texts "\" and "|" have
        a "\" before them, so that two keys never become the same text.
        """
        parts = [_text(f"{relation}.{self.column(name)}", self.schema.find_type(name)) for name in self.key]
        days = isinstance(self.schema.find_type(self.valid_from), DateType)
        parts.append(f"{relation}.{since}::BIGINT * {_DAY_US if days else 1}")
        return f"md5(concat_ws('|', {', '.join(parts)}))"


def _is_no_key(kind: IcebergType) -> bool:
    # Iceberg spec, "Identifier Field IDs": NaN is not equal to itself, and 0.0 is to -0.0.
    return not kind.is_primitive or isinstance(kind, FloatType | DoubleType)


def _text(column: str, kind: IcebergType) -> str:
    if isinstance(kind, StringType):
        return rf"replace(replace({column}, '\', '\\'), '|', '\|')"
    if isinstance(kind, BinaryType | FixedType | UUIDType):
        return f"lower(hex({column}))"
    return column


def _wrong(name: TableName, found: str, expected: str) -> CommitError:
    return CommitError(
        f"{name} cannot hold a history as it is described",
        expected=expected,
        found=found,
        remedy="Nothing was written. Mend the arguments or the contract.",
    )
