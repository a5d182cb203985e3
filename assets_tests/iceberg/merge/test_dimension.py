"""What the columns of a dimension are for: refused where it cannot be, and surrogate keys."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from lakehouse.errors import CommitError
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.reads.exact import encoded
from lakehouse.iceberg.schemas.schema import arrow_of, iceberg_type
from lakehouse.tables import TableName

NAME = TableName.parse("gold.dim")
KINDS = {
    "code": "string",
    "id": "long",
    "weight": "double",
    "since": "timestamptz",
    "until": "timestamptz",
    "day": "date",
    "now": "boolean",
    "name": "string",
    "size": "long",
}
WELL: dict[str, Any] = {
    "key": ("id",),
    "valid_from": "since",
    "valid_to": "until",
    "current": "now",
    "surrogate": "code",
    "tracked": None,
}


def schema(**kinds: str) -> Schema:
    fields = (
        NestedField(number, name, iceberg_type(kind)) for number, (name, kind) in enumerate(kinds.items(), start=1)
    )
    return Schema(*fields)


def test_what_is_not_named_is_an_attribute() -> None:
    found = Dimension.of(NAME, schema(**KINDS), **WELL)
    assert found.tracked == ("weight", "day", "name", "size")
    assert (found.overwritten, found.retired) == ((), ())
    assert found.brought == ("id", "weight", "since", "day", "name", "size")


def test_attributes_that_are_not_tracked_are_overwritten_and_those_not_brought_are_retired() -> None:
    found = Dimension.of(NAME, schema(**KINDS), **WELL | {"tracked": ["size", "name"], "retired": ["day"]})
    assert (found.tracked, found.overwritten, found.retired) == (("name", "size"), ("weight",), ("day",))
    assert found.brought == ("id", "weight", "since", "name", "size")


def test_a_dimension_may_do_without_flag_and_surrogate_and_may_track_nothing() -> None:
    found = Dimension.of(NAME, schema(**KINDS), **WELL | {"current": None, "surrogate": None, "tracked": ()})
    assert found.tracked == ()
    assert found.overwritten == ("code", "weight", "day", "now", "name", "size")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"key": ()}, "nothing"),
        ({"key": ("nobody",)}, "no column nobody"),
        ({"key": ("weight",)}, "the key weight"),
        ({"key": ("id", "since")}, "since for two things"),
        ({"valid_to": "since"}, "since for two things"),
        ({"valid_to": "day"}, "day of type date"),
        ({"valid_from": "id"}, "id for two things"),
        ({"valid_from": "size", "valid_to": "weight"}, "size of type long"),
        ({"current": "name"}, "name of type string"),
        ({"surrogate": "size"}, "size of type long"),
        ({"tracked": ["nobody"]}, "no column nobody"),
        ({"tracked": ["since"]}, "since among the tracked columns"),
    ],
)
def test_columns_that_cannot_be_what_they_are_said_to_be_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(CommitError) as refused:
        Dimension.of(NAME, schema(**KINDS), **WELL | wrong)
    assert told in str(refused.value)
    assert "Nothing was written" in refused.value.remedy


def hashes(kinds: dict[str, str], *keys: tuple[Any, ...]) -> list[str]:
    """The surrogate keys of versions that hold from the last value on."""
    *key, since = kinds
    of = Dimension.of(
        NAME,
        schema(**kinds, until=kinds[since]),
        key=key,
        valid_from=since,
        valid_to="until",
        current=None,
        surrogate=None,
        tracked=None,
    )
    arrow = arrow_of(schema(**kinds), field_ids=False)
    columns = [pa.array([row[number] for row in keys], field.type) for number, field in enumerate(arrow)]
    versions = encoded(pa.RecordBatch.from_arrays(columns, schema=arrow))
    with duckdb.connect() as duck:
        duck.register("versions", pa.Table.from_batches([versions]))
        return [
            found for (found,) in duck.sql(f"SELECT {of.hashed('versions', of.column(since))} FROM versions").fetchall()
        ]


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NOON_US = 1_767_355_200_000_000


def test_a_surrogate_key_is_that_of_the_macro() -> None:
    """md5(concat_ws('|', key, epoch_us(valid_from))): keys that were given out before stay."""
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        macro = "SELECT md5(concat_ws('|', ?, epoch_us(?::TIMESTAMPTZ)))"
        [(expected,)] = duck.execute(macro, [7, NOON]).fetchall()
    assert hashes({"id": "long", "since": "timestamptz"}, (7, NOON)) == [expected] == [md5(f"7|{NOON_US}")]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("string", "Ada", "Ada"),
        ("string", "a|b\\", "a\\|b\\\\"),
        ("int", -3, "-3"),
        ("boolean", True, "true"),
        ("decimal(9, 2)", Decimal("1.50"), "1.50"),
        ("date", date(1970, 1, 3), "2"),
        ("time", time(0, 0, 1), "1000000"),
        ("timestamp", datetime(1970, 1, 1, 0, 0, 1), "1000000"),  # noqa: DTZ001  (a type without zone)
        ("uuid", uuid.UUID(int=255).bytes, "000000000000000000000000000000ff"),
        ("binary", b"\x00\xff", "00ff"),
    ],
)
def test_each_type_of_key_has_a_text(kind: str, value: object, text: str) -> None:
    assert hashes({"id": kind, "since": "timestamptz"}, (value, NOON)) == [md5(f"{text}|{NOON_US}")]


def test_days_count_as_the_microseconds_of_their_beginning() -> None:
    assert hashes({"id": "long", "since": "date"}, (7, date(2026, 1, 2))) == [md5("7|1767312000000000")]


def test_no_two_keys_have_one_surrogate() -> None:
    kinds = {"a": "string", "b": "string", "since": "timestamptz"}
    found = hashes(kinds, ("x|y", "z", NOON), ("x", "y|z", NOON), ("x\\", "|y|z", NOON), ("x\\|", "y|z", NOON))
    assert len(set(found)) == 4
