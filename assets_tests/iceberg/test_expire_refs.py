"""Expiry and refs: tags, leases, failed audits, branches in work, and what a restore has undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import DAY, expire, ids_of, later, named, there
from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import BranchMissing, CommitConflict, SnapshotMissing
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName, Window

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """silver.orders after three loads."""
    made = lake.create(orders)
    for number in (1, 2, 3):
        made.append(rows([number]), run_key=str(number), progress={"shop": {"w": number}})
    return made


def read(table: LakeTable, at: str | int) -> list[int]:
    return sorted(table.scan(columns=["order_id"], at=at).read_all()["order_id"].to_pylist())


def test_a_tag_keeps_its_snapshot_with_its_files_for_ever(
    settings: Settings, table: LakeTable, rows: Rows, foreign: Foreign
) -> None:
    old = ids_of(table)
    table.tag("closed/2025", old[1])
    table.overwrite(rows([9]), where=None, run_key="9")
    done = expire(settings, table, days=4000)
    assert (done.snapshots_removed, done.refs_removed) == (2, ())
    assert read(table, "closed/2025") == [1, 2]
    assert there(settings) == named(foreign(table.name))
    table.untag("closed/2025")
    assert expire(settings, table).snapshots_removed == 1
    assert there(settings) == named(foreign(table.name))


def test_a_tag_of_an_age_goes_and_what_it_kept_with_it(
    settings: Settings, table: LakeTable, rows: Rows, foreign: Foreign
) -> None:
    table.tag("week", ids_of(table)[0], max_age=timedelta(days=9))
    table.overwrite(rows([9]), where=None, run_key="9")
    expire(settings, table, days=8)
    assert read(table, "week") == [1]
    (going,) = table.plan_expiry(now=later(10)).refs
    assert (going.name, going.kind, going.limit // DAY) == ("week", "tag", 9)
    assert going.age > going.limit
    assert expire(settings, table, days=10).refs_removed == ("week",)
    assert table.tags() == {}
    assert there(settings) == named(foreign(table.name))


def test_a_reader_with_a_lease_reads_on(settings: Settings, table: LakeTable, rows: Rows, foreign: Foreign) -> None:
    """Iceberg #3772: the snapshot of a reader expired while it read."""
    with table.lease(max_age=timedelta(days=20)) as lease:
        table.overwrite(rows([9]), where=None, run_key="9")
        reader = table.scan(columns=["order_id"], at=lease.snapshot_id)
        expire(settings, table)
        assert sorted(reader.read_all()["order_id"].to_pylist()) == [1, 2, 3]
    expire(settings, table)
    with pytest.raises(SnapshotMissing):
        read(table, lease.snapshot_id)
    assert there(settings) == named(foreign(table.name))


def test_the_lease_of_a_reader_that_died_ends_by_its_age(settings: Settings, table: LakeTable, rows: Rows) -> None:
    head = ids_of(table)[-1]
    table.tag("lease/dead", max_age=timedelta(hours=1))
    table.overwrite(rows([9]), where=None, run_key="9")
    assert expire(settings, table).refs_removed == ("lease/dead",)
    with pytest.raises(SnapshotMissing):
        read(table, head)


def test_a_failed_audit_stays_for_its_time_and_then_goes_with_its_files(
    settings: Settings, table: LakeTable, rows: Rows, foreign: Foreign, ids: Ids
) -> None:
    table.create_branch("run/a")
    table.append(rows([8]), run_key="a", branch="run/a")
    assert expire(settings, table, days=6.9).refs_removed == ()
    assert read(table, "run/a") == [1, 2, 3, 8]
    done = expire(settings, table, days=7.1)
    assert done.refs_removed == ("run/a",)
    assert (table.branches(), ids(table)) == ((), [1, 2, 3])
    assert done.data_files_deleted == 1
    assert there(settings) == named(foreign(table.name))
    # It was never done: the run may come again.
    assert not table.append(rows([8]), run_key="a").already_done


def test_how_long_audits_stay_is_the_callers_choice(settings: Settings, table: LakeTable, rows: Rows) -> None:
    table.create_branch("load/a")
    table.append(rows([8]), run_key="a", branch="load/a")
    assert expire(settings, table, days=20, audits_kept_for=timedelta(days=30)).refs_removed == ()
    assert expire(settings, table, days=2, audits_kept_for=timedelta(days=1)).refs_removed == ("load/a",)


@pytest.mark.parametrize("newer", [0, 2])
def test_a_branch_in_work_is_published_after_an_expiry(  # noqa: PLR0913, PLR0917  (fixtures)
    settings: Settings, table: LakeTable, rows: Rows, foreign: Foreign, ids: Ids, newer: int
) -> None:
    """Main's snapshots are all old; what the branch began at, and main since then, stay with it."""
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({"history.expire.max-snapshot-age-ms": "1"})
    table.create_branch("run/a")
    table.append(rows([8]), run_key="a", branch="run/a", progress={"shop": {"w": 8}})
    for number in range(newer):
        table.append(rows([20 + number]), run_key=f"newer {number}")
    fork = ids_of(table)[2]
    done = expire(settings, table, days=1)
    assert (done.snapshots_removed, ids_of(table)[0]) == (2, fork)
    assert table.branch_state("run/a").ahead == 1
    published = table.publish("run/a", audit=lambda: None)
    assert published.rows_added == 1
    assert ids(table) == [1, 2, 3, 8, *range(20, 20 + newer)]
    assert table.progress("shop") == {"w": 8}
    assert table.append(rows([8]), run_key="a").already_done


def test_a_run_that_begins_on_a_table_nobody_wrote_to_for_months_keeps_its_branch(
    settings: Settings, table: LakeTable, rows: Rows, ids: Ids
) -> None:
    table.create_branch("run/a")
    assert expire(settings, table, days=200).refs_removed == ()
    table.append(rows([8]), run_key="a", branch="run/a")
    table.publish("run/a")
    assert ids(table) == [1, 2, 3, 8]


def test_what_a_restore_has_undone_can_be_had_again_for_its_week(
    settings: Settings, table: LakeTable, foreign: Foreign, ids: Ids
) -> None:
    """The tag of a restore names one snapshot; to undo the restore takes all between it and main."""
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({"history.expire.max-snapshot-age-ms": "1"})
    table.restore(table.plan_restore(to=ids_of(table)[0]))
    (tag,) = table.tags()
    done = expire(settings, table, days=6)
    assert (done.snapshots_removed, done.refs_removed) == (0, ())
    table.restore(table.plan_restore(to=tag))
    assert ids(table) == [1, 2, 3]
    assert table.progress("shop") == {"w": 3}


def test_after_its_week_what_a_restore_has_undone_is_gone(
    settings: Settings, table: LakeTable, foreign: Foreign, ids: Ids
) -> None:
    first = ids_of(table)[0]
    table.restore(table.plan_restore(to=first))
    (tag,) = table.tags()
    done = expire(settings, table, days=8)
    assert (done.snapshots_removed, done.refs_removed, done.data_files_deleted) == (2, (tag,), 2)
    assert (ids_of(table), ids(table)) == ([first], [1])
    assert there(settings) == named(foreign(table.name))


def test_a_target_of_a_restore_that_is_kept_stays_restorable(settings: Settings, table: LakeTable, ids: Ids) -> None:
    second = ids_of(table)[1]
    expire(settings, table, held=[second])
    table.restore(table.plan_restore(to=second))
    assert ids(table) == [1, 2]
    assert table.progress("shop") == {"w": 2}


def test_windows_of_a_branch_that_expires_in_this_moment_are_not_published(  # noqa: PLR0913, PLR0917  (fixtures)
    settings: Settings, table: LakeTable, rows: Rows, foreign: Foreign, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else main would name data files that the expiry deletes."""
    day = date(2026, 1, 2)
    table.create_branch("run/a")
    table.append(rows([8], day), run_key="a", branch="run/a")
    before_swap(monkeypatch, lambda: expire(settings, table))
    with pytest.raises(BranchMissing):
        table.publish_windows("run/a", [Window.of_days(day, day)])
    assert ids(table) == [1, 2, 3]
    assert named(foreign(table.name)) <= there(settings)


def test_windows_of_a_branch_that_is_written_to_in_this_moment_are_not_published(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = date(2026, 1, 2)
    table.create_branch("run/a")
    table.append(rows([8], day), run_key="a", branch="run/a")
    before_swap(monkeypatch, lambda: table.append(rows([9], day), run_key="b", branch="run/a"))
    with pytest.raises(CommitConflict, match="moved while windows"):
        table.publish_windows("run/a", [Window.of_days(day, day)])
    assert ids(table) == [1, 2, 3]
