"""`ops.upkeep`: what upkeep did, a row an action, once a run, and queryable."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.iceberg import Lake, connect, register
from lakehouse.ledger import UPKEEP, LastTry, UpkeepRecord, last_tries, record_upkeep
from lakehouse.settings import Settings
from lakehouse.tables import Column, TableName

ORDERS, PRODUCTS = TableName.parse("silver.orders"), TableName.parse("silver.products")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMPACTED = UpkeepRecord(
    table=ORDERS,
    action="compact",
    outcome="done",
    detail="8 files became 1",
    files_before=8,
    files_after=1,
    bytes_before=8000,
    bytes_after=5000,
    rows=800,
    delete_files_before=2,
    delete_files_after=0,
    snapshots_before=8,
    snapshots_after=9,
    seconds=1.5,
    run_id="run-1",
    started_at=AT,
    groups=1,
    rows_proved=800,
    row_hash="73400916757176706897001",
)
EXPIRED = replace(
    COMPACTED, action="expire", groups=None, rows_proved=None, row_hash=None, files_deleted=3, bytes_deleted=9
)


def test_a_run_is_recorded_with_all_it_says_in_one_snapshot(lake: Lake) -> None:
    record_upkeep(lake, [COMPACTED, EXPIRED], run_key="run-1")
    stored = lake.table(UPKEEP.name)
    entries = sorted(stored.scan().read_all().to_pylist(), key=lambda entry: entry["action"])
    for entry, told in zip(entries, [COMPACTED, EXPIRED], strict=True):
        assert entry == {**{k: v for k, v in asdict(told).items() if k != "table"}, "table_name": "silver.orders"}
    assert len(stored.snapshots()) == 1


def test_a_run_told_twice_is_there_once(lake: Lake) -> None:
    record_upkeep(lake, [COMPACTED], run_key="run-1")
    again = record_upkeep(lake, [COMPACTED], run_key="run-1")
    assert again is not None
    assert again.already_done
    assert lake.table(UPKEEP.name).stats().rows == 1


def test_nothing_done_makes_no_table(lake: Lake) -> None:
    assert record_upkeep(lake, [], run_key="run-1") is None
    assert not lake.exists(UPKEEP.name)
    assert last_tries(lake) == {}


def test_the_last_try_of_each_action_is_told_by_table(lake: Lake) -> None:
    later, day = AT + timedelta(days=3), timedelta(days=1)
    record_upkeep(lake, [EXPIRED, replace(EXPIRED, started_at=later)], run_key="run-1")
    record_upkeep(lake, [replace(EXPIRED, started_at=later - day), replace(EXPIRED, table=PRODUCTS)], run_key="run-2")
    assert last_tries(lake) == {ORDERS: {"expire": LastTry(later)}, PRODUCTS: {"expire": LastTry(AT)}}
    failed = replace(COMPACTED, outcome="failed", detail="no room", started_at=later + day)
    record_upkeep(lake, [COMPACTED, failed], run_key="run-3")
    assert last_tries(lake)[ORDERS] == {"expire": LastTry(later), "compact": LastTry(later + day, "no room")}
    # What was done since is no failure any more.
    record_upkeep(lake, [replace(COMPACTED, started_at=later + 2 * day)], run_key="run-4")
    assert last_tries(lake)[ORDERS]["compact"] == LastTry(later + 2 * day)


def test_what_was_freed_can_be_asked_in_sql(lake: Lake, settings: Settings) -> None:
    record_upkeep(lake, [COMPACTED, EXPIRED], run_key="run-1")
    with connect(settings) as duck:
        register(duck, lake)
        asked = "select action, sum(bytes_deleted) from ops.upkeep group by action order by action"
        assert duck.execute(asked).fetchall() == [("compact", None), ("expire", 9)]


@pytest.mark.parametrize("column", UPKEEP.columns, ids=lambda column: column.name)
def test_every_column_is_described(column: Column) -> None:
    assert column.description
