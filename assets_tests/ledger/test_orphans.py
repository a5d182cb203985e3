"""`ops.orphans`: the memory between two sweeps, and the record of what was deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.iceberg import Lake
from lakehouse.ledger import ORPHANS, OrphanLog, OrphanRecord, Sighting, sightings
from lakehouse.tables import Layer, TableName

NAME = TableName(Layer.SILVER, "orders")
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def record() -> Callable[..., OrphanRecord]:
    """record("a"): a sighting of a file of that name."""

    def make(name: str, table: TableName = NAME, removed_at: datetime | None = None) -> OrphanRecord:
        return OrphanRecord(
            table=table,
            path=f"file:///warehouse/{name} 'ü.parquet",
            bytes=5,
            modified_at=AT - timedelta(days=3),
            version="1795290816642588906",
            seen_at=AT,
            removed_at=removed_at,
            run_id="run",
        )

    return make


def seen(record: OrphanRecord, *, long_ago: bool = True) -> Sighting:
    return Sighting(record.path, record.bytes, record.version, long_ago)


def test_sightings_come_back_as_they_were(lake: Lake, record: Callable[..., OrphanRecord]) -> None:
    assert list(sightings(lake, NAME, until=AT)) == []
    with OrphanLog() as log:
        log.add(record("a"))
        log.add(record("b"))
        log.record(lake, run_key="one")
    assert sorted(sightings(lake, NAME, until=AT)) == [seen(record("a")), seen(record("b"))]
    # An entry says when its sweep looked: the very moment that is asked for was long enough ago.
    before = AT - timedelta(microseconds=1)
    assert sorted(sightings(lake, NAME, until=before)) == [seen(record(name), long_ago=False) for name in "ab"]
    (entry, _) = lake.table(ORPHANS.name).scan().read_all().sort_by("path").to_pylist()
    table = TableName.parse(entry.pop("table_name"))
    assert OrphanRecord(table=table, **entry) == record("a")


def test_removals_and_other_tables_are_no_sightings(lake: Lake, record: Callable[..., OrphanRecord]) -> None:
    other = TableName(Layer.SILVER, "orders_old")
    with OrphanLog() as log:
        for entry in (record("a"), record("b", table=other), record("c", removed_at=AT)):
            log.add(entry)
        log.record(lake, run_key="one")
    assert list(sightings(lake, NAME, until=AT)) == [seen(record("a"))]
    assert list(sightings(lake, other, until=AT)) == [seen(record("b", table=other))]
    rows = lake.table(ORPHANS.name).scan(where="removed_at is not null").read_all().to_pylist()
    assert [(row["path"], row["removed_at"]) for row in rows] == [(record("c").path, AT)]


def test_a_sweep_is_one_commit_however_much_it_saw_and_the_same_run_adds_nothing_again(
    lake: Lake, record: Callable[..., OrphanRecord]
) -> None:
    for _ in range(2):
        with OrphanLog() as log:
            for number in range(12_000):
                log.add(record(str(number)))
            log.record(lake, run_key="one")
    table = lake.table(ORPHANS.name)
    assert len(table.snapshots()) == 1
    assert len({found.path for found in sightings(lake, NAME, until=AT)}) == table.stats().rows == 12_000


def test_nothing_seen_makes_no_table(lake: Lake) -> None:
    with OrphanLog() as log:
        log.record(lake, run_key="one")
    assert not lake.exists(ORPHANS.name)


def test_what_was_not_recorded_is_gone(lake: Lake, record: Callable[..., OrphanRecord]) -> None:
    """A dry run, or a sweep that died."""
    with OrphanLog() as log:
        log.add(record("a"))
    assert not lake.exists(ORPHANS.name)
