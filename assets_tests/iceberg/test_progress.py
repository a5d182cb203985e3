"""Progress: what a commit says of it, and how it outlives foreign commits, expiry and rollback."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName

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


def test_progress_is_read_back_and_survives_commits_without_any(table: LakeTable, rows: Rows) -> None:
    assert table.progress("shop") is None
    table.append(rows([1]), run_key="a", progress={"shop": {"watermark": "2026-01-01"}})
    table.append(rows([2]), run_key="b")
    assert table.progress("shop") == {"watermark": "2026-01-01"}
    assert table.progress("other") is None


def test_progress_without_rows_is_an_empty_snapshot(table: LakeTable, rows: Rows) -> None:
    commit = table.append(rows([]), run_key="a", progress={"shop": {"w": 1}}, summary={"rows_read": "7"})
    assert (commit.rows_added, commit.files_added) == (0, 0)
    assert table.snapshots()[0].summary["rows_read"] == "7"
    assert table.snapshots()[0].run_key == "a"
    assert table.progress("shop") == {"w": 1}


def test_a_foreign_commit_hides_no_progress(plain: LakeTable, foreign: Foreign, rows: Rows, ids: Ids) -> None:
    table = plain
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    foreign(table.name).append(rows([2]))
    assert table.progress("shop") == {"w": 1}
    assert table.snapshots()[0].run_key is None
    assert ids(table) == [1, 2]


def test_the_floor_answers_after_expiry_of_every_snapshot_of_ours(
    plain: LakeTable, foreign: Foreign, rows: Rows
) -> None:
    table = plain
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}, "other": {"w": 2}})
    iceberg = foreign(table.name)
    iceberg.append(rows([2]))
    ours = iceberg.metadata.snapshots[0].snapshot_id
    iceberg.maintenance.expire_snapshots().by_id(ours).commit()
    assert len(table.snapshots()) == 1
    assert table.progress("shop") == {"w": 1}
    assert table.progress("other") == {"w": 2}


def test_a_rollback_takes_progress_back(table: LakeTable, foreign: Foreign, rows: Rows) -> None:
    first = table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    table.append(rows([2]), run_key="b", progress={"shop": {"w": 2}})
    assert first.snapshot_id is not None
    foreign(table.name).manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    assert table.progress("shop") == {"w": 1}


def test_a_second_process_sees_the_first_ones_commits(any_settings: Settings, table: LakeTable, rows: Rows) -> None:
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    second = Lake.open(any_settings).table(TableName.parse("silver.orders"))
    assert second.progress("shop") == {"w": 1}
    assert second.stats().rows == 1


def test_a_foreign_commit_on_a_branch_hides_no_progress(
    plain: LakeTable, foreign: Foreign, flat: Table, rows: Rows
) -> None:
    """There is no floor for a branch: only the snapshots below the foreign one tell."""
    plain.create_branch("run/a")
    plain.append(rows([1]), run_key="a", branch="run/a", progress={"shop": {"w": 7}})
    foreign(flat.name).append(rows([2]), branch="run/a")
    assert plain.progress("shop", branch="run/a") == {"w": 7}
    plain.append(rows([3]), run_key="b", branch="run/a", expected_progress={"shop": {"w": 7}})
