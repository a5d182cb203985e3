"""Which snapshot a reader means: by ref, id, or the time at which main showed it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import BranchMissing, QueryError, SnapshotMissing
from lakehouse.iceberg import Lake, LakeTable, parse_at
from lakehouse.iceberg.refs.at import snapshot_at
from lakehouse.tables import Table, TableName

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Foreign = Callable[[TableName], IcebergTable]


@pytest.fixture
def three(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """A table with three commits, of the orders 1, 2 and 3."""
    table = lake.create(orders)
    for number in (1, 2, 3):
        table.append(rows([number]), run_key=str(number))
    return table


def times(foreign: IcebergTable) -> list[datetime]:
    """When each entry of the log of main's heads was made."""
    return [datetime.fromtimestamp(entry.timestamp_ms / 1000, UTC) for entry in foreign.metadata.snapshot_log]


def test_the_same_snapshot_by_id_tag_branch_and_time(
    three: LakeTable, ids: Ids, foreign: Foreign, orders: Table
) -> None:
    second = three.snapshots()[1]
    other = foreign(orders.name)
    with other.manage_snapshots() as refs:
        refs.create_tag(second.id, "close")
        refs.create_branch(second.id, "run/x")
    for at in (
        "close",
        "run/x",
        second.id,
        second.committed_at,
        second.committed_at.astimezone(timezone(timedelta(hours=5))),
    ):
        assert ids(three, at) == [1, 2], at
    assert ids(three) == [1, 2, 3]


def test_a_time_between_two_commits_shows_the_one_before(
    three: LakeTable, ids: Ids, foreign: Foreign, orders: Table
) -> None:
    first, second, third = times(foreign(orders.name))
    millisecond = timedelta(milliseconds=1)
    assert ids(three, second - millisecond) == ([1] if second > first else [])
    assert ids(three, third + timedelta(days=1)) == [1, 2, 3]
    with pytest.raises(SnapshotMissing, match="was not there yet") as caught:
        ids(three, first - millisecond)
    assert first.isoformat(timespec="milliseconds")[:19] in str(caught.value)


def test_a_time_follows_restores(three: LakeTable, ids: Ids, foreign: Foreign, orders: Table, rows: Rows) -> None:
    before = three.snapshots()[0].committed_at
    first = three.snapshots()[2].id
    with foreign(orders.name).manage_snapshots() as refs:
        refs.rollback_to_snapshot(first)
    restored = times(foreign(orders.name))[-1]
    three.append(rows([4]), run_key="4")
    # What was taken back is what main showed, until it was taken back.
    assert ids(three, before) == [1, 2, 3]
    assert ids(three, restored) == [1]
    assert ids(three) == [1, 4]


def test_a_published_branch_is_seen_from_its_publication_on(lake: Lake, orders: Table, rows: Rows, ids: Ids) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    table.create_branch("run/b")
    written = table.append(rows([2]), run_key="b", branch="run/b").snapshot_id
    at = next(one.committed_at for one in table.snapshots("run/b") if one.id == written)
    assert ids(table, at) == [1]
    table.publish("run/b")
    assert ids(table, datetime.now(UTC) + timedelta(minutes=1)) == [1, 2]


def test_an_expired_snapshot_is_named(three: LakeTable, foreign: Foreign, orders: Table, ids: Ids) -> None:
    first = three.snapshots()[2]
    foreign(orders.name).maintenance.expire_snapshots().by_id(first.id).commit()
    with pytest.raises(SnapshotMissing, match=str(first.id)):
        ids(three, first.id)
    with pytest.raises(SnapshotMissing):
        ids(three, first.committed_at)


@pytest.mark.parametrize("unknown", ["run/none", "x"])
def test_an_unknown_ref_is_named_with_those_there_are(three: LakeTable, unknown: str) -> None:
    with pytest.raises(BranchMissing, match=unknown) as caught:
        three.scan(at=unknown)
    assert "main" in str(caught.value.expected)


def test_only_main_may_be_without_a_snapshot(lake: Lake, orders: Table, foreign: Foreign) -> None:
    table = lake.create(orders)
    metadata = foreign(orders.name).metadata
    assert snapshot_at(orders.name, metadata) is None
    assert table.scan().read_all().num_rows == 0
    for at in (7, datetime.now(UTC)):
        with pytest.raises(SnapshotMissing):
            table.scan(at=at)


def test_a_time_without_a_zone_is_refused(three: LakeTable) -> None:
    with pytest.raises(QueryError, match="no zone"):
        three.scan(at=datetime(2026, 1, 1))  # noqa: DTZ001  (which is the mistake)


def test_what_people_write() -> None:
    assert parse_at("4711") == 4711
    assert parse_at("run/x") == "run/x"
    assert parse_at("2026-01-31T03:00Z") == datetime(2026, 1, 31, 3, tzinfo=UTC)
    assert parse_at("2026-01-31T03:00+02:00") == datetime(2026, 1, 31, 1, tzinfo=UTC)
    for naive in ("2026-01-31", "2026-01-31 03:00"):
        with pytest.raises(QueryError, match="no zone"):
            parse_at(naive)
