"""A table follows its contract: what may change, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import ContractError, SchemaMismatch
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.schemas.evolve import evolve
from lakehouse.settings import Settings
from lakehouse.tables import (
    METADATA_COLUMNS,
    Column,
    Evolution,
    Layer,
    PartitionField,
    Table,
    TableName,
    Upkeep,
    Window,
)

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]
Ids = Callable[..., list[int]]
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


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


def renamed(table: Table, old: str, new: str) -> Table:
    columns = (replace(one, name=new, renamed_from=old) if one.name == old else one for one in table.columns)
    return replace(table, columns=tuple(columns))


@pytest.fixture
def stock(settings: Settings) -> Iterator[Foreign]:
    """stock(name): a table of `lake` as plain PyIceberg opens it."""
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield lambda name: catalog.load_table(name.key)
    catalog.engine.dispose()


def read_twice(table: LakeTable, duck: duckdb.DuckDBPyConnection, order: str = "order_id") -> pa.Table:
    """The rows as PyIceberg's rules read them, which are those that DuckDB reads."""
    scanned = table.scan().read_all().sort_by(order)
    asked = duck.sql(f"from {table.relation_sql()} order by {order}").to_arrow_table()
    assert asked.cast(scanned.schema).equals(scanned)
    return scanned


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


def test_a_column_that_is_no_more_personal_gets_statistics_again(lake: Lake, orders: Table, stock: Foreign) -> None:
    lake.create(orders)
    lake.create(with_columns(orders, Column("email", "string")))
    assert not [key for key in stock(orders.name).properties if "metrics.column" in key]


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


def test_a_column_that_files_were_partitioned_by_is_not_dropped(lake: Lake, orders: Table, rows: Rows) -> None:
    # DuckDB ends the process over a spec whose column is gone, also over one that is used no more.
    partitioned = replace(orders, partition_by=(PartitionField("email", "bucket[4]"),))
    lake.create(partitioned).append(rows([1]), run_key="a")
    lake.create(orders)
    with pytest.raises(SchemaMismatch, match="email"):
        lake.create(replace(without(orders, "email"), drop=frozenset({"email"})))


def test_partitions_follow_the_contract_and_old_files_stay(
    lake: Lake, orders: Table, rows: Rows, stock: Foreign, duck: duckdb.DuckDBPyConnection
) -> None:
    lake.create(orders).append(rows([1, 2], D1), run_key="a")
    table = lake.create(replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),)))
    table.append(rows([3, 4], D2), run_key="b")
    table = lake.create(replace(orders, partition_by=(PartitionField("email", "truncate[2]"),)))
    table.append(rows([5], D2), run_key="c")
    assert [field.name for field in stock(orders.name).spec().fields] == ["order_date_day", "email_trunc_2"]
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 2, 3, 4, 5]
    assert len({task.file.spec_id for task in stock(orders.name).scan().plan_files()}) == 3
    assert table.scan(where="order_id = 3").read_all().num_rows == 1
    # Windows hold for files of every spec.
    table.overwrite(rows([6], D2), where=Window.of_days(D2, D2), run_key="d")
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 2, 6]
    # Back to a spec that was there: it is used again.
    lake.create(orders)
    assert stock(orders.name).spec().spec_id == 0


def test_a_table_becomes_windowed_and_its_old_files_know_their_days(
    lake: Lake, orders: Table, rows: Rows, ids: Ids, duck: duckdb.DuckDBPyConnection
) -> None:
    plain = replace(orders, window_column=None, window_start=None)
    for number in (1, 2):
        lake.create(plain).append(rows([number], date(2026, 1, number)), run_key=str(number))
    table = lake.create(orders)
    table.append(rows([3, 4], D2), run_key="3")
    table.delete(Window.of_days(D2, D2), run_key="4")
    assert ids(table) == [1]
    assert table.changed_days(0).days == (D1, D2)
    assert read_twice(table, duck).num_rows == 1


def test_the_sort_order_follows_the_contract(lake: Lake, flat: Table, rows: Rows, stock: Foreign) -> None:
    def sorted_by() -> list[int]:
        return [field.source_id for field in stock(flat.name).sort_order().fields]

    lake.create(flat)
    for names, expected in ((("amount", "order_id"), [3, 1]), (("order_id",), [1]), ((), []), (("order_id",), [1])):
        table = lake.create(replace(flat, sort_by=names))
        assert sorted_by() == expected, names
    table.append(rows([3, 1, 2]), run_key="a")
    assert table.scan().read_all()["order_id"].to_pylist() == [1, 2, 3]


def test_everything_changes_in_one_commit(lake: Lake, orders: Table, rows: Rows, stock: Foreign) -> None:
    lake.create(orders).append(rows([1]), run_key="a")
    before = len(stock(orders.name).metadata.metadata_log)
    wanted = with_columns(renamed(orders, "email", "mail"), Column("country", "string"), Column("order_id", "long"))
    lake.create(
        replace(
            wanted,
            partition_by=(PartitionField("country", "identity"),),
            sort_by=("country", "mail"),
            upkeep=Upkeep(target_file_mb=7),
        )
    )
    after = stock(orders.name)
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


def test_a_column_may_not_take_the_name_of_a_partition(lake: Lake, orders: Table) -> None:
    lake.create(orders)
    with pytest.raises(SchemaMismatch, match="partition field"):
        lake.create(with_columns(orders, Column("order_date_day", "int")))


def test_two_processes_evolve_at_once_and_both_are_heard(
    any_lake: Lake, any_settings: Settings, orders: Table, rows: Rows
) -> None:
    any_lake.create(orders).append(rows([1]), run_key="a")
    coupon = with_columns(orders, Column("coupon", "string"))
    both = with_columns(coupon, Column("country", "string"))

    def work(number: int) -> None:
        mine = Lake.open(any_settings)
        for turn in range(4):
            if number == 0:
                mine.create(coupon if turn < 2 else both)
            else:
                _append(mine, rows([10 * number + turn]), f"{number}-{turn}")

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work, number) for number in range(3)]:
            done.result()
    table = any_lake.table(orders.name)
    assert list(table.column_types())[-2:] == ["coupon", "country"]
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [1, 10, 11, 12, 13, 20, 21, 22, 23]


def _append(lake: Lake, rows: pa.Table, run_key: str) -> None:
    """Append, and look at the columns again when one came between the look and the write."""
    for _ in range(4):
        try:
            lake.table(TableName(Layer.SILVER, "orders")).append(_full(lake, rows), run_key=run_key)
        except SchemaMismatch:
            continue
        return
    pytest.fail("only two columns come, and each may be missed once")


def _full(lake: Lake, rows: pa.Table) -> pa.Table:
    """Rows with NULL in the columns that the table has gained: another process may add one at any moment."""
    for name in lake.table(TableName(Layer.SILVER, "orders")).column_types():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), pa.string()))
    return rows


def during(table: LakeTable, rows: pa.Table, change: Callable[[], object]) -> None:
    """Append rows, and change the table after they were asked for and before they are committed."""

    def batches() -> Iterator[pa.RecordBatch]:
        change()
        yield from rows.to_batches()

    table.append(pa.RecordBatchReader.from_batches(rows.schema, batches()), run_key="during")


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda table: with_columns(table, Column("coupon", "string")), {"coupon": None}),
        (lambda table: renamed(table, "email", "mail"), {"mail": "9@example.com"}),
        (lambda table: with_columns(table, Column("amount", "decimal(20, 2)")), {"amount": Decimal("2.25")}),
        (lambda table: replace(table, columns=tuple(reversed(table.columns))), {"email": "9@example.com"}),
        (lambda table: replace(without(table, "email"), drop=frozenset({"email"})), {"amount": Decimal("2.25")}),
    ],
)
def test_an_append_that_a_change_of_columns_overtakes_is_right(
    lake: Lake, orders: Table, rows: Rows, change: Callable[[Table], Table], shown: dict[str, object]
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    during(table, rows([9]), lambda: lake.create(change(orders)))
    [row] = table.scan(where="order_id = 9").read_all().to_pylist()
    assert row.items() >= shown.items()


def test_an_append_that_a_change_of_partitions_overtakes_keeps_its_own(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection, ids: Ids
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    other = replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),))
    during(table, rows([9], D2), lambda: lake.create(other))
    assert read_twice(table, duck)["order_id"].to_pylist() == [1, 9]
    assert table.scan(where="order_id = 9").read_all().num_rows == 1
    table.delete(Window.of_days(D2, D2), run_key="b")
    assert ids(table) == [1]


@pytest.mark.parametrize("where", ["none", "rows", "window"])
def test_a_write_that_changed_partitions_and_a_commit_overtake_keeps_its_own(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection, where: str
) -> None:
    """The retry builds on a head whose files lie by other fields, more of them."""
    table = lake.create(orders)
    table.append(rows([1, 2], D1), run_key="a")
    other = replace(
        orders, partition_by=(PartitionField("order_id", "bucket[4]"), PartitionField("amount", "identity"))
    )

    def batches() -> Iterator[pa.RecordBatch]:
        lake.create(other)
        table.append(rows([5], D2), run_key="b")
        yield from rows([9], D1).to_batches()

    given = pa.RecordBatchReader.from_batches(rows([]).schema, batches())
    if where == "none":
        commit = table.append(given, run_key="c")
    else:
        scope = "order_id > 5" if where == "rows" else Window.of_days(D1, D1)
        commit = table.overwrite(given, where=scope, run_key="c")
    assert commit.retries == 1
    expected = [5, 9] if where == "window" else [1, 2, 5, 9]
    assert read_twice(table, duck)["order_id"].to_pylist() == expected
    # What is written next lies by the new fields, and the older file is still found by its day.
    table.overwrite(rows([7], D1), where=Window.of_days(D1, D1), run_key="d")
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [5, 7]


def test_an_append_that_a_required_column_overtakes_stays_readable(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    table = lake.create(orders)
    wanted = with_columns(orders, Column("coupon", "string", required=True))
    during(table, rows([9]), lambda: lake.create(wanted))
    assert read_twice(table, duck)["coupon"].to_pylist() == [None]


def test_of_two_changes_at_once_the_later_begins_again(lake: Lake, orders: Table, stock: Foreign) -> None:
    lake.create(orders)
    stale = stock(orders.name)
    lake.create(with_columns(orders, Column("country", "string")))
    with pytest.raises(CommitFailedException):
        evolve(stale, with_columns(orders, Column("coupon", "string")))


def test_names_of_files_without_field_ids_follow_too(lake: Lake, flat: Table, rows: Rows, stock: Foreign) -> None:
    lake.create(flat)
    path = f"{stock(flat.name).location()}/given.parquet"
    pq.write_table(
        rows([1]).cast(pa.schema([field.remove_metadata() for field in rows([1]).schema])), path.removeprefix("file://")
    )
    stock(flat.name).add_files([path])
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
