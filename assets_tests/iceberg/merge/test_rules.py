"""What a merge may be asked for: keys, sequences and markers that can be none are refused before anything is read."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    ListType,
    LongType,
    NestedField,
    StringType,
)

from lakehouse.errors import CommitError, SchemaMismatch
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.tables import Layer, TableName

NAME = TableName(Layer.SILVER, "orders")
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "day", DateType()),
    NestedField(3, "name", StringType(), required=True),
    NestedField(4, "ratio", DoubleType()),
    NestedField(5, "half", FloatType()),
    NestedField(6, "tags", ListType(7, StringType())),
    NestedField(8, "version", LongType()),
    NestedField(9, "open", BooleanType()),
)
WHOLE = pa.schema([("id", pa.int64()), ("day", pa.date32()), ("name", pa.string()), ("version", pa.int64())])


def test_columns_are_those_that_came_in_the_order_of_the_table() -> None:
    given = pa.schema([("version", pa.int64()), ("gone", pa.bool_()), ("id", pa.int32()), ("name", pa.string())])
    rules = Rules.of(NAME, SCHEMA, given, key=["id"], sequence="version", deleted="gone")
    assert rules == Rules(("id",), "version", "gone", ("id", "name", "version"))
    assert [field.name for field in rules.lacking(SCHEMA)] == ["day", "ratio", "half", "tags", "open"]


def test_rows_arrive_with_field_ids_and_may_hold_null_everywhere() -> None:
    """A row that deletes needs its key only; what the table requires is asked of rows that come into it."""
    given = pa.schema([("gone", pa.bool_()), *WHOLE])
    arriving = Rules.of(NAME, SCHEMA, given, key=["id"], deleted="gone").arriving(SCHEMA)
    assert arriving.names == ["id", "day", "name", "version", "gone"]
    assert all(field.nullable for field in arriving)
    assert [field.metadata and field.metadata[b"PARQUET:field_id"] for field in arriving] == [
        b"1", b"2", b"3", b"8", None,
    ]  # fmt: skip


def test_one_column_may_be_named_alone() -> None:
    assert Rules.of(NAME, SCHEMA, WHOLE, key="id").key == ("id",)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ([], "no column"),
        (["id", "id"], "each once"),
        (["number"], "number"),
        (["ratio"], "of type double"),
        (["id", "half"], "of type float"),
        (["tags"], "neither float, double nor nested"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused(key: list[str], said: str) -> None:
    """NaN is not itself and 0.0 is -0.0: the Iceberg spec allows no float among identifier fields."""
    with pytest.raises(CommitError, match="cannot be merged by this key") as refused:
        Rules.of(NAME, SCHEMA, WHOLE, key=key)
    assert said in str(refused.value)


@pytest.mark.parametrize(("sequence", "said"), [("id", "in the key"), ("ratio", "double"), ("at", "found at")])
def test_a_sequence_that_cannot_be_one_is_refused(sequence: str, said: str) -> None:
    with pytest.raises(CommitError, match="by this sequence") as refused:
        Rules.of(NAME, SCHEMA, WHOLE, key=["id"], sequence=sequence)
    assert said in str(refused.value)


def test_the_marker_is_no_column_of_the_table() -> None:
    with pytest.raises(CommitError, match=r"marker of deleted rows.*open"):
        Rules.of(NAME, SCHEMA, WHOLE, key=["id"], deleted="open")


def test_the_marker_is_boolean_or_null_throughout() -> None:
    with pytest.raises(SchemaMismatch, match=r"'gone'.*int8"):
        Rules.of(NAME, SCHEMA, WHOLE.append(pa.field("gone", pa.int8())), key=["id"], deleted="gone")
    assert Rules.of(NAME, SCHEMA, WHOLE.append(pa.field("gone", pa.null())), key=["id"], deleted="gone").deleted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pa.schema([("day", pa.date32())]), "missing id, version, gone"),
        (WHOLE, "missing gone"),
        (WHOLE.append(pa.field("gone", pa.bool_())).append(pa.field("colour", pa.string())), "unknown colour"),
        (WHOLE.append(pa.field("gone", pa.bool_())).append(pa.field("day", pa.date32())), "twice day"),
    ],
)
def test_rows_without_their_columns_are_refused(given: pa.Schema, said: str) -> None:
    with pytest.raises(SchemaMismatch, match=said):
        Rules.of(NAME, SCHEMA, given, key=["id"], sequence="version", deleted="gone")


def test_rules_fit_a_table_that_grew_but_not_one_whose_columns_are_others() -> None:
    rules = Rules.of(NAME, SCHEMA, WHOLE, key=["id"])
    assert rules.fit(SCHEMA, Schema(*SCHEMA.fields[::-1], NestedField(20, "new", LongType())))
    renamed = NestedField(2, "date", DateType())
    again = NestedField(30, "day", DateType())
    other = NestedField(2, "day", StringType())
    for day in (renamed, again, other):
        assert not rules.fit(SCHEMA, Schema(*(day if field.name == "day" else field for field in SCHEMA.fields)))
