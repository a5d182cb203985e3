"""A table follows its contract: what may change, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.contracts_changed import read_twice, renamed, with_columns, without
from lakehouse.errors import ContractError, SchemaMismatch
from lakehouse.iceberg import Lake
from lakehouse.tables import METADATA_COLUMNS, Column, Evolution, Layer, PartitionField, Table, TableName, Upkeep

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]


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
    assert list(table.column_types())[-len(METADATA_COLUMNS) :] == [column.name for column in METADATA_COLUMNS]


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
    # Not required by the table: a write that began before would leave rows that nobody can read.
    assert lake.create(wanted).schema().field("coupon").nullable
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


def test_a_renamed_column_keeps_its_values(any_lake: Lake, orders: Table, rows: Rows, foreign: Foreign) -> None:
    any_lake.create(orders).append(rows([1]), run_key="a")
    wanted = renamed(orders, "email", "mail")
    for _ in range(2):
        table = any_lake.create(wanted)
    table.append(rows([2]).rename_columns([*rows([]).column_names[:-1], "mail"]), run_key="b")
    assert table.scan(columns=["mail"]).read_all().sort_by("mail")["mail"].to_pylist() == [
        "1@example.com",
        "2@example.com",
    ]
    # Statistics of personal columns stay away under the new name too, and nothing is left of the old.
    metrics = {key: value for key, value in foreign(orders.name).properties.items() if "metrics.column" in key}
    assert metrics == {"write.metadata.metrics.column.mail": "none"}


def test_a_rename_of_a_column_that_the_table_has_besides_is_refused(lake: Lake, orders: Table) -> None:
    lake.create(with_columns(orders, Column("mail", "string")))
    with pytest.raises(SchemaMismatch, match="has both"):
        lake.create(renamed(orders, "email", "mail"))


def test_a_column_that_is_no_more_personal_gets_statistics_again(lake: Lake, orders: Table, foreign: Foreign) -> None:
    lake.create(orders)
    lake.create(with_columns(orders, Column("email", "string")))
    assert not [key for key in foreign(orders.name).properties if "metrics.column" in key]


def test_columns_follow_the_order_of_the_contract(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    lake.create(orders).append(rows([1, 2]), run_key="a")
    turned = replace(orders, columns=(Column("first", "int"), *reversed(orders.columns)))
    table = lake.create(turned)
    assert list(table.column_types()) == ["first", "email", "paid_at", "amount", "order_date", "order_id"]
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 2]
    # A column that the contract has lost goes behind those that it has.
    table = lake.create(without(turned, "paid_at"))
    assert list(table.column_types()) == ["first", "email", "amount", "order_date", "order_id", "paid_at"]


def test_a_dropped_column_is_gone_and_its_name_is_free(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    lake.create(orders).append(rows([1]), run_key="a")
    contract = replace(without(orders, "amount"), drop=frozenset({"amount", "never_there"}))
    for _ in range(2):
        table = lake.create(contract)
    assert "amount" not in table.column_types()
    table.append(rows([2]).drop_columns("amount"), run_key="b")
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 2]
    again = lake.create(with_columns(without(orders, "amount"), Column("amount", "string")))
    assert again.scan().read_all()["amount"].to_pylist() == [None, None]


def test_a_required_column_may_be_dropped(lake: Lake, flat: Table) -> None:
    lake.create(flat)
    table = lake.create(replace(without(flat, "order_date"), drop=frozenset({"order_date"})))
    assert "order_date" not in table.column_types()


def test_everything_changes_in_one_commit(lake: Lake, orders: Table, rows: Rows, foreign: Foreign) -> None:
    lake.create(orders).append(rows([1]), run_key="a")
    before = len(foreign(orders.name).metadata.metadata_log)
    wanted = with_columns(renamed(orders, "email", "mail"), Column("country", "string"), Column("order_id", "long"))
    lake.create(
        replace(
            wanted,
            partition_by=(PartitionField("country", "identity"),),
            sort_by=("country", "mail"),
            upkeep=Upkeep(target_file_mb=7),
        )
    )
    after = foreign(orders.name)
    assert len(after.metadata.metadata_log) == before + 1
    assert [field.name for field in after.spec().fields] == ["order_date_day", "country"]
    assert len(after.sort_order().fields) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: with_columns(table, Column("coupon", "string")), "coupon is new"),
        (lambda table: without(table, "email"), "email"),
        (lambda table: renamed(table, "email", "mail"), "mail"),
        (lambda table: with_columns(table, Column("amount", "decimal(20, 2)")), "decimal(20, 2)"),
        (lambda table: with_columns(table, Column("order_id", "long", required=True)), "order_id"),
        (lambda table: replace(table, columns=tuple(reversed(table.columns))), "order of columns"),
        (lambda table: replace(table, partition_by=(PartitionField("order_id", "bucket[4]"),)), "order_id_bucket_4"),
        (lambda table: replace(table, sort_by=("amount",)), "sort order becomes amount"),
        (lambda table: replace(without(table, "email"), drop=frozenset({"email"})), "email goes"),
    ],
)
def test_a_frozen_table_refuses_any_difference(
    lake: Lake, orders: Table, change: Callable[[Table], Table], said: str
) -> None:
    frozen = replace(orders, evolution=Evolution.FREEZE)
    table = lake.create(frozen)
    before = table.relation_sql(), table.column_types()
    assert lake.create(replace(frozen, upkeep=Upkeep(target_file_mb=7))).column_types() == before[1]
    with pytest.raises(SchemaMismatch, match="frozen") as caught:
        lake.create(change(frozen))
    assert said in str(caught.value.found)
    assert "evolve" in caught.value.remedy
    assert lake.table(orders.name).column_types() == before[1]


def test_a_frozen_table_gets_the_metadata_columns_of_a_newer_release(
    lake: Lake, orders: Table, foreign: Foreign
) -> None:
    frozen = replace(orders, name=TableName(Layer.BRONZE, "orders"), evolution=Evolution.FREEZE)
    lake.create(frozen)
    with foreign(frozen.name).update_schema() as schema:
        schema.delete_column("_extra")
    assert "_extra" not in lake.table(frozen.name).column_types()
    assert "_extra" in lake.create(frozen).column_types()


def test_names_of_files_without_field_ids_follow_too(lake: Lake, flat: Table, rows: Rows, foreign: Foreign) -> None:
    lake.create(flat)
    path = f"{foreign(flat.name).location()}/given.parquet"
    pq.write_table(
        rows([1]).cast(pa.schema([field.remove_metadata() for field in rows([1]).schema])), path.removeprefix("file://")
    )
    foreign(flat.name).add_files([path])
    table = lake.create(with_columns(renamed(flat, "email", "mail"), Column("coupon", "string")))
    assert table.scan().read_all().to_pylist()[0]["mail"] == "1@example.com"
    assert table.scan().read_all().to_pylist()[0]["coupon"] is None


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
