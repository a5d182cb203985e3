"""Loads from PostgreSQL by xmin, in full, with a lag and in parts: bronze has each version once, and what went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from pydantic import SecretStr

from assets_tests.ingest.payments import QUARANTINE, balanced, rows
from lakehouse.errors import LoadRejected, SourceChanged
from lakehouse.iceberg import Lake
from lakehouse.ingest import Door, load
from lakehouse.ingest.seen import comparing
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Rule, Table

COLUMNS = {"id": "long", "code": "decimal(6, 2)", "name": "string", "updated_at": "timestamptz"}


@pytest.fixture
def shop(database: SecretStr) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "create table things (id bigint, code numeric(6, 2), name text, updated_at timestamptz default now(),"
            " primary key (id, code))"
        )
        yield connection


@pytest.fixture
def declare(make_table: Callable[..., Table]) -> Callable[..., Table]:
    def make(**options: object) -> Table:
        return make_table(
            COLUMNS,
            key=["id", "code"],
            rules=[Rule("name_known", "name <> 'bad'", column="name")],
            source="shop",
            options={"table": "things", **options},
        )

    return make


def names(lake: Lake, table: Table, *, deleted: bool = False) -> list[object]:
    return sorted(str(row["name"]) for row in rows(lake, table.name) if bool(row.get("_deleted")) == deleted)


def test_by_xmin_rows_that_were_read_before_are_counted_as_seen(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection, database: SecretStr
) -> None:
    table = declare(watermark="xmin")
    shop.execute("insert into things values (1, 1, 'old')")
    with psycopg.connect(database.get_secret_value()) as late:
        late.execute("insert into things values (2, 1, 'late')")
        # A clock that is years behind is nothing to it.
        shop.execute("insert into things values (3, 1, 'early', '2001-01-01')")
        assert load(sources, lake, table, run_id="1").rows_published == 2
        assert load(sources, lake, table, run_id="2").commit is None
        late.commit()
    result = load(sources, lake, table, run_id="3")
    assert (result.rows_published, result.rows_seen, balanced(result)) == (1, 1, True)
    assert names(lake, table) == ["early", "late", "old"]
    assert all(row["_source_version"] for row in rows(lake, table.name))


def test_in_full_what_changed_is_added_and_what_is_gone_is_marked(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection
) -> None:
    table = declare(watermark="full")
    shop.execute("insert into things values (1, 1, 'one'), (1, 2, 'two'), (2, 1, 'three'), (3, 1, 'four')")
    assert load(sources, lake, table, run_id="1").rows_published == 4
    assert load(sources, lake, table, run_id="2").commit is None
    # One changes, one goes, one breaks the contract and is still there.
    shop.execute("update things set name = 'new' where id = 1 and code = 1")
    shop.execute("delete from things where id = 2")
    shop.execute("update things set name = 'bad' where id = 3")
    third = load(sources, lake, table, run_id="3")
    assert (third.rows_read, third.rows_published, third.rows_seen, third.rows_quarantined) == (3, 1, 1, 1)
    assert (third.rows_deleted, balanced(third), len(rows(lake, QUARANTINE))) == (1, True, 1)
    assert names(lake, table, deleted=True) == ["three"]
    # What comes back is a new version, also with the content that it had; what is gone stays marked once.
    shop.execute("insert into things values (2, 1, 'three', (select updated_at from things where code = 2))")
    assert load(sources, lake, table, run_id="4").rows_published == 1
    shop.execute("update things set name = 'one' where id = 1 and code = 1")
    assert load(sources, lake, table, run_id="5").rows_published == 1
    shop.execute("truncate things")
    assert load(sources, lake, table, run_id="6").rows_deleted == 4
    assert load(sources, lake, table, run_id="7").commit is None
    assert names(lake, table, deleted=True) == ["four", "one", "three", "three", "two"]
    assert names(lake, table) == ["four", "new", "one", "one", "three", "three", "two"]


def test_a_source_that_lost_most_of_its_rows_stops_the_load_until_somebody_says_so(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection
) -> None:
    table = declare(watermark="full")
    shop.execute("insert into things (id, code, name) select g, 1, 'x' || g from generate_series(1, 120) g")
    load(sources, lake, table, run_id="1")
    # Half of them may go at once; of what is left then, more than half may not.
    shop.execute("delete from things where id > 60")
    assert load(sources, lake, table, run_id="2").rows_deleted == 60
    shop.execute("insert into things (id, code, name) select g, 1, 'y' || g from generate_series(61, 100) g")
    load(sources, lake, table, run_id="3")
    shop.execute("delete from things where id > 49")
    said = (
        r"keys of bronze\.payments are gone.*at most 50\.00% .*found 51 of 100.*bronze\.payments --full.*deletesLimit"
    )
    with pytest.raises(LoadRejected, match=said):
        load(sources, lake, table, run_id="4")
    assert len(names(lake, table, deleted=True)) == 60
    assert table.load is not None
    lenient = replace(table, load=replace(table.load, deletes_limit=0.51))
    assert load(sources, lake, lenient, run_id="5").rows_deleted == 51


def test_an_emptied_source_is_believed_when_all_of_it_is_asked_for(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection
) -> None:
    table = declare(watermark="full")
    shop.execute("insert into things (id, code, name) select g, 1, 'x' || g from generate_series(1, 100) g")
    load(sources, lake, table, run_id="1")
    shop.execute("truncate things")
    with pytest.raises(LoadRejected, match="100 of 100"):
        load(sources, lake, table, run_id="2")
    assert load(sources, lake, table, run_id="3", full=True).rows_deleted == 100
    # Nothing of it is there any more that could go.
    shop.execute("insert into things (id, code, name) values (1, 1, 'back')")
    assert load(sources, lake, table, run_id="4").rows_deleted == 0


def test_with_a_lag_a_row_of_a_clock_behind_is_read_and_no_other_twice(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection
) -> None:
    table = declare(watermark="updated_at", lag=3600, clock="clock_timestamp() + interval '1 second'")
    shop.execute("insert into things values (1, 1, 'one'), (2, 1, 'two')")
    assert load(sources, lake, table, run_id="1").rows_published == 2
    shop.execute("insert into things values (3, 1, 'behind', now() - interval '30 minutes')")
    shop.execute("update things set name = 'again' where id = 2")
    result = load(sources, lake, table, run_id="2")
    # The second has the time that it had, and was written by another transaction.
    assert (result.rows_read, result.rows_published, result.rows_seen) == (3, 2, 1)
    assert names(lake, table) == ["again", "behind", "one", "two"]


@pytest.fixture(
    params=[{"watermark": "xmin"}, {"watermark": "updated_at", "clock": "now() + '1 hour'"}], ids=["xmin", "updated_at"]
)
def in_parts(request: pytest.FixtureRequest, declare: Callable[..., Table], shop: psycopg.Connection) -> Table:
    """A table of twenty rows that a first load reads in parts."""
    shop.execute(
        "insert into things (id, code, name) select g, 1, repeat('x', 1900) || g from generate_series(1, 20) g"
    )
    return declare(**request.param, chunk_mb=0.01)


def test_a_first_load_in_parts_goes_on_where_it_was_killed(
    sources: Settings, lake: Lake, in_parts: Table, shop: psycopg.Connection
) -> None:
    loaded = list[int]()

    def kill(_rows: int, _what: str) -> None:
        loaded.append(lake.table(in_parts.name).stats().rows)
        if len(loaded) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(sources, lake, in_parts, run_id="1", on_progress=kill)
    # Nothing of it stays open: a transaction would hold back whoever writes or vacuums there.
    with shop.transaction():
        shop.execute("set local lock_timeout = '20s'")
        shop.execute("lock table things in access exclusive mode")
    assert 0 == loaded[0] < loaded[1] < loaded[2]
    kept = lake.table(in_parts.name).stats().rows
    assert kept == loaded[2]
    shop.execute("update things set name = 'moved' where id = 1")
    result = load(sources, lake, in_parts, run_id="2")
    assert result.rows_read == result.rows_published
    shop.execute("update things set name = 'moved once more' where id = 20")
    load(sources, lake, in_parts, run_id="3")
    stored = [(row["id"], row["name"]) for row in rows(lake, in_parts.name)]
    assert len(set(stored)) == len(stored)
    assert {key for key, _ in stored} == set(range(1, 21))


def test_all_parts_read_again_at_once_double_nothing(sources: Settings, lake: Lake, in_parts: Table) -> None:
    assert load(sources, lake, in_parts, run_id="1").rows_published == 20
    again = load(sources, lake, in_parts, run_id="2", full=True)
    assert (again.rows_read, again.rows_published, again.rows_seen) == (20, 0, 20)


def test_a_restored_database_is_read_anew_and_what_is_the_same_is_not_added(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection
) -> None:
    table = declare(watermark="xmin")
    shop.execute("insert into things values (1, 1, 'same', '2026-01-01'), (2, 1, 'old', '2026-01-01')")
    load(sources, lake, table, run_id="1")
    shop.execute("create table restored (like things including all)")
    shop.execute(
        "insert into restored select id, code, case id when 1 then name else 'new' end, updated_at from things"
    )
    shop.execute("drop table things")
    shop.execute("alter table restored rename to things")
    with pytest.raises(SourceChanged, match="--full"):
        load(sources, lake, table, run_id="2")
    assert names(lake, table) == ["old", "same"]
    # What `--full` reads then: everything, compared by content, for its transactions have other numbers.
    extract = open_source(sources, table).read(None)
    assert extract is not None
    with Door(table) as door, comparing(sources, table, lake.table(table.name), extract.compare) as seen:
        assert seen is not None
        accepted = (door.split(chunk, datetime.now(UTC), "full").accepted for chunk in extract.chunks)
        fresh = [row["name"] for part in seen.fresh(accepted) for row in part.to_pylist()]
    assert fresh == ["new"]
    assert list((sources.state / "tmp").iterdir()) == []


def test_a_column_that_is_gone_is_null_where_it_may_be(
    sources: Settings, lake: Lake, declare: Callable[..., Table], shop: psycopg.Connection
) -> None:
    table = declare(watermark="xmin")
    shop.execute("insert into things values (1, 1, 'old')")
    load(sources, lake, table, run_id="1")
    shop.execute("alter table things drop column name")
    shop.execute("insert into things values (2, 1)")
    result = load(sources, lake, table, run_id="2")
    assert (balanced(result), [str(one) for one in result.drift or ()]) == (True, ["name is gone"])
    assert sorted((str(row["id"]), row["name"]) for row in rows(lake, table.name)) == [("1", "old"), ("2", None)]
    needed = replace(table, columns=tuple(replace(column, required=True) for column in table.columns))
    with pytest.raises(SourceChanged, match=r"has no column 'name'"):
        load(sources, lake, needed, run_id="3")
