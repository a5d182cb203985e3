"""Replace: other files for the same rows, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.overtaking import during
from assets_tests.iceberg.stored import paths
from lakehouse.errors import CommitConflict, CommitError, SchemaMismatch
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Hide = Callable[..., None]


@pytest.fixture
def table(lake: Lake, orders: Table) -> LakeTable:
    return lake.create(orders)


def proof(table: LakeTable) -> dict[str, int]:
    return dict(json.loads(table.snapshots()[0].summary["lakehouse.proof"]))


def test_replaced_files_hold_the_same_rows(table: LakeTable, rows: Rows, ids: Ids, foreign: Foreign) -> None:
    for number in (1, 2, 3):
        table.append(rows([number]), run_key=f"{number}")
    old = paths(foreign(table.name))
    commit = table.replace_files(old[:2], rows([3, 2]), run_key="compact")
    assert (commit.operation, commit.files_removed, commit.files_added) == ("replace", 2, 1)
    assert (commit.rows_added, commit.rows_removed, commit.rows_rewritten) == (0, 0, 2)
    assert ids(table) == [1, 2, 3]
    assert proof(table) == {"read": 2, "kept": 2, "removed": 0, "whole": 0}
    summary = table.snapshots()[0].summary
    assert (summary["total-records"], summary["total-data-files"]) == ("3", "2")
    entries = foreign(table.name).inspect.entries().to_pylist()
    written = [entry for entry in entries if entry["snapshot_id"] == commit.snapshot_id and entry["status"] == 1]
    # The highest of its inputs, not that of the snapshot (4).
    assert [entry["sequence_number"] for entry in written] == [3]


def test_another_number_of_rows_is_refused(table: LakeTable, rows: Rows, settings: Settings, foreign: Foreign) -> None:
    table.append(rows([1, 2]), run_key="a")
    before = set((settings.state / "warehouse").rglob("*.parquet"))
    for wrong in ([1], [1, 2, 3]):
        with pytest.raises(CommitError, match="not as many"):
            table.replace_files(paths(foreign(table.name)), rows(wrong), run_key="b")
    assert len(table.snapshots()) == 1
    assert set((settings.state / "warehouse").rglob("*.parquet")) == before


def test_files_that_are_gone_conflict(table: LakeTable, rows: Rows, ids: Ids, foreign: Foreign) -> None:
    table.append(rows([1, 2]), run_key="a")
    old = paths(foreign(table.name))

    def other() -> None:
        table.delete("order_id = 1", run_key="b")

    with pytest.raises(CommitConflict, match="came or went"):
        table.replace_files(old, during(rows([1, 2]), other), run_key="c")
    with pytest.raises(CommitConflict, match="1 of 1 files"):
        table.replace_files(old, rows([1, 2]), run_key="d")
    assert ids(table) == [2]


def test_an_append_meanwhile_does_not_conflict_with_a_replace(
    table: LakeTable, rows: Rows, ids: Ids, foreign: Foreign
) -> None:
    table.append(rows([1, 2]), run_key="a")
    given_rows = during(rows([1, 2]), lambda: table.append(rows([3]), run_key="b"))
    assert table.replace_files(paths(foreign(table.name)), given_rows, run_key="c").retries == 1
    assert ids(table) == [1, 2, 3]


def test_a_row_deleted_before_or_while_a_replace_runs_stays_deleted(
    table: LakeTable, rows: Rows, ids: Ids, foreign: Foreign, hide: Hide
) -> None:
    table.append(rows([1, 2, 3]), run_key="a")
    old = paths(foreign(table.name))
    hide(foreign(table.name), 0)

    def other() -> None:
        hide(foreign(table.name), 1)
        table.append(rows([9]), run_key="b")

    with pytest.raises(CommitConflict):
        table.replace_files(old, during(rows([2, 3]), other), run_key="c")
    assert ids(table) == [3, 9]
    with pytest.raises(CommitError, match="not as many"):
        table.replace_files(old, rows([1, 2, 3]), run_key="d")
    table.replace_files(old, rows([3]), run_key="d")
    assert ids(table) == [3, 9]
    assert table.snapshots()[0].summary["total-delete-files"] == "0"


def test_replacing_no_files_is_no_commit(table: LakeTable, rows: Rows) -> None:
    table.append(rows([1]), run_key="a")
    assert table.replace_files([], rows([]), run_key="b").operation == "none"
    assert len(table.snapshots()) == 1


def test_a_replace_conforms_its_rows(table: LakeTable, rows: Rows, foreign: Foreign) -> None:
    table.append(rows([1]), run_key="a")
    with pytest.raises(SchemaMismatch):
        table.replace_files(paths(foreign(table.name)), rows([1]).drop(["amount"]), run_key="b")
