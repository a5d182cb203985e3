"""PostgreSQL: by xmin, in full, in parts, with a lag, by days; what of it is asked for, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from assets_tests.sources.things import AHEAD, BY_TIME, THINGS, ids_of, rows_of
from lakehouse.errors import ContractError, SourceChanged, SourceError
from lakehouse.settings import Settings
from lakehouse.sources import Extract, open_source
from lakehouse.sources.postgres.bound import Bound
from lakehouse.sources.postgres.connection import Address
from lakehouse.sources.postgres.snapshot import Snapshot
from lakehouse.sources.reader import RangeReader
from lakehouse.tables import Table, Window

MakeTable = Callable[..., Table]
BY_XMIN = {"table": "public.things", "watermark": "xmin"}
IN_FULL = {"table": "public.things", "watermark": "full"}
WRAP = 2**32


def reached(extract: Extract | None) -> dict[str, object]:
    assert extract is not None
    list(extract.chunks)
    return extract.reached


def test_by_xmin_a_transaction_that_commits_late_is_read_by_the_next_load(
    shop: Settings, source: psycopg.Connection, database: SecretStr, make_table: MakeTable
) -> None:
    reader = open_source(shop, make_table("shop", BY_XMIN, THINGS))
    source.execute("insert into things (id) values (1)")
    with psycopg.connect(database.get_secret_value()) as late:
        late.execute("insert into things (id) values (2)")
        # In a subtransaction, whose number is in no snapshot.
        with late.transaction():
            late.execute("insert into things (id) values (3)")
        source.execute("insert into things (id) values (4)")
        first = reader.read(None)
        assert ids_of(first) == [1, 4]
        assert first is not None
        # Nothing that was in flight has ended: nothing can be new.
        assert not reader.pending(first.reached)
        source.execute("insert into things (id) values (5)")
        second = reader.read(first.reached)
        assert ids_of(second) == [5]
        late.commit()
    assert second is not None
    assert reader.pending(second.reached)
    third = reader.read(second.reached)
    # Those that were read before are handed over again, under the version by which they are known.
    assert {2, 3} <= set(ids_of(third))
    assert third is not None
    assert third.compare is not None
    assert not reader.pending(third.reached)


def test_the_very_next_transaction_is_read(shop: Settings, source: psycopg.Connection, make_table: MakeTable) -> None:
    reader = open_source(shop, make_table("shop", BY_XMIN, THINGS))
    source.execute("insert into things (id) values (1)")
    position = reached(reader.read(None))
    source.execute("update things set updated_at = '2000-01-01'")
    assert ids_of(reader.read(position)) == [1]


def test_versions_tell_transactions_apart_and_whose_they_are(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    reader = open_source(shop, make_table("shop", BY_XMIN, THINGS))
    source.execute("insert into things (id) values (1), (2)")
    source.execute("update things set name = 'new' where id = 2")
    extract = reader.read(None)
    first, second = sorted(rows_of(extract), key=lambda row: str(row["id"]))
    xids = source.execute("select xmin::text::bigint from things order by id").fetchall()
    assert [int(str(row["_source_version"])[:16], 16) for row in (first, second)] == [xid for (xid,) in xids]
    assert str(first["_source_version"])[16:] == str(second["_source_version"])[16:]


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_by_xmin_another_database_or_table_is_refused_with_the_remedy(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable, part: int
) -> None:
    reader = open_source(shop, make_table("shop", BY_XMIN, THINGS))
    source.execute("insert into things (id) values (1)")
    position = reached(reader.read(None))
    parts = str(position["identity"]).split("/")
    parts[part] += "9"
    with pytest.raises(SourceChanged, match=r"not the table that bronze\.things was loaded from.*--full"):
        reader.read({**position, "identity": "/".join(parts), "snapshot": "1:1:"})


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("create view others as select * from things", "a view"),
        ("create materialized view others as select * from things", "a materialized view"),
        ("create table others (like things) partition by range (id)", "a partitioned table"),
        ("create table others (like things); create table child () inherits (others)", "that others inherit from"),
    ],
)
def test_by_xmin_only_plain_tables_are_read(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable, made: str, kind: str
) -> None:
    source.execute(made.encode())
    reader = open_source(shop, make_table("shop", {**BY_XMIN, "table": "others"}, THINGS))
    with pytest.raises(SourceChanged, match=f"cannot be read by xmin.*found.*{kind}"):
        reader.read(None)


@pytest.mark.parametrize("options", [BY_XMIN, IN_FULL, {**BY_TIME, "lag": 60}])
def test_what_needs_a_key_says_so(shop: Settings, make_table: MakeTable, options: dict[str, object]) -> None:
    with pytest.raises(ContractError, match=r"things\.yaml.*primary key"):
        open_source(shop, make_table("shop", options, {"name": "string"}))


@pytest.mark.parametrize("options", [BY_XMIN, IN_FULL])
def test_the_position_of_another_way_is_no_position(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable, options: dict[str, object]
) -> None:
    source.execute("insert into things (id) values (1)")
    reader = open_source(shop, make_table("shop", options, THINGS))
    assert not isinstance(reader, RangeReader)
    if options == IN_FULL:
        # Whatever was known before, all is read and compared.
        assert ids_of(reader.read({"watermark": "2026-01-01"})) == [1]
    else:
        with pytest.raises(SourceError, match="not one of a snapshot"):
            reader.read({"watermark": "2026-01-01"})


@given(
    written=st.integers(3, 3 * WRAP),
    later=st.integers(1, 2 * WRAP),
    before=st.integers(0, 2**31),
    running=st.lists(st.integers(1, 1000), max_size=4),
)
def test_a_widened_number_is_never_too_small_and_keeps_its_low_bits(
    written: int, later: int, before: int, running: list[int]
) -> None:
    # What the SQL computes, on the number that a tuple keeps of a transaction.
    now = Snapshot.parse(f"{written + later}:{written + later}:")
    sql = now.widened.replace("xmin::text::bigint", str(written % WRAP))
    widened = eval(sql, {})  # noqa: S307  (integers)
    assert widened >= written
    assert widened % WRAP == written % WRAP
    assert now.wrapped or widened == written
    if later < WRAP:
        assert widened == written
    # A transaction that an earlier snapshot did not see is not below the floor.
    xmax = max(1, written - before)
    earlier = Snapshot.parse(f"1:{xmax}:{','.join(str(one) for one in sorted(set(running)) if one < xmax)}")
    unseen = written >= xmax or written in earlier.running
    assert not unseen or written >= now.floor_since(earlier)


def test_in_full_nothing_is_read_while_nothing_changed(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    reader = open_source(shop, make_table("shop", IN_FULL, THINGS))
    # Whoever asks for all of it is answered, for bronze may hold what is gone.
    assert not reader.pending(None)
    nothing = reader.read(None)
    assert ids_of(nothing) == []
    assert reader.read(reached(nothing)) is None
    source.execute("insert into things (id, name) values (1, 'a'), (2, 'b')")
    first = reached(reader.read(None))
    assert not reader.pending(first)
    assert reader.read(first) is None
    source.execute("update things set name = case name when 'a' then 'b' else 'a' end")
    assert reader.pending(first)
    second = reached(reader.read(first))
    source.execute("update things set name = case name when 'a' then 'b' else 'a' end")
    third = reached(reader.read(second))
    # There and back: the content is what it was, the load is another.
    assert first["digest"] == third["digest"]
    assert first != third
    source.execute("delete from things")
    assert ids_of(reader.read(third)) == []


def test_a_large_table_is_read_in_parts_and_what_moves_by_the_next_increment(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    source.execute("alter table things add filler text default repeat('x', 1500)")
    source.execute("insert into things (id) select generate_series(1, 40)")
    reader = open_source(shop, make_table("shop", {**BY_XMIN, "chunk_mb": 0.02}, THINGS))
    extract, seen = reader.read(None), list[object]()
    assert extract is not None
    snapshot, parts = extract.reached["snapshot"], 0
    while extract is not None and extract.more:
        assert extract.reached["snapshot"] == snapshot
        part = ids_of(extract)
        assert extract.expected_rows == len(part)
        assert reader.pending(extract.reached)
        seen += part
        # It goes to the table's end, where a later part meets it.
        source.execute("update things set name = 'moved' where id = 2")
        extract, parts = reader.read(extract.reached), parts + 1
    assert extract is not None
    seen += ids_of(extract)
    assert parts > 2
    assert set(seen) == set(range(1, 41))
    assert "first" not in extract.reached
    assert ids_of(reader.read(extract.reached)) == [2]


def test_a_table_written_anew_while_it_is_read_in_parts_is_refused(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    source.execute("insert into things (id, name) select g, repeat('x', 1500) from generate_series(1, 40) g")
    reader = open_source(shop, make_table("shop", {**AHEAD, "chunk_mb": 0.02}, THINGS))
    position = reached(reader.read(None))
    source.execute("vacuum full things")
    with pytest.raises(SourceChanged, match=r"written anew.*--full"):
        reader.read(position)


def test_days_are_read_again_by_their_watermark(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    source.execute(
        "insert into things (id, updated_at) values (1, '2026-01-01 23:59:59.999999Z'), (2, '2026-01-02 00:00Z'),"
        " (3, '2026-01-03 23:00Z'), (4, '2026-01-04 00:00Z'), (5, '2026-01-05 00:00Z')"
    )
    fixed = {**BY_TIME, "clock": "timestamptz '2026-01-04 12:00Z'"}
    reader = open_source(shop, make_table("shop", fixed, THINGS))
    assert isinstance(reader, RangeReader)
    assert ids_of(reader.between(Window(date(2026, 1, 2), date(2026, 1, 4)))) == [2, 3]
    # Up to the bound only: what comes after it is for loads.
    assert ids_of(reader.between(Window(date(2026, 1, 4), date(2026, 1, 9)))) == [4]
    assert reader.between(Window(date(2025, 1, 1), date(2025, 1, 2))) is None


def test_a_lag_is_read_again_as_far_as_bronze_has_versions(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    source.execute("insert into things (id, updated_at) values (1, '2026-01-01 10:00Z'), (2, '2026-01-01 10:50Z')")

    def reader(hour: int, **options: object) -> object:
        clock = {"clock": f"timestamptz '2026-01-01 {hour}:00:01Z'"}
        return open_source(shop, make_table("shop", {**BY_TIME, **clock, **options}, THINGS))

    first = reached(reader(11, lag=3600).read(None))  # type: ignore[attr-defined]
    source.execute("insert into things (id, updated_at) values (3, '2026-01-01 10:05Z')")
    second = reader(12, lag=3600).read(first)  # type: ignore[attr-defined]
    assert ids_of(second) == [1, 2, 3]
    assert second.compare is not None
    # Rows that were loaded without one have no version to know them by.
    plain = reached(reader(11).read(None))  # type: ignore[attr-defined]
    assert reader(12, lag=3600).read(plain) is None  # type: ignore[attr-defined]


def test_columns_that_the_contract_does_not_name_come_as_json_unless_ignored_or_forbidden(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    source.execute("alter table things add colour text default 'red', add data jsonb default '{\"a\": [1]}'")
    source.execute("insert into things (id, updated_at) values (1, '2026-01-01 00:00Z')")

    def extra(columns: dict[str, str], **options: object) -> list[object]:
        extract = open_source(shop, make_table("shop", {**AHEAD, **options}, columns)).read(None)
        assert extract is not None
        return [value for chunk in extract.chunks if chunk.extra is not None for value in chunk.extra.to_pylist()]

    assert extra(THINGS) == ['{"colour":"red","data":{"a": [1]}}']
    assert extra(THINGS, ignore=["data"]) == ['{"colour":"red"}']
    assert extra({**THINGS, "colour": "string", "data": "string"}) == []
    assert extra(THINGS, ignore=["data", "colour"]) == []


def test_domains_over_enums_arrays_and_composites(
    shop: Settings, source: psycopg.Connection, make_table: MakeTable
) -> None:
    source.execute("create type mood as enum ('glad', 'sad')")
    source.execute("create domain today as mood")
    source.execute("create domain tags as text[]")
    source.execute("create type place as (x int, y numeric(4, 1))")
    source.execute("alter table things add m today, add t tags, add p place, add big numeric(19, 2), add i interval")
    source.execute("insert into things (id, m, t, p, big, i) values (1, 'sad', '{a,b}', (1, 2.5), 12345.67, '1 day')")
    names = dict.fromkeys(("m", "t", "p", "big", "i"), "string")
    (row,) = rows_of(open_source(shop, make_table("shop", AHEAD, names)).read(None))
    assert row == {"m": "sad", "t": '["a","b"]', "p": '{"x":1,"y":2.5}', "big": "12345.67", "i": "1 day"}


def test_how_far_a_transaction_holds_the_bound_back_is_told(
    shop: Settings, source: psycopg.Connection, database: SecretStr, make_table: MakeTable
) -> None:
    source.execute("insert into things (id) values (1)")
    with psycopg.connect(database.get_secret_value()) as late:
        late.execute("insert into things (id) values (2)")
        extract = open_source(shop, make_table("shop", AHEAD, THINGS)).read(None)
    assert extract is not None
    assert extract.held_back is not None
    assert timedelta(minutes=59) < extract.held_back < timedelta(minutes=61)
    address = Address("shop", "db", "shop", "", None)
    for held, warned in ((timedelta(minutes=14), 0), (timedelta(minutes=16), 1)):
        with capture_logs() as logs:
            Bound(source.execute("select now()").fetchall()[0][0], held).warn(address)
        assert [line["log_level"] for line in logs] == ["warning"] * warned


def test_the_bound_is_taken_before_the_snapshot(
    shop: Settings, source: psycopg.Connection, database: SecretStr, make_table: MakeTable
) -> None:
    """A transaction that ends while the bound is asked for: it does not hold the bound, so the rows must be seen."""
    source.execute(
        "create function slow_clock() returns timestamptz language plpgsql as $$ begin"
        " perform pg_advisory_lock(7); perform pg_advisory_unlock(7);"
        " return clock_timestamp() + interval '1 hour'; end $$"
    )
    source.execute("insert into things (id) values (1)")
    reader = open_source(shop, make_table("shop", {**BY_TIME, "clock": "slow_clock()"}, THINGS))
    found = list[object]()
    with psycopg.connect(database.get_secret_value()) as late:
        late.execute("insert into things (id) values (2)")
        source.execute("select pg_advisory_lock(7)")
        thread = threading.Thread(target=lambda: found.extend(ids_of(reader.read(None))))
        thread.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while source.execute(waiting).fetchone() == (0,):
            source.execute("select pg_sleep(0.02)")
        late.commit()
    source.execute("select pg_advisory_unlock(7)")
    thread.join()
    assert found == [1, 2]
