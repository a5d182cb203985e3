"""What a table was computed from is known as long as its rows are there: upkeep does not make it forget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.iceberg import consumers, held_for_consumers, read_by
from lakehouse.storage.open import open_store
from lakehouse.tables import TableName

Chain = Any
PAID, PAYMENTS = TableName.parse("silver.payments"), TableName.parse("bronze.payments")
MONTH = timedelta(days=30)


def keep_up(built: Chain) -> None:
    """A compaction, and an expiry a month later that takes the snapshot of the build."""
    table = built.lake.table(PAID)
    table.replace_files([file.path for file in table.live_files()], table.scan(), run_key="compacted")
    store = open_store(built.settings, built.settings.warehouse, None)
    table.expire_snapshots(store, now=datetime.now(UTC) + MONTH)
    assert [snapshot.operation for snapshot in table.snapshots()] == ["replace"]


def test_a_table_is_out_of_date_also_when_the_snapshot_of_its_build_is_gone(built: Chain) -> None:
    keep_up(built)
    assert built.models() == {}

    built.payments((9, 1, 1))

    assert built.models() == {"silver.payments": ["bronze.payments"]}


def test_what_it_has_read_is_held_for_it(built: Chain) -> None:
    read = read_by(built.lake, PAID)[PAYMENTS]
    keep_up(built)
    built.payments((9, 1, 1))

    assert read_by(built.lake, PAID) == {PAYMENTS: read}
    assert consumers(built.lake, PAYMENTS)[PAID] == {read}
    held = held_for_consumers(built.lake, PAYMENTS, now=datetime.now(UTC), at_most=MONTH)
    assert held[PAID] == read
