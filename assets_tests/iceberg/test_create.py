"""A table whose contract, columns or partitions change while others make it or write to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.update import RemovePartitionSpecsUpdate

from lakehouse.errors import CommitConflict
from lakehouse.iceberg import Lake
from lakehouse.iceberg.schemas.evolve import evolve
from lakehouse.tables import Column, PartitionField, Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


def gaining(table: Table, name: str) -> Table:
    return replace(table, columns=(*table.columns, Column(name, "string")))


def test_of_two_that_add_a_column_at_once_both_are_heard(
    any_lake: Lake, orders: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_lake.create(orders)

    def late(*arguments: Any) -> bool:  # noqa: ANN401  (those of evolve)
        monkeypatch.undo()
        any_lake.create(gaining(orders, "country"))
        return evolve(*arguments)

    monkeypatch.setattr("lakehouse.iceberg.lake.evolve", late)
    table = any_lake.create(gaining(orders, "coupon"))
    assert set(table.column_types()) == {*(column.name for column in orders.columns), "country", "coupon"}


def test_one_that_is_overtaken_again_and_again_is_told(
    any_lake: Lake, orders: Table, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_lake.create(orders)
    turns = iter(range(100))

    def late(existing: IcebergTable, table: Table) -> bool:
        evolve(foreign(orders.name), gaining(orders, f"other_{next(turns)}"))
        return evolve(existing, table)

    monkeypatch.setattr("lakehouse.iceberg.lake.evolve", late)
    with pytest.raises(CommitConflict, match="5 times"):
        any_lake.create(gaining(orders, "coupon"))
    assert "coupon" not in any_lake.table(orders.name).column_types()


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_write_whose_partitioning_is_removed_meanwhile_is_refused(  # noqa: PLR0913  (its fixtures)
    any_lake: Lake, orders: Table, foreign: Foreign, rows: Rows, ids: Ids, *, overtaken: bool
) -> None:
    """As Java's expiry removes it, for no file lies by it yet."""
    table = any_lake.create(orders)
    other = replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),))

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows([1]).to_batches()
        changed = any_lake.create(other)
        if overtaken:
            changed.append(rows([2]), run_key="b")
        iceberg = foreign(orders.name)
        iceberg.catalog.commit_table(iceberg, (), (RemovePartitionSpecsUpdate(spec_ids=[0]),))

    with pytest.raises(CommitConflict, match="partitioning"):
        table.append(pa.RecordBatchReader.from_batches(rows([]).schema, batches()), run_key="a")
    assert ids(table) == [2] * overtaken
