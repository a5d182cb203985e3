"""`ops.loads`: one entry a load, once, and queryable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lakehouse.iceberg import Lake, connect, register
from lakehouse.ledger import LOADS, LoadRecord, ledger_table, record, record_load
from lakehouse.settings import Settings
from lakehouse.tables import Column, TableName

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
