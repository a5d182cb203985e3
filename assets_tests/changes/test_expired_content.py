"""What was followed has expired, and only compactions have come since: that is no change, for any reader."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from lakehouse.changes import Consumed, Memory, consumed
from lakehouse.iceberg import LakeTable
from lakehouse.storage.open import open_store
from lakehouse.tables import Follow, Reach, TableName

Chain = Any
BRONZE, PAYMENTS = TableName.parse("bronze.orders"), TableName.parse("bronze.payments")
SILVER, PAID, GOLD = (
    TableName.parse("silver.orders"),
    TableName.parse("silver.payments"),
    TableName.parse("gold.orders"),
)
TEN = list(range(1, 11))
KEYS = count()


def compact(table: LakeTable) -> int:
    """The very same rows in other files; the snapshot that says so."""
    commit = table.replace_files(
        [file.path for file in table.live_files()], table.scan(), run_key=f"compacted-{next(KEYS)}"
    )
    assert commit.operation == "replace"
    assert commit.snapshot_id is not None
    return commit.snapshot_id


def expire(chain: Chain, table: LakeTable) -> None:
    """A year later nobody is waited for any more: the head alone is kept."""
    store = open_store(chain.settings, chain.settings.warehouse)
    table.expire_snapshots(store, now=datetime.now(UTC) + timedelta(days=365))
    assert len(table.snapshots()) == 1


@pytest.fixture(params=[1, 3])
def rested(built: Chain, request: pytest.FixtureRequest) -> Chain:
    """No table was written to for a year, and each was compacted so many times; what was read has expired."""
    for name in (BRONZE, PAYMENTS, SILVER, PAID):
        table = built.lake.table(name)
        for _ in range(request.param):
            compact(table)
        expire(built, table)
    return built


def test_a_table_that_was_compacted_after_it_was_read_asks_for_nothing(rested: Chain) -> None:
    assert rested.stale() == {}
    assert rested.models() == {}


def test_what_comes_after_it_touches_its_own_days_alone(rested: Chain) -> None:
    rested.orders((3, 3, 33))
    rested.payments((9, 5, 1))

    assert rested.stale() == {"silver.orders": [3]}
    assert rested.models() == {"silver.payments": ["bronze.payments"]}
    rested.build("silver.payments")
    rested.build("silver.orders", 3)
    assert rested.stale() == {"gold.orders": [3, 5]}
    rested.build("gold.orders", 3)
    assert rested.pending("gold.orders", "silver.payments") == [5]
    rested.build("gold.orders", 5)
    assert (rested.stale(), rested.models()) == ({}, {})


def test_a_reader_of_every_day_is_spared_too(built: Chain) -> None:
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.EVERY),))
    compact(built.lake.table(PAID))
    expire(built, built.lake.table(PAID))
    assert built.stale() == {}

    built.payments((9, 5, 1))
    built.build("silver.payments")
    assert built.stale() == {"gold.orders": TEN}


def test_what_was_read_may_be_a_compaction_itself(built: Chain) -> None:
    """Whoever reads between two compactions has read the rows of both."""
    tables = [built.lake.table(name) for name in (BRONZE, PAYMENTS, SILVER, PAID)]
    for table in tables:
        compact(table)
    built.build("silver.payments")
    built.build("silver.orders", 4)
    built.build("gold.orders", 4)
    for table in tables:
        compact(table)
        compact(table)
        expire(built, table)

    assert (built.stale(), built.models()) == ({}, {})
    built.orders((3, 3, 33))
    assert built.stale() == {"silver.orders": [3]}


def test_a_position_names_the_rows_of_a_compaction(built: Chain) -> None:
    before = built.lake.table(BRONZE).snapshot()
    compacted = compact(built.lake.table(BRONZE))

    built.build("silver.orders", 4)

    found = consumed(built.lake, SILVER)[BRONZE]
    assert found == Consumed(before.sequence_number + 1, compacted, {}, before.id)
    assert built.lake.table(SILVER).progress(f"changes/{BRONZE}")["content"] == before.id


def test_commits_that_bring_progress_alone_are_no_change_either(built: Chain) -> None:
    """As of polls that found nothing: many of them, for longer than snapshots are kept."""
    bronze = built.lake.table(BRONZE)
    for watermark in range(3):
        bronze.append(bronze.scan(limit=0), run_key=f"poll-{watermark}", progress={"load": {"watermark": watermark}})
    compact(bronze)
    expire(built, bronze)

    assert built.stale() == {}


def test_a_compacted_table_that_was_written_to_before_is_not_what_was_read(built: Chain) -> None:
    """Rows came, then a compaction, and the way there has expired: they are not taken for the rows that were read."""
    built.orders((3, 3, 33))
    compact(built.lake.table(BRONZE))
    expire(built, built.lake.table(BRONZE))
    built.payments((9, 5, 1))
    compact(built.lake.table(PAYMENTS))
    expire(built, built.lake.table(PAYMENTS))

    assert 3 in built.stale()["silver.orders"]
    assert built.models() == {"silver.payments": ["bronze.payments"]}


def test_what_is_remembered_does_not_hide_it(built: Chain) -> None:
    memory = Memory()
    built.orders((7, 7, 77))
    built.build("silver.orders", 4)
    assert built.stale(memory)["silver.orders"] == [7]
    compact(built.lake.table(BRONZE))
    expire(built, built.lake.table(BRONZE))

    assert built.stale(memory) == built.stale()
    assert built.stale(memory)["silver.orders"] == [7]
    built.build("silver.orders", 7)
    assert "silver.orders" not in built.stale(memory)


def test_a_restore_to_the_rows_that_were_read_changes_nothing(built: Chain) -> None:
    """The reader has followed the compaction, main goes back to before it: the rows are the same."""
    bronze = built.lake.table(BRONZE)
    before = bronze.snapshot().id
    compact(bronze)
    built.build("silver.orders", 4)
    built.build("gold.orders", 4)

    bronze.restore(bronze.plan_restore(to=before))

    assert built.stale() == {}
