"""What a PostgreSQL database says about its tables."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.sources.postgres.catalog import Index, Relation, columns, indexes, primary_key, tables


@pytest.fixture
def source(database: SecretStr) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("create schema sales")
        connection.execute(
            'create table sales."Lines" (line int, "order" bigint, note text, amount numeric(7, 3) not null,'
            ' primary key ("order", line))'
        )
        connection.execute('create unique index by_note on sales."Lines" (note, lower(note)) include (amount)')
        connection.execute("create view notes as select 1 as one")
        yield connection


def test_tables_and_views_without_the_systems_own(source: psycopg.Connection) -> None:
    assert tables(source) == (Relation("public", "notes"), Relation("sales", "Lines"))


def test_partitions_are_part_of_their_table(source: psycopg.Connection) -> None:
    source.execute("create table days (day date) partition by range (day)")
    source.execute("create table days_2026 partition of days for values from ('2026-01-01') to ('2027-01-01')")
    assert [relation.name for relation in tables(source)] == ["days", "notes", "Lines"]


def test_the_primary_key_keeps_its_own_order(source: psycopg.Connection) -> None:
    assert primary_key(source, Relation("sales", "Lines")) == ("order", "line")
    assert primary_key(source, Relation("public", "notes")) == ()


def test_indexes_leave_out_expressions_and_included_columns(source: psycopg.Connection) -> None:
    assert indexes(source, Relation("sales", "Lines")) == (
        Index("Lines_pkey", ("order", "line"), unique=True),
        Index("by_note", ("note",), unique=True),
    )


def test_domains_are_seen_through_to_their_base(source: psycopg.Connection) -> None:
    source.execute("create domain cents as numeric(12, 2) not null")
    source.execute("create domain price as cents")
    source.execute("create table prices (p price, plain numeric, old numeric(3, -2))")
    found = {column.name: column for column in columns(source, Relation("public", "prices"))}
    assert (found["p"].base, found["p"].precision, found["p"].scale, found["p"].nullable) == ("numeric", 12, 2, False)
    assert (found["plain"].precision, found["plain"].scale) == (None, None)
    assert (found["old"].precision, found["old"].scale) == (3, -2)


@pytest.mark.parametrize(
    ("text", "relation"),
    [("orders", Relation("public", "orders")), ("sales.Lines", Relation("sales", "Lines"))],
)
def test_names_are_read_as_contracts_write_them(text: str, relation: Relation) -> None:
    assert Relation.parse(text) == relation


def test_no_such_table_has_no_columns(source: psycopg.Connection) -> None:
    assert columns(source, Relation("sales", "lines")) == ()
