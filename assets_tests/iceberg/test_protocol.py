"""The commit protocol: progress, fencing, run keys; on both kinds of catalog."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.overtaking import during
from lakehouse.errors import BranchMissing, CatalogError, CommitConflict, CommitError, Fenced
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.produce import ChangeProducer
from lakehouse.iceberg.selection.where import Selection
from lakehouse.tables import Table, TableName, Window

Day = Callable[[int], date]
Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(any_lake: Lake, orders: Table) -> LakeTable:
    return any_lake.create(orders)


@pytest.fixture
def plain(any_lake: Lake, flat: Table) -> LakeTable:
    """Without partitions: PyIceberg by itself cannot write the others here."""
    return any_lake.create(flat)


def test_the_same_run_key_writes_nothing(table: LakeTable, rows: Rows, ids: Ids) -> None:
    first = table.append(rows([1, 2]), run_key="a")
    again = table.append(rows([1, 2]), run_key="a")
    assert again.already_done
    assert not first.already_done
    assert (again.snapshot_id, again.rows_added) == (first.snapshot_id, 2)
    assert ids(table) == [1, 2]
    assert len(table.snapshots()) == 1


def test_the_same_run_key_landing_while_rows_are_written_is_found_at_the_commit(
    table: LakeTable, rows: Rows, ids: Ids
) -> None:
    act = lambda: table.append(rows([1]), run_key="a")  # noqa: E731
    assert table.append(during(rows([1]), act), run_key="a").already_done
    assert ids(table) == [1]


def test_a_stale_writer_of_another_scope_lands_and_carries_both_scopes(table: LakeTable, rows: Rows, ids: Ids) -> None:
    def other() -> None:
        table.append(rows([2]), run_key="b", progress={"kafka": {"offset": 5}})

    late = table.append(
        during(rows([1]), other),
        run_key="a",
        progress={"shop": {"w": 1}},
        expected_progress={"shop": None},
    )
    assert late.retries == 1
    assert table.progress("shop") == {"w": 1}
    assert table.progress("kafka") == {"offset": 5}
    assert ids(table) == [1, 2]


def test_a_zombie_is_fenced_at_its_retry(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    expected: dict[str, Any] = {"progress": {"shop": {"w": 2}}, "expected_progress": {"shop": {"w": 1}}}

    def other() -> None:
        table.append(rows([2]), run_key="b", **expected)

    with pytest.raises(Fenced, match="shop"):
        table.append(during(rows([2]), other), run_key="zombie", **expected)
    assert ids(table) == [1, 2]
    assert table.progress("shop") == {"w": 2}


def test_a_fenced_writer_does_not_even_read_its_rows(table: LakeTable, rows: Rows) -> None:
    def unread() -> None:
        pytest.fail("the rows were read")

    with pytest.raises(Fenced):
        table.append(during(rows([1]), unread), run_key="a", expected_progress={"shop": {"w": 9}})


def test_nothing_new_is_no_commit(table: LakeTable, rows: Rows) -> None:
    assert table.append(rows([]), run_key="a").operation == "none"
    assert table.overwrite(rows([]), where=None, run_key="b").snapshot_id is None
    assert table.snapshots() == ()


def test_an_overwrite_is_one_snapshot(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}})
    commit = table.overwrite(rows([3]), where=None, run_key="b")
    assert (commit.operation, commit.rows_added, commit.rows_removed) == ("overwrite", 1, 2)
    assert (commit.files_added, commit.files_removed) == (1, 1)
    assert [snapshot.operation for snapshot in table.snapshots()] == ["overwrite", "append"]
    assert ids(table) == [3]
    assert table.progress("shop") == {"w": 1}


def test_an_overwrite_by_nothing_empties_the_table(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.append(rows([1, 2]), run_key="a")
    assert table.overwrite(rows([]), where=None, run_key="b").rows_removed == 2
    assert ids(table) == []
    assert table.stats().rows == 0


def test_an_overwrite_of_the_table_conflicts_with_a_concurrent_append(table: LakeTable, rows: Rows, ids: Ids) -> None:
    def other() -> None:
        table.append(rows([2]), run_key="b")

    with pytest.raises(CommitConflict):
        table.overwrite(during(rows([1]), other), where=None, run_key="a")
    assert ids(table) == [2]


def test_a_branch_that_vanishes_is_not_made_again_by_the_retry(table: LakeTable, rows: Rows) -> None:
    table.create_branch("run/a")
    with pytest.raises(BranchMissing):
        table.append(during(rows([1]), lambda: table.discard("run/a")), run_key="a", branch="run/a")
    assert table.branches() == ()


def test_writing_to_a_missing_branch_is_refused(table: LakeTable, rows: Rows) -> None:
    with pytest.raises(BranchMissing, match="run/x"):
        table.append(rows([1]), run_key="a", branch="run/x")


@pytest.mark.parametrize("answer", [CommitFailedException("409 though it landed"), ConnectionError("answer lost")])
def test_a_commit_that_landed_in_spite_of_its_answer_is_recognised(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch, answer: Exception
) -> None:
    honest = SqlCatalog.commit_table

    def lying(self: SqlCatalog, *arguments: object) -> object:
        honest(self, *arguments)  # type: ignore[arg-type]
        raise answer

    monkeypatch.setattr(SqlCatalog, "commit_table", lying)
    commit = table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    monkeypatch.undo()
    assert commit.rows_added == 1
    assert ids(table) == [1]  # the manifests are there
    assert table.progress("shop") == {"w": 1}


def test_an_unknown_outcome_deletes_nothing_and_is_recognised_by_the_next_run(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SqlCatalog.commit_table

    def landing_then_dark(self: SqlCatalog, *arguments: object) -> object:
        honest(self, *arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(SqlCatalog, "load_table", dark)
        raise CommitFailedException("409 though it landed")

    def dark(_self: SqlCatalog, _identifier: object) -> object:
        raise ConnectionError("no route")

    monkeypatch.setattr(SqlCatalog, "commit_table", landing_then_dark)
    with pytest.raises(CatalogError, match="not known"):
        table.append(rows([1]), run_key="a")
    monkeypatch.undo()
    assert table.append(rows([1]), run_key="a").already_done
    assert ids(table) == [1]


def test_two_branches_written_at_once_both_land(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch("run/a")
    table.create_branch("run/b")

    def other() -> None:
        table.append(rows([2]), run_key="b", branch="run/b")

    commit = table.append(during(rows([1]), other), run_key="a", branch="run/a")
    assert commit.retries == 1
    assert (ids(table, branch="run/a"), ids(table, branch="run/b"), ids(table)) == ([1], [2], [])


def test_disjoint_windows_overwritten_at_once_both_land(table: LakeTable, rows: Rows, ids: Ids, day: Day) -> None:
    table.append(pa.concat_tables([rows([1], day(1)), rows([2], day(2))]), run_key="a")

    def other() -> None:
        table.overwrite(rows([20], day(2)), where=Window.of_days(day(2), day(2)), run_key="b")

    mine = during(rows([10], day(1)), other)
    assert table.overwrite(mine, where=Window.of_days(day(1), day(1)), run_key="c").retries == 1
    assert ids(table) == [10, 20]


def test_the_same_window_overwritten_at_once_conflicts(table: LakeTable, rows: Rows, ids: Ids, day: Day) -> None:
    window = Window.of_days(day(1), day(1))
    table.append(rows([1], day(1)), run_key="a")

    def other() -> None:
        table.overwrite(rows([20], day(1)), where=window, run_key="b")

    with pytest.raises(CommitConflict):
        table.overwrite(during(rows([10], day(1)), other), where=window, run_key="c")
    assert ids(table) == [20]


def test_a_table_dropped_meanwhile_is_an_error_of_ours(any_lake: Lake, table: LakeTable, rows: Rows) -> None:
    with pytest.raises((CatalogError, CommitConflict)):
        table.append(during(rows([1]), lambda: any_lake.drop(table.name)), run_key="a")


def test_replaced_files_are_as_old_as_the_newest_of_their_rows(
    plain: LakeTable, foreign: Foreign, flat: Table, rows: Rows
) -> None:
    """Then a delete by value applies to the rows that it applied to before, and to no others."""
    plain.append(rows([1]), run_key="a")
    plain.append(rows([2]), run_key="b")
    old = [task.file.file_path for task in foreign(flat.name).scan().plan_files()]
    plain.append(rows([3]), run_key="c")
    plain.replace_files(old, rows([1, 2]), run_key="d")
    entries = foreign(flat.name).inspect.entries().to_pylist()
    assert sorted(entry["sequence_number"] for entry in entries if entry["status"] != 2) == [2, 3]


def test_a_table_of_icebergs_version_3_is_not_written(
    plain: LakeTable, foreign: Foreign, flat: Table, rows: Rows
) -> None:
    plain.append(rows([1]), run_key="a")
    metadata = foreign(flat.name).metadata.model_copy(update={"format_version": 3})
    with pytest.raises(CommitError, match="only read"):
        Intent(flat.name, run_key="b").check(metadata)


def test_a_snapshot_that_would_lose_a_file_is_not_committed(
    table: LakeTable, rows: Rows, ids: Ids, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own list of manifests is counted before it is committed, whatever went wrong on the way."""
    table.append(pa.concat_tables([rows([1], day(1)), rows([2], day(2))]), run_key="a")
    monkeypatch.setattr(ChangeProducer, "_existing_manifests", lambda _self: [])
    with pytest.raises(CommitError, match="files that it must"):
        table.delete(Window.of_days(day(1), day(1)), run_key="b")
    assert ids(table) == [1, 2]


def test_rows_that_must_stay_are_proved_to_be_there(
    plain: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.append(rows([1, 2, 3]), run_key="a")
    monkeypatch.setattr(Selection, "without", lambda _self, batch: batch.slice(0, 1))
    with pytest.raises(CommitError, match="could not be proved"):
        plain.delete("order_id = 1", run_key="b")
    assert ids(plain) == [1, 2, 3]
