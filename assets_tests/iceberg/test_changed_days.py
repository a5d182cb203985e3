"""The days that changes touch, told by metadata alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.stored import paths
from lakehouse.errors import CommitError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.tables import Table, TableName, Window

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]
D1, D2, D3 = (date(2026, 1, number) for number in (1, 2, 3))


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Orders 1 to 4 on the first day, 5 on the second."""
    table = lake.create(orders)
    table.append(rows([1, 2, 3, 4], D1), run_key="1")
    table.append(rows([5], D2), run_key="2")
    return table


def test_changed_days_come_from_metadata_alone(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    above = table.snapshots()[0].sequence_number
    assert table.changed_days(above).days == ()
    table.append(rows([6], D3), run_key="3")
    table.overwrite(rows([1, 2], D1), where=Window.of_days(D1, D1), run_key="4")
    table.delete(Window.of_days(D2, D2), run_key="5")
    for path in paths(foreign(orders.name)):
        Path(path.removeprefix("file://")).unlink()
    found = table.changed_days(above)
    assert (found.days, found.complete) == ((D1, D2, D3), True)
    assert table.changed_days(0).days == (D1, D2, D3)


def test_compaction_changes_no_day(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    table.append(rows([6], D1), run_key="3")
    above = table.snapshots()[0].sequence_number
    table.replace_files(paths(foreign(orders.name), D1), rows([1, 2, 3, 4, 6], D1), run_key="4")
    assert table.changed_days(above).days == ()
    # Seen from before the append, it is still the append's day.
    assert table.changed_days(above - 1).days == (D1,)


def test_changed_days_are_answered_after_expiry(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    above = table.snapshots()[0].sequence_number
    table.append(rows([6], D3), run_key="3")
    table.delete(Window.of_days(D2, D2), run_key="4")
    table.append(rows([7], D3), run_key="5")
    old = [snapshot.id for snapshot in table.snapshots()[1:]]
    foreign(orders.name).maintenance.expire_snapshots().by_ids(old).commit()
    found = table.changed_days(above)
    # The second day lost its only file, and the snapshot that says so is gone.
    assert (found.days, found.complete) == ((D3,), False)


def test_a_table_without_a_window_has_no_days(lake: Lake, flat: Table, rows: Rows) -> None:
    table = lake.create(flat)
    since = table.append(rows([1]), run_key="a").snapshot_id
    assert since is not None
    table.append(rows([2]), run_key="b")
    with pytest.raises(CommitError, match="window"):
        _ = table.changes(since).days
    with pytest.raises(CommitError, match="window"):
        table.changed_days(1)
