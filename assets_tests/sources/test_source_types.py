"""Which of a contract's types hold what a source says it has: told by name, and shown with the casts of the door."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.iceberg import arrow_schema
from lakehouse.sources.source_types import holds
from lakehouse.tables import Column

SPELLED = {
    "smallint": "smallint",
    "bigint": "bigint",
    "double precision": "double precision",
    "varchar(20)": "character varying(20)",
    "timestamp(3)": "timestamp(3) without time zone",
    "timestamptz": "timestamp with time zone",
    "timestamptz(0)": "timestamp(0) with time zone",
    "numeric(12, 2)": "numeric(12,2)",
    "time(3)": "time(3) without time zone",
    "text[]": "text[]",
    "jsonb": "jsonb",
}


@pytest.mark.parametrize(
    ("column", "source"),
    [
        ("long", "integer"),
        ("long", "int64"),
        ("double", "integer"),
        ("decimal(19, 0)", "bigint"),
        ("decimal(12, 2)", "numeric(12,2)"),
        ("decimal(14, 3)", "numeric(12,2)"),
        ("int", "numeric(9,0)"),
        ("decimal(12, 2)", "decimal128(12, 2)"),
        ("timestamptz", "timestamp without time zone"),
        ("timestamptz", "timestamp[us, tz=UTC]"),
        ("timestamptz", "timestamp(3) with time zone"),
        ("timestamp", "timestamp[ns]"),
        ("date", "date32[day]"),
        ("time", "time(6) without time zone"),
        ("binary", "bytea"),
        ("uuid", "uuid"),
        ("string", "jsonb"),
        ("string", "numeric(12,2)"),
    ],
)
def test_a_type_holds_every_value_of_the_sources(column: str, source: str) -> None:
    assert holds(column, source)


@pytest.mark.parametrize(
    ("column", "source"),
    [
        ("int", "bigint"),
        ("long", "uint64"),
        ("float", "double precision"),
        ("double", "bigint"),
        ("decimal(18, 0)", "bigint"),
        ("decimal(12, 2)", "numeric(12,3)"),
        ("decimal(12, 2)", "numeric(13,2)"),
        ("long", "numeric(19,0)"),
        ("int", "numeric(9,1)"),
        ("long", "text"),
        ("long", "character varying(20)"),
        ("decimal(12, 2)", "double"),
        ("date", "timestamp[us]"),
        ("boolean", "integer"),
        ("uuid", "text"),
        ("long", "integer[]"),
        ("fixed[16]", "bytea"),
    ],
)
def test_a_type_that_may_not_hold_one_is_said(column: str, source: str) -> None:
    assert not holds(column, source)


@pytest.mark.parametrize("says_nothing", ["string", "numeric", "JSON", "any", "INTEGER", "mood", "interval"])
@pytest.mark.parametrize("column", ["long", "decimal(5, 2)", "date", "uuid"])
def test_names_that_say_nothing_of_values_are_not_compared(column: str, says_nothing: str) -> None:
    assert holds(column, says_nothing)


@pytest.mark.parametrize("kind", ["int", "long", "float", "double", "boolean", "date", "time", "timestamp", "binary"])
def test_arrow_calls_the_lakes_own_types_by_names_that_are_known(kind: str) -> None:
    name = str(arrow_schema([Column("x", kind)]).field("x").type)
    assert holds(kind, name)
    assert not holds("uuid", name)


def test_postgresql_spells_them_so(database: SecretStr) -> None:
    columns = ", ".join(f"c{place} {given}" for place, given in enumerate(SPELLED))
    shown = "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'one'::regclass and attnum > 0"
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(f"create table one ({columns})")
        assert [name for (name,) in connection.execute(f"{shown} order by attnum")] == list(SPELLED.values())


def test_whole_numbers_that_are_said_to_fit_do() -> None:
    largest = {"integer": 2**31 - 1, "bigint": 2**63 - 1, "uint64": 2**64 - 1, "smallint": 2**15 - 1}
    for source, value in largest.items():
        for digits in range(1, 21):
            fits = len(Decimal(value).as_tuple().digits) <= digits
            assert holds(f"decimal({digits}, 0)", source) is fits
    assert [holds("int", f"numeric({digits},0)") for digits in (9, 10)] == [10**9 - 1 < 2**31, 10**10 - 1 < 2**31]
    assert [holds("long", f"numeric({digits},0)") for digits in (18, 19)] == [True, 10**19 - 1 < 2**63]
