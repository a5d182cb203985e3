"""Publish by windows: main takes some days of a branch, in one snapshot, and nothing says that the run is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import BranchMissing, CommitConflict, CommitError, PublishConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.tables import PartitionField, Table, TableName, Window

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Foreign = Callable[[TableName], IcebergTable]
Day = Callable[[int], date]

BRANCH = "run/b"
RUN: Any = {"run_key": "b", "branch": BRANCH}


@pytest.fixture
def table(any_lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """silver.orders with orders 1 and 2 of the first day, in two files."""
    made = any_lake.create(orders)
    made.append(rows([1]), run_key="one")
    made.append(rows([2]), run_key="two", progress={"shop": {"w": 1}})
    return made


def days(day: Day, first: int, last: int) -> list[Window]:
    return [Window.of_days(day(first), day(last))]


@pytest.fixture
def staged(table: LakeTable, rows: Rows, day: Day) -> LakeTable:
    """Days 1 to 3 recomputed on a branch: 10 instead of 1 and 2, 20 and 30 new; progress moved."""
    table.create_branch(BRANCH)
    content = pa.concat_tables([rows([10], day(1)), rows([20], day(2)), rows([30], day(3))])
    table.overwrite(content, where=Window.of_days(day(1), day(3)), **RUN, progress={"shop": {"w": 2}})
    return table


def test_windows_are_published_one_by_one_and_the_rest_is_kept(staged: LakeTable, ids: Ids, day: Day) -> None:
    commit = staged.publish_windows(BRANCH, days(day, 1, 1))
    assert (commit.rows_added, commit.rows_removed, commit.operation) == (1, 2, "overwrite")
    assert (ids(staged), ids(staged, branch=BRANCH)) == ([10], [10, 20, 30])

    head = staged.snapshots()[0]
    assert json.loads(head.summary["lakehouse.published-windows"])["windows"] == [["2026-01-01", "2026-01-02"]]
    # Only a part of the run is on main: it is not done, and loads go on from where they were.
    assert (head.run_key, staged.progress("shop")) == (None, {"w": 1})

    commit = staged.publish_windows(BRANCH, days(day, 2, 2))
    assert (commit.rows_added, commit.operation) == (1, "append")
    assert ids(staged) == [10, 20]
    assert staged.branches() == (BRANCH,)


def test_publishing_windows_twice_does_it_once(staged: LakeTable, ids: Ids, day: Day) -> None:
    staged.publish_windows(BRANCH, days(day, 1, 1))
    head = staged.snapshots()[0].id
    assert staged.publish_windows(BRANCH, days(day, 1, 1)).already_done
    assert staged.snapshots()[0].id == head
    staged.publish_windows(BRANCH, days(day, 1, 2))  # a window that is published in part
    assert ids(staged) == [10, 20]


def test_the_last_window_brings_run_key_and_progress_and_drops_the_branch(
    staged: LakeTable, rows: Rows, ids: Ids, day: Day
) -> None:
    staged.publish_windows(BRANCH, days(day, 2, 3))
    assert staged.progress("shop") == {"w": 1}
    staged.publish_windows(BRANCH, days(day, 1, 1))
    assert ids(staged) == [10, 20, 30]
    assert staged.branches() == ()
    assert staged.progress("shop") == {"w": 2}
    assert staged.append(rows([10]), run_key="b").already_done


def test_days_that_main_changed_are_a_conflict_and_others_are_not(
    staged: LakeTable, rows: Rows, ids: Ids, day: Day
) -> None:
    staged.append(rows([2020], day(2)), run_key="foreign")
    with pytest.raises(PublishConflict, match="2026-01-02"):
        staged.publish_windows(BRANCH, days(day, 1, 3))
    assert ids(staged) == [1, 2, 2020]
    staged.publish_windows(BRANCH, [*days(day, 1, 1), *days(day, 3, 3)])
    assert ids(staged) == [10, 30, 2020]
    with pytest.raises(PublishConflict):
        staged.publish_windows(BRANCH, days(day, 2, 2))


def test_a_day_that_changes_between_plan_and_swap_is_a_conflict(
    staged: LakeTable, rows: Rows, ids: Ids, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_swap(monkeypatch, lambda: staged.append(rows([2020], day(2)), run_key="foreign"))
    with pytest.raises(PublishConflict):
        staged.publish_windows(BRANCH, days(day, 1, 2))
    assert ids(staged) == [1, 2, 2020]


def test_a_whole_publish_after_a_part_does_not_double_it(table: LakeTable, rows: Rows, ids: Ids, day: Day) -> None:
    table.create_branch(BRANCH)
    table.append(pa.concat_tables([rows([20], day(2)), rows([30], day(3))]), **RUN)
    table.publish_windows(BRANCH, days(day, 2, 2))
    with pytest.raises(PublishConflict, match="windows"):
        table.publish(BRANCH, audit=lambda: None)
    table.publish_windows(BRANCH, days(day, 3, 3))
    assert ids(table) == [1, 2, 20, 30]


def test_a_discard_after_a_part_keeps_the_part(staged: LakeTable, ids: Ids, day: Day) -> None:
    staged.publish_windows(BRANCH, days(day, 1, 1))
    staged.discard(BRANCH)
    assert ids(staged) == [10]
    with pytest.raises(BranchMissing):
        staged.publish_windows(BRANCH, days(day, 2, 2))


def test_windows_need_a_window_column(any_lake: Lake, flat: Table, rows: Rows, day: Day) -> None:
    table = any_lake.create(flat)
    table.create_branch(BRANCH)
    table.append(rows([1]), **RUN)
    with pytest.raises(CommitError, match="window"):
        table.publish_windows(BRANCH, days(day, 1, 1))


def test_a_branch_state_says_what_it_would_bring(staged: LakeTable, day: Day) -> None:
    state = staged.branch_state(BRANCH)
    assert (state.ahead, state.behind, state.next, state.appends_only) == (1, 0, True, False)
    assert (state.rows_added, state.rows_removed, state.run_keys) == (3, 2, ("b",))
    assert [(one.window, one.rows_added, one.rows_removed, one.on_main) for one in state.windows] == [
        (Window.of_days(day(1), day(1)), 1, 2, False),
        (Window.of_days(day(2), day(2)), 1, 0, False),
        (Window.of_days(day(3), day(3)), 1, 0, False),
    ]
    staged.publish_windows(BRANCH, days(day, 1, 1))
    state = staged.branch_state(BRANCH)
    assert (state.behind, state.next) == (1, False)
    assert [one.on_main for one in state.windows] == [True, False, False]


def test_two_that_publish_windows_at_once_do_it_once(
    staged: LakeTable, ids: Ids, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_swap(monkeypatch, lambda: staged.publish_windows(BRANCH, days(day, 1, 1)))
    with pytest.raises(CommitConflict):
        staged.publish_windows(BRANCH, days(day, 1, 2))
    assert ids(staged) == [10]
    staged.publish_windows(BRANCH, days(day, 1, 2))
    assert ids(staged) == [10, 20]


def test_a_file_of_days_inside_and_outside_is_refused(any_lake: Lake, orders: Table, rows: Rows, day: Day) -> None:
    table = any_lake.create(replace(orders, partition_by=(PartitionField("order_date", "month"),)))
    table.append(rows([1], day(1)), run_key="a")
    table.create_branch(BRANCH)
    table.append(pa.concat_tables([rows([2], day(2)), rows([3], day(3))]), **RUN)
    with pytest.raises(CommitError, match="inside and outside"):
        table.publish_windows(BRANCH, days(day, 2, 2))
    assert table.publish_windows(BRANCH, days(day, 2, 3)).rows_added == 2


def test_windows_of_a_branch_that_a_restore_took_back_are_refused(staged: LakeTable, ids: Ids, day: Day) -> None:
    staged.restore(staged.plan_restore(before_run="two"))
    with pytest.raises(PublishConflict):
        staged.publish_windows(BRANCH, days(day, 2, 2))
    assert (ids(staged), staged.branches()) == ([1], (BRANCH,))


def test_windows_beside_delete_files_of_another_program_are_refused(
    staged: LakeTable, foreign: Foreign, ids: Ids, day: Day, hide: Callable[..., None]
) -> None:
    """A row that main hides meanwhile would come back with the branch's files, or a file be lost with its deletes."""
    hide(foreign(staged.name), 0)
    left = ids(staged)
    with pytest.raises(PublishConflict):
        staged.publish_windows(BRANCH, days(day, 2, 2))
    assert ids(staged) == left


def test_files_of_two_partitionings_are_published_together(  # noqa: PLR0913, PLR0917  (fixtures)
    any_lake: Lake, orders: Table, rows: Rows, ids: Ids, day: Day, foreign: Foreign
) -> None:
    """Those of the old one are listed by it: the table's own spec has more fields than their partitions have values."""
    table = any_lake.create(orders)
    table.append(rows([1], day(1)), run_key="one")
    table.create_branch(BRANCH)
    table.append(rows([2], day(2)), **RUN)
    table = any_lake.create(replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),)))
    table.append(rows([3], day(3)), **{**RUN, "run_key": "c"})
    table.publish_windows(BRANCH, days(day, 2, 3))
    assert ids(table) == [1, 2, 3]
    manifests = foreign(orders.name).current_snapshot().manifests(foreign(orders.name).io)  # type: ignore[union-attr]
    assert sorted(manifest.partition_spec_id for manifest in manifests) == [0, 0, 1]
