"""Which days a change touches, whatever kind of change it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest

from lakehouse.changes import Consumed, Days, Edge, Every, Reach, days_touched, edges_of
from lakehouse.errors import CatalogError, TransformError
from lakehouse.iceberg import LakeTable, connect, register
from lakehouse.settings import Settings
from lakehouse.storage.open import open_store
from lakehouse.tables import Column, TableName, Window

Chain = Any
BRONZE, SILVER, GOLD = (TableName.parse(f"{layer}.orders") for layer in ("bronze", "silver", "gold"))
PAID = TableName.parse("silver.payments")
JOINED = "select orders.day from changes join silver.orders using (order_id)"


def day(number: int) -> date:
    return date(2026, 1, number)


def here(table: LakeTable) -> Consumed:
    """Where main of a table is now."""
    found = table.snapshot()
    assert found is not None
    return Consumed(found.sequence_number, found.id)


@pytest.fixture
def duck(built: Chain) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(built.settings) as connection:
        register(connection, built.lake)
        yield connection


def edge(reach: Reach, upstream: TableName, sql: str = "", **more: Any) -> Edge:  # noqa: ANN401  (fields of an Edge)
    return Edge(GOLD, upstream, reach, sql, (SILVER,) if sql else (), **more)


def days_of(found: Days) -> list[date]:
    assert not isinstance(found, Every)
    return sorted(found)


def compact(chain: Chain, name: TableName) -> None:
    """Put all files of each partition into one."""
    table = chain.lake.table(name)
    groups: dict[str, list[str]] = {}
    for file in table.live_files():
        groups.setdefault(file.partition, []).append(file.path)
    with connect(chain.settings) as connection:
        table.compact([paths for paths in groups.values() if len(paths) > 1], connection=connection)


def expire(settings: Settings, table: LakeTable) -> None:
    table.expire_snapshots(open_store(settings, settings.warehouse), now=datetime.now(UTC) + timedelta(days=30))


def test_compaction_touches_no_day(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    built.orders((3, 3, 33))
    built.payments((9, 3, 1))
    built.build("silver.payments")
    before = {name: here(built.lake.table(name)) for name in (BRONZE, PAID)}
    for name in (BRONZE, PAID):
        compact(built, name)
    built.lake.table(PAID).replace_files(
        [file.path for file in built.lake.table(PAID).live_files()], built.lake.table(PAID).scan(), run_key="compacted"
    )

    assert built.lake.table(BRONZE).snapshots()[0].operation == "replace"
    assert built.lake.table(PAID).snapshots()[0].operation == "replace"
    for of in (edge(Reach.SAME_DAY, BRONZE), edge(Reach.EVERY, BRONZE), edge(Reach.EVERY, PAID)):
        assert days_touched(built.lake, duck, of, before[of.upstream]) == {}
    assert days_touched(built.lake, duck, edge(Reach.BY_KEY, PAID, JOINED), before[PAID]) == {}


def test_a_table_replaced_by_its_own_rows_touches_no_day(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(PAID))

    built.build("silver.payments")

    assert here(built.lake.table(PAID)) != since
    assert days_touched(built.lake, duck, edge(Reach.EVERY, PAID), since) == {}
    assert days_touched(built.lake, duck, edge(Reach.BY_KEY, PAID, JOINED), since) == {}


def test_rows_that_go_touch_the_days_that_they_were_on(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    silver, paid = built.lake.table(SILVER), built.lake.table(PAID)
    before = {SILVER: here(silver), PAID: here(paid)}
    silver.delete(Window.of_days(day(4), day(4)), run_key="gone")
    paid.delete("payment_id == 2", run_key="gone")

    number = here(silver).sequence
    assert days_touched(built.lake, duck, edge(Reach.SAME_DAY, SILVER), before[SILVER]) == {day(4): number}
    number = here(paid).sequence
    assert days_touched(built.lake, duck, edge(Reach.BY_KEY, PAID, JOINED), before[PAID]) == {day(2): number}
    assert days_touched(built.lake, duck, edge(Reach.EVERY, PAID), before[PAID]) == Every(
        number, f"rows of {PAID} changed"
    )


def test_each_day_has_the_number_of_its_own_change(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(BRONZE))
    built.orders((3, 3, 33), (5, 5, 55))
    built.orders((5, 5, 56))

    numbers = {day(3): since.sequence + 1, day(5): since.sequence + 2}
    assert days_touched(built.lake, duck, edge(Reach.SAME_DAY, BRONZE), since) == numbers


def test_nothing_after_until_counts(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(BRONZE))
    built.orders((3, 3, 33))
    until = here(built.lake.table(BRONZE))
    built.orders((5, 5, 55))

    found = days_touched(built.lake, duck, edge(Reach.SAME_DAY, BRONZE), since, until=until.snapshot_id)

    assert found == {day(3): until.sequence}


@pytest.mark.parametrize("reach", [Reach.SAME_DAY, Reach.BY_KEY, Reach.EVERY])
def test_what_has_expired_may_be_any_day(built: Chain, duck: duckdb.DuckDBPyConnection, reach: Reach) -> None:
    silver = built.lake.table(SILVER)
    since = here(silver)
    for number in (3, 4):
        silver.delete(Window.of_days(day(number), day(number)), run_key=f"gone-{number}")
        expire(built.settings, silver)

    found = days_touched(built.lake, duck, edge(reach, SILVER, JOINED if reach is Reach.BY_KEY else ""), since)

    assert isinstance(found, Every)
    assert found.sequence == here(silver).sequence


@pytest.mark.parametrize("reach", [Reach.SAME_DAY, Reach.BY_KEY, Reach.EVERY])
def test_after_a_restore_it_may_be_any_day(built: Chain, duck: duckdb.DuckDBPyConnection, reach: Reach) -> None:
    silver = built.lake.table(SILVER)
    first = here(silver)
    silver.delete(Window.of_days(day(3), day(3)), run_key="gone")
    since = here(silver)
    silver.restore(silver.plan_restore(to=first.snapshot_id))

    of = edge(reach, SILVER, JOINED if reach is Reach.BY_KEY else "")

    assert isinstance(days_touched(built.lake, duck, of, since), Every)
    assert days_touched(built.lake, duck, of, first) == {}


def test_an_upstream_that_is_not_there_touches_nothing(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    nowhere = TableName.parse("silver.nowhere")

    assert days_touched(built.lake, duck, edge(Reach.SAME_DAY, nowhere), Consumed(0, 0)) == {}


@pytest.mark.parametrize("reach", [Reach.SAME_DAY, Reach.BY_KEY])
def test_from_nothing_every_row_is_new(built: Chain, duck: duckdb.DuckDBPyConnection, reach: Reach) -> None:
    """Even where the first snapshots have expired: of nothing, nothing can have gone."""
    built.build("silver.orders", 4)
    expire(built.settings, built.lake.table(SILVER))
    register(duck, built.lake)
    number = here(built.lake.table(SILVER)).sequence

    found = days_touched(built.lake, duck, edge(reach, SILVER, JOINED if reach is Reach.BY_KEY else ""), Consumed(0, 0))

    assert isinstance(found, dict)
    assert set(found) == {day(of) for of in range(1, 11)}
    assert found[day(4)] == number


def test_sql_sees_rows_as_they_were_and_as_they_are(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(PAID))
    rows = built.lake.table(PAID).scan().read_all().to_pylist()
    changed = [{**row, "order_id": 8} if row["payment_id"] == 2 else row for row in rows]
    table = built.lake.table(PAID)
    table.overwrite(
        table.scan(limit=0).read_all().from_pylist(changed, schema=table.schema()).to_reader(),
        where=None,
        run_key="moved",
    )

    assert days_of(days_touched(built.lake, duck, edge(Reach.BY_SQL, PAID, JOINED), since)) == [day(2), day(8)]
    after = f"{JOINED} where _change = 'insert'"
    assert days_of(days_touched(built.lake, duck, edge(Reach.BY_SQL, PAID, after), since)) == [day(8)]


def test_sql_may_answer_moments_and_nothing(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(PAID))
    built.payments((9, 3, 1))
    built.build("silver.payments")

    late = "select case when order_id = 3 then timestamptz '2026-01-05 23:59:59+00' end from changes -- a remark"
    assert days_of(days_touched(built.lake, duck, edge(Reach.BY_SQL, PAID, late), since)) == [day(5)]
    nothing = "select null::date from changes"
    assert days_touched(built.lake, duck, edge(Reach.BY_SQL, PAID, nothing), since) == {}


def test_sql_may_answer_the_days_around_a_change(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(BRONZE))
    built.orders((5, 5, 55))
    week = "select unnest(generate_series(day, day + 6, interval 1 day)) from changes"

    found = days_touched(built.lake, duck, edge(Reach.BY_SQL, BRONZE, week), since)

    assert days_of(found) == [day(number) for number in range(5, 12)]


@pytest.mark.parametrize("sql", ["select no_such_column from changes", "select payment_id from changes"])
def test_sql_that_fails_names_the_contract(built: Chain, duck: duckdb.DuckDBPyConnection, sql: str) -> None:
    since = here(built.lake.table(PAID))
    built.payments((9, 3, 1))
    built.build("silver.payments")

    with pytest.raises(TransformError, match=r"`follows` of gold\.orders for silver\.payments fails"):
        days_touched(built.lake, duck, edge(Reach.BY_SQL, PAID, sql), since)


def test_while_a_table_of_the_sql_is_missing_it_may_be_any_day(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(PAID))
    built.payments((9, 3, 1))
    built.build("silver.payments")
    of = replace(edge(Reach.BY_SQL, PAID, JOINED), tables=(SILVER, TableName.parse("gold.nowhere")))

    found = days_touched(built.lake, duck, of, since)

    assert isinstance(found, Every)
    assert "gold.nowhere" in found.why


def test_days_before_the_readers_first_are_nobodys(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(BRONZE))
    built.orders((2, 2, 22), (3, 3, 33))

    found = days_touched(built.lake, duck, edge(Reach.SAME_DAY, BRONZE, start=day(3)), since)

    assert days_of(found) == [day(3)]


def test_a_moment_is_on_its_utc_day(built: Chain) -> None:
    """Whatever zone it was written in: the window column is a timestamp, the reader's days are those of UTC."""
    columns = (Column("order_id", "long", required=True), Column("at", "timestamptz", required=True))
    events = replace(
        built.declarations[SILVER], name=TableName.parse("silver.events"), columns=columns, window_column="at"
    )
    reader = replace(events, name=TableName.parse("gold.events"))
    built.tables += [events, reader]
    built.parents[reader.name] = frozenset({events.name, PAID})
    stored = built.lake.create(events)
    late = datetime(2026, 1, 6, 23, 30, tzinfo=UTC)
    zone = timedelta(hours=2)
    rows = [{"order_id": 1, "at": late}, {"order_id": 2, "at": (late + zone).replace(tzinfo=UTC) - zone}]
    stored.append(
        built.lake.table(PAID).scan(limit=0).read_all().from_pylist(rows, schema=stored.schema()), run_key="1"
    )
    edges = {of.upstream: of for of in edges_of(reader, built.parents[reader.name], built.declarations)}
    since = here(built.lake.table(PAID))
    built.payments((9, 2, 1))
    built.build("silver.payments")

    with connect(built.settings) as connection:
        register(connection, built.lake)
        assert days_of(days_touched(built.lake, connection, edges[events.name], Consumed(0, 0))) == [day(6)]
        assert days_of(days_touched(built.lake, connection, edges[PAID], since)) == [day(6)]


def test_files_that_are_gone_are_not_the_contracts_fault(built: Chain, duck: duckdb.DuckDBPyConnection) -> None:
    since = here(built.lake.table(PAID))
    built.payments((9, 3, 1))
    built.build("silver.payments")
    built.build("silver.orders")
    expire(built.settings, built.lake.table(SILVER))

    with pytest.raises(CatalogError, match="cannot be read"):
        days_touched(built.lake, duck, edge(Reach.BY_SQL, PAID, JOINED), since)
