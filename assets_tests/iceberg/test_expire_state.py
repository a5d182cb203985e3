"""What a table knows survives expiry: run keys, progress, changes, history; and readers are waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import DAY, expire, ids_of, later
from lakehouse.errors import Fenced, SnapshotMissing
from lakehouse.iceberg import KeptFor, Lake, LakeTable, held_for_consumers, read_summary
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(lake: Lake, flat: Table, rows: Rows) -> LakeTable:
    made = lake.create(flat)
    for number in (1, 2, 3):
        made.append(rows([number]), run_key=str(number), progress={"shop": {"w": number}})
    return made


def test_a_run_whose_snapshot_expired_does_not_write_again(
    settings: Settings, table: LakeTable, rows: Rows, ids: Ids
) -> None:
    expire(settings, table)
    for number in (1, 2, 3):
        assert table.append(rows([number]), run_key=str(number), issued_at=LONG_AGO).already_done
    assert not table.append(rows([4]), run_key="4", issued_at=LONG_AGO).already_done
    expire(settings, table)
    assert all(table.append(rows([9]), run_key=str(number)).already_done for number in (1, 2, 3, 4))
    assert ids(table) == [1, 2, 3, 4]


def test_progress_survives_the_expiry_of_every_snapshot_that_told_it(
    settings: Settings, table: LakeTable, foreign: Foreign, rows: Rows, ids: Ids
) -> None:
    """Anchors, finding F: exactly-once state in summaries goes with them (Iceberg's own sink, #17925)."""
    foreign(table.name).append(rows([4]))
    done = expire(settings, table)
    assert (done.snapshots_removed, [snapshot.run_key for snapshot in table.snapshots()]) == (3, [None])
    assert table.progress("shop") == {"w": 3}
    with pytest.raises(Fenced):
        table.append(rows([2]), run_key="zombie", progress={"shop": {"w": 2}}, expected_progress={"shop": {"w": 1}})
    table.append(rows([5]), run_key="5", progress={"shop": {"w": 5}}, expected_progress={"shop": {"w": 3}})
    assert ids(table) == [1, 2, 3, 4, 5]


def test_history_ends_where_it_was_cut_and_goes_on_from_there(settings: Settings, table: LakeTable, rows: Rows) -> None:
    """PyIceberg takes the parent's id from the children of what it removes."""
    old = ids_of(table)
    expire(settings, table)
    (left,) = table.snapshots()
    assert (left.id, left.parent_id, left.sequence_number) == (old[-1], None, 3)
    table.append(rows([4]), run_key="4")
    newer, older = table.snapshots()
    assert (newer.parent_id, newer.sequence_number, older.id) == (left.id, 4, left.id)
    assert table.stats().snapshots == 2


def test_changes_since_a_kept_snapshot_are_told_and_since_an_expired_one_are_not_made_up(
    settings: Settings, table: LakeTable, rows: Rows
) -> None:
    table.overwrite(rows([9]), where=None, run_key="9")
    old = ids_of(table)
    table.append(rows([10]), run_key="10")
    expire(settings, table, held=[old[-1]])
    assert _new(table, old[-1]) == [10]
    with pytest.raises(SnapshotMissing):
        _new(table, old[0])


# --- consumers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(lake: Lake, flat: Table) -> Callable[..., LakeTable]:
    """model(name): a table that others' rows are computed into."""
    return lambda name: lake.create(replace(flat, name=TableName(Layer.GOLD, name)))


def _new(table: LakeTable, since: int) -> list[int]:
    return sorted(table.changes(since=since).rows().read_all()["order_id"].to_pylist())


def reads(model: LakeTable, table: LakeTable, snapshot_id: int, rows: pa.Table) -> None:
    model.append(rows, run_key=f"run {snapshot_id}", summary=read_summary({table.name: snapshot_id}))


def test_what_a_consumer_has_not_read_yet_waits_for_it(
    settings: Settings, lake: Lake, table: LakeTable, model: Callable[..., LakeTable], rows: Rows
) -> None:
    slow, quick, old = model("slow"), model("quick"), ids_of(table)
    reads(slow, table, old[0], rows([1]))
    reads(slow, table, old[1], rows([2]))
    reads(quick, table, old[2], rows([3]))
    held = held_for_consumers(lake, table.name, now=later(), at_most=timedelta(days=30))
    assert held == {slow.name: old[1], quick.name: old[2]}
    plan = table.plan_expiry(now=later(), held=set(held.values()))
    assert plan.kept == {KeptFor.COUNT: 1, KeptFor.CONSUMER: 1}
    expire(settings, table, held=set(held.values()))
    assert ids_of(table) == old[1:]
    assert _new(table, old[1]) == [3]


def test_a_consumer_that_does_not_come_is_not_waited_for_for_ever(
    lake: Lake, table: LakeTable, model: Callable[..., LakeTable], rows: Rows
) -> None:
    slow, quick, old = model("slow"), model("quick"), ids_of(table)
    reads(slow, table, old[0], rows([1]))
    reads(quick, table, old[2], rows([3]))
    # Who has read all there is may come as late as he likes: it is main that did not move.
    assert held_for_consumers(lake, table.name, now=later(31), at_most=30 * DAY) == {quick.name: old[2]}
    table.append(rows([4]), run_key="4")
    assert quick.name in held_for_consumers(lake, table.name, now=later(29), at_most=30 * DAY)


def test_what_main_does_not_hold_is_not_waited_for(
    lake: Lake, table: LakeTable, model: Callable[..., LakeTable], rows: Rows
) -> None:
    reader, old = model("reader"), ids_of(table)
    reads(reader, table, old[2], rows([1]))
    model("other").append(rows([1]), run_key="a")
    table.restore(table.plan_restore(to=old[0]))
    assert held_for_consumers(lake, table.name, now=later(), at_most=30 * DAY) == {}
