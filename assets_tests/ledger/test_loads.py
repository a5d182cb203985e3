"""`ops.loads`: one entry a load, once, and queryable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.iceberg import Lake, connect, register
from lakehouse.ledger import (
    LOAD_SCOPE,
    LOADS,
    LoadCounts,
    LoadRecord,
    ledger_table,
    record,
    record_load,
    record_loads,
    recorded_loads,
)
from lakehouse.settings import Settings
from lakehouse.tables import Column, Table, TableName

LOAD = LoadRecord(
    table=TableName.parse("bronze.orders"),
    run_key="abc",
    run_id="run-1",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    seconds=1.5,
    rows_read=10,
    rows_published=7,
    rows_quarantined=2,
    rows_seen=1,
    bytes=4096,
    position_from=None,
    position_to={"watermark": "2026-01-02"},
    snapshot_id=42,
    bytes_read=2048,
    retries=1,
    lag_seconds=2.5,
    rows_deleted=4,
    reread="2026-01-01..2026-01-02",
)


def entries(lake: Lake) -> list[dict[str, object]]:
    return list(lake.table(LOADS.name).scan().read_all().to_pylist())


def test_a_load_is_recorded_with_all_it_says(lake: Lake) -> None:
    record_load(lake, LOAD)
    assert entries(lake) == [
        {
            "table_name": "bronze.orders",
            "run_key": "abc",
            "run_id": "run-1",
            "started_at": LOAD.started_at,
            "seconds": 1.5,
            "rows_read": 10,
            "rows_published": 7,
            "rows_quarantined": 2,
            "rows_seen": 1,
            "bytes": 4096,
            "position_from": None,
            "position_to": '{"watermark": "2026-01-02"}',
            "snapshot_id": 42,
            "bytes_read": 2048,
            "retries": 1,
            "lag_seconds": 2.5,
            "rows_deleted": 4,
            "reread": "2026-01-01..2026-01-02",
        }
    ]


def test_a_load_told_twice_is_there_once_and_one_after_a_rollback_again(lake: Lake) -> None:
    first = record_load(lake, LOAD)
    assert record_load(lake, LOAD).already_done
    # The same interval, loaded again after its snapshot was rolled back, is another load.
    again = record_load(lake, replace(LOAD, snapshot_id=43, position_from={"watermark": "2026-01-01"}))
    assert not first.already_done
    assert not again.already_done
    assert sorted(str(entry["snapshot_id"]) for entry in entries(lake)) == ["42", "43"]


def test_loads_come_back_as_they_were_told_the_newest_first(lake: Lake) -> None:
    assert recorded_loads(lake, limit=9) == ()
    later = replace(LOAD, run_key="def", started_at=LOAD.started_at + timedelta(days=1), snapshot_id=7, reread=None)
    other = replace(LOAD, table=TableName.parse("bronze.payments"), run_key="ghi")
    for load in (LOAD, later, other):
        record_load(lake, load)
    assert recorded_loads(lake, LOAD.table, limit=9) == (later, LOAD)
    assert recorded_loads(lake, limit=1) == (later,)


def test_loads_of_a_table_that_an_earlier_release_made_are_read(lake: Lake) -> None:
    old = replace(LOADS, columns=LOADS.columns[:-5])
    record(lake, old, [{**old_entry(), "position_to": '{"watermark": "2026-01-02"}'}], run_key="old")
    expected = replace(LOAD, bytes_read=None, retries=None, lag_seconds=None, rows_deleted=None, reread=None)
    assert recorded_loads(lake, limit=9) == (expected,)
    # The next load brings the table to what this release says of loads.
    record_load(lake, replace(LOAD, run_key="new", snapshot_id=43))
    assert [load.retries for load in recorded_loads(lake, limit=9)] == [1, None]


def old_entry() -> dict[str, object]:
    told = {name: getattr(LOAD, name, None) for name in (column.name for column in LOADS.columns[:-5])}
    return {**told, "table_name": str(LOAD.table), "position_from": None}


def test_what_a_snapshot_says_is_the_load_and_what_another_writer_made_is_none(lake: Lake) -> None:
    table = lake.create(Table(LOAD.table, "shop", "", (Column("id", "long"),), Path("orders.yaml")))
    counts = LoadCounts(3, 2, 1, 0, bytes_read=9, retries=2, lag=timedelta(seconds=1.5), reread="full")
    summary = counts.summary(started_at=LOAD.started_at, run_id="run-9")
    now = datetime.now(UTC)
    rows = pa.Table.from_pylist(
        [{"id": n, "_extracted_at": now, "_source": "s", "_run_key": "k"} for n in range(2)], schema=table.schema()
    )
    table.append(rows, run_key="foreign")
    table.append(rows, run_key="k", progress={LOAD_SCOPE: {"at": 1}}, summary=summary)
    record_loads(lake, table.name)
    record_loads(lake, table.name)
    (load,) = recorded_loads(lake, limit=9)
    assert (load.rows_read, load.rows_published, load.rows_quarantined, load.rows_seen) == (3, 2, 1, 0)
    assert (load.bytes_read, load.retries, load.lag_seconds, load.reread) == (9, 2, 1.5, "full")
    assert (load.run_id, load.position_from, load.position_to) == ("run-9", None, {"at": 1})
    assert (load.rows_deleted, load.difference) == (0, 0)


def test_the_balance_can_be_asked_in_sql(lake: Lake, settings: Settings) -> None:
    record_load(lake, LOAD)
    with connect(settings) as duck:
        register(duck, lake)
        unbalanced = "select count(*) from ops.loads where rows_read <> rows_published + rows_quarantined + rows_seen"
        assert duck.execute(unbalanced).fetchall() == [(0,)]
        assert duck.execute("select sum(rows_read) from ops.loads").fetchall() == [(10,)]


def test_another_ledger_is_columns_and_a_name(lake: Lake) -> None:
    checks = ledger_table("checks", "Checks.", (Column("name", "string", required=True),), file=__file__)
    assert str(checks.name) == "ops.checks"
    record(lake, checks, [{"name": "a"}, {"name": "b"}], run_key="run-1")
    record(lake, checks, [{"name": "a"}, {"name": "b"}], run_key="run-1")
    stored = lake.table(checks.name)
    assert stored.scan().read_all().to_pylist() == [{"name": "a"}, {"name": "b"}]
    assert len(stored.snapshots()) == 1


@pytest.mark.parametrize("column", LOADS.columns, ids=lambda column: column.name)
def test_every_column_is_described(column: Column) -> None:
    assert column.description
