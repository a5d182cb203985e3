"""Publish: only what was audited comes to main, whatever main and other people do meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.audited import BRANCH, RUN, Audits, files
from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import BranchMissing, LoadRejected, PublishConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(any_lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """silver.orders with orders 1 and 2 of the first day, in two files."""
    made = any_lake.create(orders)
    made.append(rows([1]), run_key="one")
    made.append(rows([2]), run_key="two", progress={"shop": {"w": 1}})
    return made


@pytest.fixture
def audits(table: LakeTable, ids: Ids) -> Audits:
    return Audits(table, ids)


def test_appends_are_put_on_top_of_a_main_that_moved_and_audited_again(
    table: LakeTable, foreign: Foreign, audits: Audits, rows: Rows, ids: Ids
) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN, progress={"erp": {"w": 5}}, summary={"lakehouse.note": "kept"})
    (staged,) = set(files(table, foreign, BRANCH)) - set(files(table, foreign))
    table.append(rows([3]), run_key="three", progress={"shop": {"w": 2}})

    commit = table.publish(BRANCH, audit=audits)

    assert audits.seen == [[1, 2, 3, 10]]
    assert (commit.operation, commit.rows_added) == ("publish", 1)
    assert ids(table) == [1, 2, 3, 10]
    assert staged in files(table, foreign)  # the same file, nothing was written again
    head = table.snapshots()[0]
    assert (head.id, head.run_key, head.summary["lakehouse.note"]) == (commit.snapshot_id, "b", "kept")
    assert (table.progress("shop"), table.progress("erp")) == ({"w": 2}, {"w": 5})
    assert foreign(table.name).properties["lakehouse.progress.erp"] == '{"w":5}'
    assert table.branches() == ()
    assert table.append(rows([10]), run_key="b").already_done
    assert set(foreign(table.name).refs()) == {"main"}


def test_every_snapshot_of_a_rebased_branch_keeps_its_own_run_key(table: LakeTable, audits: Audits, rows: Rows) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), run_key="x", branch=BRANCH, progress={"erp": {"w": 1}})
    table.append(
        rows([11]), run_key="y", branch=BRANCH, progress={"erp": {"w": 2}}, expected_progress={"erp": {"w": 1}}
    )
    table.append(rows([3]), run_key="three")

    assert table.publish(BRANCH, audit=audits).rows_added == 2
    assert [snapshot.run_key for snapshot in table.snapshots()][:3] == ["y", "x", "three"]
    assert table.progress("erp") == {"w": 2}


def test_without_an_audit_nothing_is_put_on_top_of_new_rows(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    head = table.snapshots(BRANCH)[0].id
    table.append(rows([3]), run_key="three")
    for _ in range(2):
        with pytest.raises(PublishConflict, match="run/b"):
            table.publish(BRANCH)
    assert ids(table) == [1, 2, 3]
    assert table.snapshots(BRANCH)[0].id == head


def test_other_work_is_not_put_on_top_but_run_again(table: LakeTable, audits: Audits, rows: Rows, ids: Ids) -> None:
    table.create_branch(BRANCH)
    table.overwrite(rows([10]), where=None, **RUN)
    table.append(rows([3]), run_key="three")

    with pytest.raises(PublishConflict) as caught:
        table.publish(BRANCH, audit=audits)

    assert "run again" in caught.value.remedy
    assert audits.seen == []
    assert (ids(table), ids(table, branch=BRANCH)) == ([1, 2, 3], [10])
    table.discard(BRANCH)
    table.create_branch(BRANCH)
    assert table.overwrite(rows([10]), where=None, **RUN).rows_removed == 3
    table.publish(BRANCH, audit=audits)
    assert ids(table) == [10]


def test_an_audit_that_fails_after_the_rebase_publishes_nothing(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    table.append(rows([3]), run_key="three")

    def audit() -> None:
        raise LoadRejected("3 and 10 do not go together", remedy="Mend one.")

    with pytest.raises(LoadRejected):
        table.publish(BRANCH, audit=audit)
    assert (ids(table), ids(table, branch=BRANCH)) == ([1, 2, 3], [1, 2, 3, 10])


def test_after_three_rounds_the_branch_is_left(table: LakeTable, audits: Audits, rows: Rows, ids: Ids) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    table.append(rows([3]), run_key="m3")
    audits.during = [
        lambda number=number: table.append(rows([number]), run_key=f"m{number}") for number in (4, 5, 6, 7)
    ]

    with pytest.raises(PublishConflict):
        table.publish(BRANCH, audit=audits)

    assert len(audits.seen) == 3
    assert 10 not in ids(table)
    assert table.branches() == (BRANCH,)
    audits.during = []
    table.publish(BRANCH, audit=audits)
    assert ids(table) == [1, 2, 3, 4, 5, 6, 10]


def test_what_comes_to_the_branch_during_its_audit_is_not_published(
    table: LakeTable, audits: Audits, rows: Rows, ids: Ids
) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    table.append(rows([3]), run_key="three")
    audits.during = [lambda: table.append(rows([11]), run_key="late", branch=BRANCH)]
    with pytest.raises(PublishConflict, match="run/b"):
        table.publish(BRANCH, audit=audits)
    assert ids(table) == [1, 2, 3]


@pytest.mark.parametrize("again", [False, True], ids=["gone", "made anew"])
def test_a_branch_discarded_during_its_audit_is_not_published(
    table: LakeTable, audits: Audits, rows: Rows, ids: Ids, *, again: bool
) -> None:
    def discard() -> None:
        table.discard(BRANCH)
        if again:
            table.create_branch(BRANCH)
            table.append(rows([11]), run_key="other", branch=BRANCH)

    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    table.append(rows([3]), run_key="three")
    audits.during = [discard]
    with pytest.raises(PublishConflict if again else BranchMissing):
        table.publish(BRANCH, audit=audits)
    assert ids(table) == [1, 2, 3]


def test_discard_in_the_moment_of_the_swap_wins(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    before_swap(monkeypatch, lambda: table.discard(BRANCH))
    with pytest.raises(BranchMissing):
        table.publish(BRANCH)
    assert ids(table) == [1, 2]


def test_work_that_comes_to_the_branch_right_after_its_publish_is_kept(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    # The first moves main, the second should drop the branch.
    before_swap(monkeypatch, lambda: table.append(rows([11]), run_key="next", branch=BRANCH), number=2)
    table.publish(BRANCH)
    assert (ids(table), ids(table, branch=BRANCH)) == ([1, 2, 10], [1, 2, 10, 11])


def test_progress_that_main_moved_itself_is_not_overwritten(
    table: LakeTable, audits: Audits, rows: Rows, ids: Ids
) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN, progress={"shop": {"w": 7}})
    table.append(rows([3]), run_key="three", progress={"shop": {"w": 2}})
    with pytest.raises(PublishConflict, match="progress"):
        table.publish(BRANCH, audit=audits)
    assert table.progress("shop") == {"w": 2}
    assert (ids(table), audits.seen) == ([1, 2, 3], [])


def test_a_run_that_main_has_already_is_not_doubled(table: LakeTable, audits: Audits, rows: Rows, ids: Ids) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    table.append(rows([10]), run_key="b")
    assert table.publish(BRANCH, audit=audits).already_done
    assert ids(table) == [1, 2, 10]
    assert table.branches() == ()


def test_a_branch_made_before_a_restore_does_not_bring_back_what_was_undone(
    table: LakeTable, audits: Audits, rows: Rows, ids: Ids
) -> None:
    first = table.snapshots()[1].id
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    table.restore(table.plan_restore(to=first))

    with pytest.raises(PublishConflict, match="taken back"):
        table.publish(BRANCH)
    assert ids(table) == [1]

    table.publish(BRANCH, audit=audits)
    assert audits.seen == [[1, 10]]
    assert ids(table) == [1, 10]


def test_a_failed_audit_then_the_same_load_again(table: LakeTable, rows: Rows, ids: Ids) -> None:
    def load() -> None:
        table.create_branch(BRANCH)
        table.append(rows([10]), **RUN, progress={"shop": {"w": 2}}, expected_progress={"shop": table.progress("shop")})

    load()
    table.discard(BRANCH)  # what failed its audit is given up
    assert (table.progress("shop"), ids(table)) == ({"w": 1}, [1, 2])
    load()
    table.publish(BRANCH)
    assert (table.progress("shop"), ids(table)) == ({"w": 2}, [1, 2, 10])


def test_rebase_of_a_branch_on_mains_head_changes_nothing(table: LakeTable, rows: Rows) -> None:
    table.create_branch(BRANCH)
    table.append(rows([10]), **RUN)
    head = table.snapshots(BRANCH)[0].id
    assert table.rebase(BRANCH).operation == "none"
    assert table.snapshots(BRANCH)[0].id == head
