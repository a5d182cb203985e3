"""Publish over a proved rewrite of main: it needs no new audit, and lets nothing else slip through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT

from assets_tests.iceberg.audited import BRANCH, RUN, Audits, files
from assets_tests.iceberg.stored import copy_of
from lakehouse.errors import BranchMissing, CatalogError, PublishConflict
from lakehouse.iceberg import Commit, Lake, LakeTable
from lakehouse.iceberg.refs.branch import create_branch
from lakehouse.iceberg.refs.rebase import rebase
from lakehouse.storage.paths import local_path
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(any_lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """silver.orders with orders 1 and 2 in two files, and order 10 on a branch."""
    made = any_lake.create(orders)
    made.append(rows([1]), run_key="one")
    made.append(rows([2]), run_key="two")
    made.create_branch(BRANCH)
    made.append(rows([10]), **RUN)
    return made


@pytest.fixture
def audit(table: LakeTable, ids: Ids) -> Audits:
    return Audits(table, ids)


def compact(table: LakeTable, foreign: Foreign, rows: Iterable[int], make: Rows, key: str) -> None:
    """Put main's rows into one file, with proof."""
    table.replace_files(files(table, foreign), make(rows), run_key=key)


class _Rewrite(_OverwriteFiles):
    """Another program's compaction: PyIceberg has none, and counts nothing for one."""

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        return Summary(Operation.REPLACE, **snapshot_properties)


def rewrite_badly(iceberg: IcebergTable) -> None:
    """Put two copies in the place of a data file, and call it a `replace`."""
    old = next(iter(iceberg.scan().plan_files())).file
    transaction = iceberg.transaction()
    rewrite = _Rewrite(operation=Operation.REPLACE, transaction=transaction, io=iceberg.io)
    rewrite.delete_data_file(old)
    for number in range(2):
        rewrite.append_data_file(copy_of(old, f"{old.file_path}-{number}.parquet"))
    rewrite.commit()
    transaction.commit_transaction()


def before_rebase(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, after a publish has looked at main and before it puts the branch on top of it."""
    honest = rebase

    def late(*arguments: Any, **named: Any) -> Commit:  # noqa: ANN401  (those of rebase)
        monkeypatch.setattr("lakehouse.iceberg.refs.publish.rebase", honest)
        act()
        return honest(*arguments, **named)

    monkeypatch.setattr("lakehouse.iceberg.refs.publish.rebase", late)


def test_a_proved_rewrite_of_main_needs_no_new_audit(
    table: LakeTable, foreign: Foreign, audit: Audits, rows: Rows, ids: Ids
) -> None:
    compact(table, foreign, [1, 2], rows, "compaction")

    table.publish(BRANCH, audit=audit)

    assert audit.seen == []
    assert ids(table) == [1, 2, 10]
    assert len(files(table, foreign)) == 2
    table.create_branch(BRANCH)
    table.append(rows([11]), run_key="c", branch=BRANCH)
    compact(table, foreign, [1, 2, 10], rows, "again")
    table.publish(BRANCH)  # nor an audit at all
    assert ids(table) == [1, 2, 10, 11]


def test_rows_that_come_beside_a_proved_rewrite_are_audited(
    table: LakeTable, foreign: Foreign, audit: Audits, rows: Rows
) -> None:
    compact(table, foreign, [1, 2], rows, "compaction")
    table.append(rows([3]), run_key="three")
    with pytest.raises(PublishConflict):
        table.publish(BRANCH)
    table.publish(BRANCH, audit=audit)
    assert audit.seen == [[1, 2, 3, 10]]


def test_a_rewrite_without_proof_spares_no_audit(table: LakeTable, foreign: Foreign, audit: Audits, ids: Ids) -> None:
    rewrite_badly(foreign(table.name))
    twice = ids(table)
    assert twice in ([1, 1, 2], [1, 2, 2])
    with pytest.raises(PublishConflict):
        table.publish(BRANCH)
    assert ids(table) == twice
    table.publish(BRANCH, audit=audit)
    assert audit.seen == [[*twice, 10]]


def test_main_moving_once_more_during_the_rebase_is_no_gap_for_a_proof(
    table: LakeTable, foreign: Foreign, audit: Audits, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(table, foreign, [1, 2], rows, "compaction")
    before_rebase(monkeypatch, lambda: table.append(rows([3]), run_key="three"))
    for _ in range(2):
        with pytest.raises(PublishConflict):
            table.publish(BRANCH)
    table.publish(BRANCH, audit=audit)
    assert audit.seen == [[1, 2, 3, 10]]


def test_what_comes_to_the_branch_beside_a_proved_rewrite_is_not_published(
    foreign: Foreign, audit: Audits, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, ids = audit.table, audit.ids
    compact(table, foreign, [1, 2], rows, "compaction")
    before_rebase(monkeypatch, lambda: table.append(rows([11]), run_key="late", branch=BRANCH))
    with pytest.raises(PublishConflict):
        table.publish(BRANCH, audit=audit)
    assert (ids(table), ids(table, branch=BRANCH)) == ([1, 2], [1, 2, 10, 11])
    assert set(foreign(table.name).refs()) == {"main", BRANCH}


def test_files_that_another_program_has_brought_to_main_are_not_published_a_second_time(
    table: LakeTable, foreign: Foreign, audit: Audits, ids: Ids, rows: Rows
) -> None:
    """Spark's cherrypick_snapshot appends the very files of a branch; putting the branch on top would double them."""
    iceberg = foreign(table.name)
    mine = {task.file.file_path for task in iceberg.scan().plan_files()}
    staged = [task.file for task in iceberg.scan().use_ref(BRANCH).plan_files() if task.file.file_path not in mine]
    with iceberg.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        append.append_data_file(staged[0])
    with pytest.raises(PublishConflict, match="whose files main has not"):
        table.publish(BRANCH, audit=audit)
    assert ids(table) == [1, 2, 10]
    assert table.branches() == (BRANCH,)
    table.overwrite(rows([3]), where=None, run_key="after")
    assert ids(table) == [3]


def test_a_branch_whose_files_go_while_it_is_put_on_top_of_main_is_missing(
    table: LakeTable, foreign: Foreign, audit: Audits, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expiry drops a branch that nobody has worked on for long, and deletes its files."""
    table.append(rows([3]), run_key="three")
    head = foreign(table.name).metadata.snapshot_by_name(BRANCH)
    assert head is not None

    def scratch(*arguments: Any) -> None:  # noqa: ANN401  (those of create_branch)
        monkeypatch.undo()
        table.discard(BRANCH)
        local_path(head.manifest_list).unlink()
        create_branch(*arguments)

    monkeypatch.setattr("lakehouse.iceberg.refs.rebase.create_branch", scratch)
    with pytest.raises(BranchMissing):
        table.publish(BRANCH, audit=audit)
    assert [*foreign(table.name).metadata.refs] == ["main"]
    assert foreign(table.name).scan().to_arrow().num_rows == len([1, 2, 3])


def test_a_branch_that_lost_a_file_is_said_and_kept(
    table: LakeTable, foreign: Foreign, audit: Audits, rows: Rows, ids: Ids
) -> None:
    table.append(rows([3]), run_key="three")
    head = foreign(table.name).metadata.snapshot_by_name(BRANCH)
    assert head is not None
    local_path(head.manifest_list).unlink()
    with pytest.raises(CatalogError, match="is gone"):
        table.publish(BRANCH, audit=audit)
    assert (ids(table), table.branches()) == ([1, 2, 3], (BRANCH,))
