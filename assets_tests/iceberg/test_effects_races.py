"""Overwrite and delete beside other writers, and over what another program has hidden."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.overtaking import during
from assets_tests.iceberg.stored import paths
from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName, Window

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Hide = Callable[..., None]
DAY = date(2026, 1, 1)
OTHER = date(2026, 1, 2)


@pytest.fixture
def table(lake: Lake, orders: Table) -> LakeTable:
    return lake.create(orders)


@pytest.fixture
def plain(lake: Lake, flat: Table) -> LakeTable:
    return lake.create(flat)


def test_an_append_that_the_filter_may_mean_conflicts(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows([1, 2]), run_key="a")
    with pytest.raises(CommitConflict):
        plain.overwrite(
            during(rows([2]), lambda: plain.append(rows([3]), run_key="b")), where="order_id >= 2", run_key="c"
        )
    assert ids(plain) == [1, 2, 3]


def test_an_append_outside_the_filter_does_not(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows([1, 2]), run_key="a")
    given_rows = during(rows([2]), lambda: plain.append(rows([0]), run_key="b"))
    assert plain.overwrite(given_rows, where="order_id >= 2", run_key="c").retries == 1
    assert ids(plain) == [0, 1, 2]


def test_an_untouched_file_is_not_rewritten_by_two_writers(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    """Both write the same file anew: one of them must not bring the other's rows back."""
    plain.append(rows([1, 2, 3]), run_key="a")
    with pytest.raises(CommitConflict):
        plain.overwrite(
            during(rows([3]), lambda: plain.delete("order_id = 1", run_key="b")), where="order_id = 3", run_key="c"
        )
    assert ids(plain) == [2, 3]


@pytest.mark.parametrize("where", ["order_id = 2", None])
def test_rows_hidden_by_another_program_meanwhile_conflict(
    plain: LakeTable, rows: Rows, where: str | None, foreign: Foreign, hide: Hide
) -> None:
    plain.append(rows([1, 2]), run_key="a")
    with pytest.raises(CommitConflict):
        plain.overwrite(during(rows([2]), lambda: hide(foreign(plain.name), 0)), where=where, run_key="b")
    assert plain.scan().read_all()["order_id"].to_pylist() == [2]


def test_position_deletes_of_another_program_are_applied_and_go_with_the_file(
    table: LakeTable, rows: Rows, ids: Ids, foreign: Foreign, hide: Hide
) -> None:
    table.append(pa.concat_tables([rows([1, 2, 3]), rows([9], OTHER)]), run_key="a")
    first = next(path for path in paths(foreign(table.name)) if "2026-01-01" in path)
    hide(foreign(table.name), 0, of=first)
    assert ids(table) == [2, 3, 9]
    commit = table.delete("order_id = 3", run_key="b")
    assert (commit.rows_removed, commit.rows_rewritten) == (1, 1)
    assert ids(table) == [2, 9]
    assert table.snapshots()[0].summary["total-delete-files"] == "0"
    assert not list(foreign(table.name).inspect.delete_files().to_pylist())
    assert foreign(table.name).scan().to_arrow().num_rows == 2


def test_delete_files_of_other_files_stay(plain: LakeTable, rows: Rows, ids: Ids, foreign: Foreign, hide: Hide) -> None:
    plain.append(rows([1, 2]), run_key="a")
    hide(foreign(plain.name), 0)
    plain.append(rows([5, 6]), run_key="b")
    plain.delete("order_id = 6", run_key="c")
    assert ids(plain) == [2, 5]
    assert plain.snapshots()[0].summary["total-delete-files"] == "1"


def test_files_under_equality_deletes_are_refused(plain: LakeTable, rows: Rows, foreign: Foreign, hide: Hide) -> None:
    plain.append(rows([1, 2]), run_key="a")
    path = paths(foreign(plain.name))
    hide(foreign(plain.name), 77, by_value=True)
    with pytest.raises(CommitError, match="equality deletes"):
        plain.delete("order_id = 2", run_key="b")
    with pytest.raises(CommitError, match="equality deletes"):
        plain.replace_files(path, rows([1, 2]), run_key="b")
    # What is dropped whole need not be read.
    assert plain.delete("order_id > 0", run_key="b").rows_removed == 2


def test_manifests_that_the_summaries_rule_out_are_not_read(table: LakeTable, rows: Rows, settings: Settings) -> None:
    """Their files are gone, and still the window of another day is replaced."""
    table.append(rows([1], DAY), run_key="a")
    before = set((settings.state / "warehouse").rglob("*-m*.avro"))
    table.append(rows([2], OTHER), run_key="b")
    for manifest in before:
        manifest.unlink()
    assert table.overwrite(rows([3], OTHER), where=Window.of_days(OTHER, OTHER), run_key="c").rows_removed == 1
