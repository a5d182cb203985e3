"""What metadata proves of a file's rows, and what it does not: NULL, NaN, and counts that a file lacks."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.stored import copy_of
from lakehouse.errors import CommitError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.tables import Column, Layer, Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
NAN = float("nan")


@pytest.fixture
def plain(lake: Lake, flat: Table) -> LakeTable:
    return lake.create(flat)


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("amount > 0.30", [1, 3]),
        ("amount < 0.30", [2, 3]),
        ("not amount > 0.30", [2, 3]),
        ("amount = 0.50 or email = 'nobody'", [1, 3]),
    ],
)
def test_a_row_for_which_the_filter_is_unknown_stays(
    plain: LakeTable, rows: Rows, ids: Ids, where: str, left: list[int]
) -> None:
    """In a file that is written anew without the others."""
    plain.append(rows([1, 2, 3], amount=[Decimal("0.25"), Decimal("0.50"), None], email=[None] * 3), run_key="a")
    assert plain.delete(where, run_key="b").rows_removed == 1
    assert ids(plain) == left


def test_a_new_row_for_which_the_filter_is_unknown_does_not_match(plain: LakeTable, rows: Rows) -> None:
    with pytest.raises(CommitError, match="2 of 3"):
        plain.overwrite(rows([1, 2, 3], amount=[Decimal(1), None, None]), where="amount > 0", run_key="a")
    assert plain.snapshots() == ()


@pytest.mark.parametrize("where", ["d < 5", "d <= 2", "d > -5", "d >= 1", "d in (1, 2) or d < 5"])
def test_nan_is_in_no_bound_and_stays(lake: Lake, where: str) -> None:
    columns = (Column("d", "double"),)
    table = lake.create(Table(TableName(Layer.SILVER, "numbers"), "shop", "", columns, Path("numbers.yaml")))
    table.append(pa.table({"d": [1.0, NAN, 2.0]}), run_key="a")
    assert table.delete(where, run_key="b").rows_removed == 2
    assert [str(value) for value in table.scan().read_all()["d"].to_pylist()] == ["nan"]


def without_counts(iceberg: IcebergTable) -> None:
    """Another program adds the only file a second time, with bounds and without counts of NULL (both are optional)."""
    [old] = (task.file for task in iceberg.scan().plan_files())
    bare = copy_of(old, f"{old.file_path}-again.parquet", lower_bounds=old.lower_bounds, upper_bounds=old.upper_bounds)
    with iceberg.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        append.append_data_file(bare)


@pytest.mark.parametrize("where", ["amount > 0", "amount < 100", "amount >= 0.25 and order_id > 0"])
def test_without_a_count_of_nulls_bounds_prove_nothing(
    plain: LakeTable, foreign: Foreign, rows: Rows, ids: Ids, where: str
) -> None:
    plain.append(rows([1, 2], amount=[Decimal("0.25"), None]), run_key="a")
    without_counts(foreign(plain.name))
    assert plain.delete(where, run_key="b").rows_removed == 2
    assert ids(plain) == [2, 2]
