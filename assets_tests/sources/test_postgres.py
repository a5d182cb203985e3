"""PostgreSQL: what is read, up to where, and what a person is told when it cannot be read."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from assets_tests.sources.things import AHEAD, BY_TIME, THINGS, ids_of, rows_of
from lakehouse.errors import SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Table


def test_values_of_every_kind_arrive_exactly(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("create type mood as enum ('glad', 'sad')")
    source.execute("create domain cents as numeric(12, 2) check (value >= 0)")
    source.execute("create domain price as cents")
    source.execute(
        """create table kinds (i2 smallint, i8 bigint, money numeric(10, 2), big numeric(30, 4), loose numeric,
           p price, f float8, b bool, t varchar(5), d date, clock time, at timestamptz, naive timestamp,
           u uuid, j jsonb, m mood, a int[], bytes bytea, host inet, "Odd ""Name" text,
           updated_at timestamptz not null)"""
    )
    source.execute(
        """insert into kinds values (-7, 9223372036854775807, -0.05, 12345678901234567890.1234, 1.500, 99.90, 0.1, true,
           'grün', '2024-02-29', '23:59:59.5', '2026-01-01 01:00+02', '2026-01-01 01:00',
           '3e198f8b-0d57-4b71-9537-45945b69fba2', '{"k": [1]}', 'sad', '{1,null}', '\\x00ff', '10.0.0.1', 'x',
           '2026-01-01 00:00Z'),
           (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
           null, null, '2026-01-02 00:00Z')"""
    )
    names = [
        *("i2", "i8", "money", "big", "loose", "p", "f", "b", "t", "d", "clock", "at", "naive"),
        *("u", "j", "m", "a", "bytes", "host", 'Odd "Name'),
    ]
    table = make_table("shop", {"table": "kinds", "watermark": "updated_at"}, dict.fromkeys(names, "string"))
    full, empty = sorted(rows_of(open_source(shop, table).read(None)), key=lambda row: row["i2"] is None)
    assert full == {
        "i2": -7,
        "i8": 9223372036854775807,
        "money": Decimal("-0.05"),
        "big": "12345678901234567890.1234",
        "loose": "1.500",
        "p": Decimal("99.90"),
        "f": 0.1,
        "b": True,
        "t": "grün",
        "d": date(2024, 2, 29),
        "clock": time(23, 59, 59, 500000),
        "at": datetime(2025, 12, 31, 23, 0, tzinfo=UTC),
        "naive": datetime(2026, 1, 1, 1, 0),  # noqa: DTZ001  (a column without time zone)
        "u": "3e198f8b-0d57-4b71-9537-45945b69fba2",
        "j": '{"k": [1]}',
        "m": "sad",
        "a": "[1,null]",
        "bytes": b"\x00\xff",
        "host": "10.0.0.1/32",
        'Odd "Name': "x",
    }
    assert set(empty.values()) == {None}


def test_a_numeric_that_is_not_a_number_reaches_the_door_as_text(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("alter table things add amount numeric(10, 2)")
    source.execute("insert into things (id, amount) values (1, 'NaN'), (2, 2.50)")
    table = make_table("shop", AHEAD, {"id": "long", "amount": "decimal(10, 2)"})
    rows = rows_of(open_source(shop, table).read(None))
    assert {row["id"]: row["amount"] for row in rows} == {1: "NaN", 2: "2.50"}


def test_only_the_columns_of_the_contract_are_read(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id, name) values (1, 'secret')")
    rows = rows_of(open_source(shop, make_table("shop", AHEAD, {"id": "long"})).read(None))
    assert rows == [{"id": 1}]


def test_each_row_is_read_by_one_load_of_a_chain(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("create table clock as select timestamptz '2026-01-01 00:00Z' as now")
    source.execute("create function shop_now() returns timestamptz language sql stable as $$ select now from clock $$")
    table = make_table("shop", {**BY_TIME, "clock": "shop_now()"}, THINGS)
    position, seen = None, []
    for day in range(1, 6):
        # One row on the very edge of the bound, one between: half-open intervals take each once.
        source.execute(
            "insert into things values (%s, '', %s::timestamptz - interval '1 second'),"
            " (%s, '', %s::timestamptz - interval '9 hours')",
            (day * 2, f"2026-01-0{day} 00:00Z", day * 2 + 1, f"2026-01-0{day} 00:00Z"),
        )
        source.execute("update clock set now = %s", (f"2026-01-0{day} 00:00Z",))
        extract = open_source(shop, table).read(position)
        assert extract is not None
        seen.append(ids_of(extract))
        assert extract.expected_rows == len(seen[-1])
        position = extract.reached
    assert seen == [[3], [2, 5], [4, 7], [6, 9], [8, 11]]
    assert position == {"watermark": "2026-01-04T23:59:59.000000+00:00"}
    assert open_source(shop, table).read(position) is None


def test_a_transaction_that_commits_late_is_read_by_the_next_load(
    shop: Settings, source: psycopg.Connection, database: SecretStr, make_table: Callable[..., Table]
) -> None:
    reader = open_source(shop, make_table("shop", AHEAD, THINGS))
    source.execute("insert into things (id) values (1)")
    with psycopg.connect(database.get_secret_value()) as late:
        late.execute("insert into things (id) values (2)")
        # Written and committed while the other transaction is open: a plain clock would now skip past row 2.
        source.execute("insert into things (id) values (3)")
        first = reader.read(None)
        assert ids_of(first) == [1]
        late.commit()
    assert first is not None
    assert ids_of(reader.read(first.reached)) == [2, 3]


def test_the_bound_is_one_second_before_the_clock_when_nothing_is_in_flight(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things values (1, '', '2020-01-01 00:00Z')")
    fixed = {**BY_TIME, "clock": "timestamptz '2026-01-01 12:00Z'"}
    extract = open_source(shop, make_table("shop", fixed, THINGS)).read(None)
    assert extract is not None
    assert extract.reached == {"watermark": "2026-01-01T11:59:59.000000+00:00"}
    assert ids_of(extract) == [1]


def test_a_bound_held_back_below_the_position_reads_nothing(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id) values (1)")
    reader = open_source(shop, make_table("shop", BY_TIME, THINGS))
    assert reader.read({"watermark": "2999-01-01T00:00:00+00:00"}) is None


def test_what_changes_after_the_read_began_is_not_in_it(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id, name) values (1, 'before')")
    extract = open_source(shop, make_table("shop", AHEAD, THINGS)).read(None)
    source.execute("update things set name = 'after'")
    source.execute("insert into things (id) values (2)")
    assert [(row["id"], row["name"]) for row in rows_of(extract)] == [(1, "before")]


def test_rows_without_a_watermark_are_handed_over_as_broken(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("alter table things alter updated_at drop not null")
    source.execute("insert into things values (1, 'lost?', null), (2, 'fine', now())")
    extract = open_source(shop, make_table("shop", AHEAD, THINGS)).read(None)
    assert extract is not None
    assert extract.expected_rows == 2
    broken = [record for chunk in extract.chunks for record in chunk.broken]
    assert [(record.payload, record.source) for record in broken] == [
        (b'{"id":1,"name":"lost?","updated_at":null}', "shop:public.things")
    ]


def test_large_results_come_in_bounded_chunks(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id, name) select g, repeat('x', 200) from generate_series(1, 120000) g")
    extract = open_source(shop, make_table("shop", AHEAD, THINGS)).read(None)
    assert extract is not None
    sizes = [(chunk.rows.num_rows, chunk.rows.nbytes) for chunk in extract.chunks]
    assert sum(rows for rows, _ in sizes) == 120_000
    assert max(size for _, size in sizes) < 16 * 1024 * 1024
    assert len(sizes) > 2


def test_a_connection_lost_while_reading_is_unreachable(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id, name) select g, repeat('x', 500) from generate_series(1, 150000) g")
    extract = open_source(shop, make_table("shop", AHEAD, THINGS)).read(None)
    assert extract is not None
    next(extract.chunks)
    source.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lakehouse'")
    with pytest.raises(SourceUnreachable, match="shop"):
        list(extract.chunks)


def test_an_extract_that_nobody_reads_gives_its_connection_back(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id) values (1)")
    extract = open_source(shop, make_table("shop", AHEAD, THINGS)).read(None)
    count = "select count(*) from pg_stat_activity where application_name = 'lakehouse' and state <> 'idle'"
    open_before = source.execute(count).fetchone()
    del extract
    gc.collect()
    for _ in range(100):
        if source.execute(count).fetchone() == (0,):
            break
        source.execute("select pg_sleep(0.05)")
    assert (open_before, source.execute(count).fetchone()) == ((1,), (0,))


def test_columns_come_from_the_catalogue(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("alter table things add amount numeric(10, 2), drop name")
    found = open_source(shop, make_table("shop", BY_TIME, {"id": "long"})).columns()
    assert [(column.name, column.type, column.nullable) for column in found] == [
        ("id", "bigint", False),
        ("updated_at", "timestamp with time zone", False),
        ("amount", "numeric(10,2)", True),
    ]


def test_decimals_keep_their_type(shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]) -> None:
    source.execute("alter table things add amount numeric(18, 0), add rate numeric(6, 6)")
    source.execute("insert into things (id, amount, rate) values (1, 999999999999999999, -0.000001)")
    table = make_table("shop", AHEAD, {"amount": "decimal(18, 0)", "rate": "decimal(6, 6)"})
    extract = open_source(shop, table).read(None)
    assert extract is not None
    chunk = next(chunk for chunk in extract.chunks if chunk.rows.num_rows)
    assert chunk.rows.schema.field("amount").type == pa.decimal128(18, 0)
    assert chunk.rows.to_pylist() == [{"amount": Decimal(999999999999999999), "rate": Decimal("-0.000001")}]
    extract.chunks.close()  # type: ignore[attr-defined]  # a generator
