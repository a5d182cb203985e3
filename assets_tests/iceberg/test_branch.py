"""Stage, publish, discard: main moves only where its own history leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import BranchMissing, CommitError, PublishConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.refs.swap import swap
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(any_lake: Lake, orders: Table) -> LakeTable:
    return any_lake.create(orders)


def test_a_branch_of_an_empty_table_starts_at_an_empty_snapshot(table: LakeTable, ids: Ids) -> None:
    table.create_branch("run/a")
    assert table.branches() == ("run/a",)
    assert table.snapshots("run/a") == table.snapshots()
    assert [snapshot.operation for snapshot in table.snapshots()] == ["append"]
    assert ids(table, branch="run/a") == []


def test_a_branch_write_moves_neither_main_nor_its_progress(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    table.create_branch("run/b")
    table.append(rows([2]), run_key="b", branch="run/b", progress={"shop": {"w": 2}})
    assert (ids(table), ids(table, branch="run/b")) == ([1], [1, 2])
    assert table.progress("shop") == {"w": 1}
    assert table.progress("shop", "run/b") == {"w": 2}


def test_publish_moves_rows_and_progress_together_and_drops_the_branch(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1]), run_key="a")
    table.create_branch("run/b")
    table.append(rows([2, 3]), run_key="b", branch="run/b", progress={"shop": {"w": 2}})
    table.overwrite(rows([4]), where=None, run_key="c", branch="run/b")
    commit = table.publish("run/b")
    assert (commit.branch, commit.operation) == ("main", "publish")
    assert (commit.rows_added, commit.rows_removed) == (3, 3)
    assert commit.snapshot_id == table.snapshots()[0].id
    assert ids(table) == [4]
    assert table.progress("shop") == {"w": 2}
    assert table.branches() == ()


def test_the_floor_moves_with_main_only(table: LakeTable, foreign: Foreign, rows: Rows) -> None:
    def floor() -> str | None:
        return foreign(table.name).properties.get("lakehouse.progress.shop")

    table.create_branch("run/b")
    table.append(rows([1]), run_key="b", branch="run/b", progress={"shop": {"w": 2}})
    assert floor() is None
    table.publish("run/b")
    assert floor() == '{"w":2}'


def test_publish_is_refused_when_main_moved_and_the_branch_is_kept(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch("run/b")
    table.append(rows([2]), run_key="b", branch="run/b")
    table.append(rows([3]), run_key="c")
    with pytest.raises(PublishConflict, match="run/b"):
        table.publish("run/b")
    assert (ids(table), ids(table, branch="run/b")) == ([3], [2])


def test_main_moving_between_the_check_and_the_swap_is_a_conflict(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.create_branch("run/b")
    table.append(rows([2]), run_key="b", branch="run/b")
    before_swap(monkeypatch, lambda: table.append(rows([3]), run_key="c"))
    with pytest.raises(PublishConflict):
        table.publish("run/b")
    assert ids(table) == [3]


def test_another_branch_moving_meanwhile_is_no_conflict(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    for branch in ("run/b", "run/c"):
        table.create_branch(branch)
    table.append(rows([2]), run_key="b", branch="run/b")

    def late() -> None:
        table.append(rows([3]), run_key="c", branch="run/c")
        raise CommitFailedException("the catalog's row changed")

    before_swap(monkeypatch, late)
    assert table.publish("run/b").rows_added == 1
    assert ids(table) == [2]


def test_a_publish_whose_answer_is_lost_is_done(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.create_branch("run/b")
    table.append(rows([2]), run_key="b", branch="run/b")
    honest = SqlCatalog.commit_table

    def lying(self: SqlCatalog, *arguments: object) -> object:
        monkeypatch.setattr(SqlCatalog, "commit_table", honest)
        honest(self, *arguments)  # type: ignore[arg-type]
        raise ConnectionError("answer lost")

    monkeypatch.setattr(SqlCatalog, "commit_table", lying)
    assert table.publish("run/b").rows_added == 1
    assert ids(table) == [2]
    assert table.branches() == ()


def test_publishing_what_main_already_holds_drops_the_branch(table: LakeTable, rows: Rows) -> None:
    table.append(rows([1]), run_key="a")
    table.create_branch("run/b")
    table.append(rows([2]), run_key="c")
    assert table.publish("run/b").already_done
    assert table.branches() == ()


def test_publishing_a_branch_twice_is_told(table: LakeTable, rows: Rows) -> None:
    table.create_branch("run/b")
    table.append(rows([1]), run_key="b", branch="run/b")
    table.publish("run/b")
    with pytest.raises(BranchMissing):
        table.publish("run/b")


def test_a_discarded_branch_leaves_no_trace(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    table.create_branch("run/b")
    table.append(rows([2]), run_key="b", branch="run/b", progress={"shop": {"w": 2}})
    table.discard("run/b")
    table.discard("run/b")
    assert table.branches() == ()
    assert ids(table) == [1]
    assert table.progress("shop") == {"w": 1}
    assert not table.append(rows([2]), run_key="b").already_done


def test_making_a_branch_again_keeps_what_is_on_it(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch("run/b")
    table.append(rows([1]), run_key="b", branch="run/b")
    table.create_branch("run/b")
    assert ids(table, branch="run/b") == [1]


def test_main_can_be_neither_made_nor_published_nor_discarded(table: LakeTable) -> None:
    for act in (table.create_branch, table.publish, table.discard):
        with pytest.raises(CommitError, match="main"):
            act("main")


def test_a_branch_that_moves_during_its_rebase_stays_as_it_is(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves after its snapshots were made again, and before the swap that would put it on top of them."""
    table.create_branch("run/a")
    table.append(rows([1]), run_key="a", branch="run/a")
    table.append(rows([2]), run_key="b")

    def late(*arguments: Any) -> None:  # noqa: ANN401  (those of swap)
        monkeypatch.undo()
        table.append(rows([3]), run_key="c", branch="run/a")
        swap(*arguments)

    monkeypatch.setattr("lakehouse.iceberg.refs.rebase.swap", late)
    with pytest.raises(PublishConflict):
        table.rebase("run/a")
    assert (ids(table), ids(table, branch="run/a")) == ([2], [1, 3])
    assert table.branches() == ("run/a",)
