"""A table follows its contract: what may change, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.errors import ContractError, SchemaMismatch
from lakehouse.iceberg import Lake
from lakehouse.tables import METADATA_COLUMNS, Column, Layer, PartitionField, Table, TableName, Upkeep

Rows = Callable[..., pa.Table]


def with_columns(table: Table, *columns: Column) -> Table:
    changed = {column.name: column for column in columns}
    kept = tuple(changed.pop(column.name, column) for column in table.columns)
    return replace(table, columns=(*kept, *changed.values()))


def without(table: Table, name: str) -> Table:
    return replace(table, columns=tuple(column for column in table.columns if column.name != name))


def test_a_new_table_has_docs_types_and_required_flags(any_lake: Lake, orders: Table) -> None:
    table = any_lake.create(orders)
    assert table.column_types() == {
        "order_id": "long",
        "order_date": "date",
        "amount": "decimal(12, 2)",
        "paid_at": "timestamptz",
        "email": "string",
    }
    field = table.schema().field("order_id")
    assert field.metadata[b"doc"] == b"The shop's number of the order"
    assert [field.nullable for field in table.schema()] == [False, False, True, True, True]


def test_bronze_carries_the_metadata_columns(lake: Lake, orders: Table) -> None:
    table = lake.create(replace(orders, name=TableName(Layer.BRONZE, "orders")))
    assert list(table.column_types())[-4:] == [column.name for column in METADATA_COLUMNS]


def test_making_a_table_twice_changes_nothing(lake: Lake, orders: Table, rows: Rows) -> None:
    first = lake.create(orders)
    first.append(rows([1]), run_key="a")
    before = first.relation_sql()
    assert lake.create(orders).relation_sql() == before


def test_a_gained_column_is_null_in_old_rows(any_lake: Lake, orders: Table, rows: Rows) -> None:
    any_lake.create(orders).append(rows([1]), run_key="a")
    table = any_lake.create(with_columns(orders, Column("coupon", "string", description="Code")))
    more = rows([2]).append_column("coupon", pa.array(["X"]))
    table.append(more, run_key="b")
    assert table.scan(columns=["order_id", "coupon"]).read_all().sort_by("order_id").to_pylist() == [
        {"order_id": 1, "coupon": None},
        {"order_id": 2, "coupon": "X"},
    ]


def test_a_gained_required_column_needs_an_empty_table(lake: Lake, orders: Table, rows: Rows) -> None:
    wanted = with_columns(orders, Column("coupon", "string", required=True))
    lake.create(orders)
    assert not lake.create(wanted).schema().field("coupon").nullable
    filled = replace(orders, name=TableName(Layer.SILVER, "filled"))
    lake.create(filled).append(rows([1]), run_key="a")
    with pytest.raises(SchemaMismatch, match="coupon"):
        lake.create(replace(wanted, name=filled.name))


@pytest.mark.parametrize(("old", "new"), [("int", "long"), ("float", "double"), ("decimal(4, 2)", "decimal(9, 2)")])
def test_a_type_may_grow(lake: Lake, flat: Table, old: str, new: str) -> None:
    lake.create(with_columns(flat, Column("size", old)))
    assert lake.create(with_columns(flat, Column("size", new))).column_types()["size"] == new


@pytest.mark.parametrize(("old", "new"), [("long", "int"), ("string", "long"), ("decimal(9, 2)", "decimal(9, 3)")])
def test_another_type_is_refused_with_both_named(lake: Lake, flat: Table, old: str, new: str) -> None:
    lake.create(with_columns(flat, Column("size", old)))
    with pytest.raises(SchemaMismatch, match="size") as caught:
        lake.create(with_columns(flat, Column("size", new)))
    assert old in str(caught.value.found)
    assert new in str(caught.value.expected)


def test_a_lost_column_stays_and_is_null_in_new_rows(any_lake: Lake, orders: Table, rows: Rows) -> None:
    any_lake.create(orders).append(rows([1]), run_key="a")
    any_lake.create(without(orders, "email"))
    # Another process knows it too: it stands in the table's properties.
    table = any_lake.table(orders.name)
    table.append(rows([2]).drop_columns("email"), run_key="b")
    kept = table.scan(columns=["order_id", "email"]).read_all().sort_by("order_id")["email"].to_pylist()
    assert kept == ["1@example.com", None]


def test_a_column_that_comes_back_may_not_be_left_out(lake: Lake, orders: Table, rows: Rows) -> None:
    for contract in (orders, without(orders, "email"), orders):
        table = lake.create(contract)
    with pytest.raises(SchemaMismatch, match="missing email"):
        table.append(rows([2]).drop_columns("email"), run_key="b")


def test_a_required_column_may_not_be_lost(lake: Lake, flat: Table) -> None:
    lake.create(flat)
    with pytest.raises(SchemaMismatch, match="order_date"):
        lake.create(without(flat, "order_date"))


def test_a_column_may_become_optional_and_get_another_description(lake: Lake, orders: Table, rows: Rows) -> None:
    lake.create(orders).append(rows([1]), run_key="a")
    field = lake.create(with_columns(orders, Column("order_id", "long", description="Key"))).schema().field("order_id")
    assert field.nullable
    assert field.metadata[b"doc"] == b"Key"


def test_other_partitions_are_refused(lake: Lake, orders: Table) -> None:
    lake.create(orders)
    with pytest.raises(SchemaMismatch, match="partitioned"):
        lake.create(replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),)))


def test_upkeep_reaches_the_table(lake: Lake, orders: Table) -> None:
    before = lake.create(orders).relation_sql()
    assert lake.create(replace(orders, upkeep=Upkeep(target_file_mb=7))).relation_sql() == before
    assert lake.create(orders).column_types()


@pytest.mark.parametrize(
    "change",
    [
        {"partition_by": (PartitionField("nope", "day"),)},
        {"partition_by": (PartitionField("email", "day"),)},
        {"partition_by": (PartitionField("email", "weekly"),)},
        {"sort_by": ("nope",)},
        {"columns": (Column("a", "varchar"),), "window_column": None},
        {"columns": (Column("a", "timestamp_ns"),), "window_column": None},
    ],
)
def test_a_contract_that_iceberg_cannot_hold_is_refused(lake: Lake, orders: Table, change: dict[str, object]) -> None:
    with pytest.raises(ContractError):
        lake.create(replace(orders, **change))  # type: ignore[arg-type]
    assert lake.names() == ()


def test_every_type_of_the_contract_has_a_duckdb_type(lake: Lake) -> None:
    kinds = ["boolean", "int", "long", "float", "double", "date", "time", "timestamp", "timestamptz", "string"]
    columns = tuple(Column(f"c{number}", kind) for number, kind in enumerate([*kinds, "binary", "decimal(38,9)"]))
    table = lake.create(Table(TableName(Layer.GOLD, "all"), "d", "", columns, Path("all.yaml")))
    assert "DECIMAL(38, 9)" in table.relation_sql()
