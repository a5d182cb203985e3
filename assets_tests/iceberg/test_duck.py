"""SQL over the lake: what DuckDB reads is what PyIceberg reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from pydantic import SecretStr

from lakehouse.errors import BranchMissing, ContractError, QueryError, TableMissing
from lakehouse.iceberg import Lake, connect, register
from lakehouse.iceberg.query import run_query
from lakehouse.settings import S3, Settings
from lakehouse.tables import Layer, Table, TableName
from lakehouse.tables.types import duckdb_type

Rows = Callable[..., pa.Table]


def count(duck: duckdb.DuckDBPyConnection, relation: str) -> int:
    [(number,)] = duck.sql(f"select count(*) from {relation}").fetchall()
    return int(number)


def test_an_empty_table_has_its_types(lake: Lake, orders: Table, duck: duckdb.DuckDBPyConnection) -> None:
    table = lake.create(orders)
    relation = duck.sql(f"from {table.relation_sql()}")
    assert relation.fetchall() == []
    assert [str(kind) for kind in relation.types] == [
        duckdb_type(column.type).replace(", ", ",") for column in orders.columns
    ]


def test_duckdb_and_pyiceberg_read_the_same(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    table = lake.create(orders)
    table.append(rows([2, 1], email=[None, "ü"]), run_key="a")
    ours = table.scan().read_all().sort_by("order_id")
    theirs = duck.sql(f"from {table.relation_sql()} order by order_id").to_arrow_table()
    assert theirs.cast(ours.schema).equals(ours)
    assert ours["email"].to_pylist() == ["ü", None]


def test_register_makes_a_view_of_each_table(
    any_lake: Lake, orders: Table, flat: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    any_lake.create(orders).append(rows([1, 2]), run_key="a")
    any_lake.create(flat)
    assert register(duck, any_lake) == 2
    assert (count(duck, "silver.orders"), count(duck, "gold.flat")) == (2, 0)


def test_views_stay_at_the_snapshot_until_registered_again(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    register(duck, lake)
    table.append(rows([2]), run_key="b")
    assert count(duck, "silver.orders") == 1
    register(duck, lake)
    assert count(duck, "silver.orders") == 2


def test_a_branch_is_read_where_a_table_has_it(
    lake: Lake, orders: Table, flat: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    for contract in (orders, flat):
        lake.create(contract).append(rows([1]), run_key="a")
    table = lake.table(orders.name)
    table.create_branch("run/b")
    table.append(rows([2]), run_key="b", branch="run/b")
    register(duck, lake, at="run/b")
    assert (count(duck, "silver.orders"), count(duck, "gold.flat")) == (2, 1)


def test_only_the_tables_asked_for(lake: Lake, orders: Table, flat: Table, duck: duckdb.DuckDBPyConnection) -> None:
    lake.create(orders)
    lake.create(flat)
    assert register(duck, lake, tables=[flat.name]) == 1
    with pytest.raises(duckdb.CatalogException):
        count(duck, "silver.orders")
    with pytest.raises(TableMissing):
        register(duck, lake, tables=[TableName(Layer.GOLD, "nope")])


def test_saved_views_are_there_in_any_order_and_a_broken_one_is_left_out(
    any_lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    any_lake.create(orders).append(rows([1, 2]), run_key="a")
    any_lake.views.save("gold", "a_top", "select * from gold.b_base where order_id = 1")
    any_lake.views.save("gold", "b_base", "select * from silver.orders")
    any_lake.views.save("gold", "broken", "select * from silver.gone")
    assert register(duck, any_lake) == 3
    assert (count(duck, "gold.a_top"), count(duck, "gold.b_base")) == (1, 2)


def test_a_view_is_replaced_and_removed(any_lake: Lake) -> None:
    assert any_lake.views.all() == []
    any_lake.views.save("gold", "v", "select 1")
    any_lake.views.save("gold", "v", "select 2")
    assert any_lake.views.all() == [("gold", "v", "select 2")]
    any_lake.views.remove("gold", "v")
    any_lake.views.remove("gold", "v")
    assert any_lake.views.all() == []


def test_a_view_model_that_becomes_a_table_is_a_table(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    lake.views.save("silver", "orders", "select 1 as one")
    lake.create(orders).append(rows([1, 2]), run_key="a")
    register(duck, lake)
    assert count(duck, "silver.orders") == 2


def test_a_table_model_that_becomes_a_view_is_a_view(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    lake.create(orders).append(rows([1, 2]), run_key="a")
    lake.views.save("silver", "orders", "select 1 as one")
    assert register(duck, lake) == 1
    assert duck.sql("from silver.orders").fetchall() == [(1,)]


def test_a_snapshot_of_the_past_and_its_relation(
    lake: Lake, orders: Table, rows: Rows, duck: duckdb.DuckDBPyConnection
) -> None:
    table = lake.create(orders)
    first = table.append(rows([1]), run_key="a").snapshot_id
    assert first is not None
    table.append(rows([2]), run_key="b")
    assert count(duck, table.relation_sql(first)) == 1
    assert table.scan(at=first).read_all().num_rows == 1
    with pytest.raises(QueryError, match="no snapshot 7"):
        table.relation_sql(7)
    with pytest.raises(BranchMissing):
        table.relation_sql("run/x")


def test_scan_projects_limits_and_names_unknown_columns(lake: Lake, orders: Table, rows: Rows) -> None:
    table = lake.create(orders)
    assert table.scan().read_all().num_rows == 0
    table.append(rows(range(10)), run_key="a")
    table.append(rows(range(10, 20)), run_key="b")
    some = table.scan(columns=["email", "order_id"], limit=13).read_all()
    assert some.column_names == ["email", "order_id"]
    assert (some.num_rows, table.scan(limit=0).read_all().num_rows) == (13, 0)
    with pytest.raises(QueryError, match="nope"):
        table.scan(columns=["nope"])


def test_stats_add_up(lake: Lake, orders: Table, rows: Rows) -> None:
    table = lake.create(orders)
    assert (table.stats().rows, table.stats().last_commit_at) == (0, None)
    commits = [table.append(rows(range(number)), run_key=str(number)) for number in (3, 4)]
    stats = table.stats()
    assert (stats.rows, stats.files, stats.snapshots) == (7, 2, 2)
    assert stats.bytes == sum(commit.bytes_added for commit in commits)
    assert stats.last_commit_at == table.snapshots()[0].committed_at
    assert [snapshot.id for snapshot in table.snapshots()] == [commit.snapshot_id for commit in reversed(commits)]


def test_nothing_comes_from_the_network(duck: duckdb.DuckDBPyConnection) -> None:
    names = ("autoinstall_known_extensions", "autoload_known_extensions", "TimeZone")
    assert [duck.sql(f"select current_setting('{name}')").fetchall() for name in names] == [
        [(False,)],
        [(False,)],
        [("UTC",)],
    ]


def test_a_column_name_with_quotes_is_read(lake: Lake, flat: Table, duck: duckdb.DuckDBPyConnection) -> None:
    odd = replace(flat, columns=(replace(flat.columns[0], name='a "b"'),))
    assert duck.sql(f"from {lake.create(odd).relation_sql()}").columns == ['a "b"']


def test_keys_for_s3_are_a_secret_of_the_connection(settings: Settings) -> None:
    keys = S3(endpoint="http://127.0.0.1:9000", access_key=SecretStr("ak"), secret_key=SecretStr("it's hidden"))
    with connect(settings.model_copy(update={"warehouse": "s3a://lake/warehouse", "s3": keys})) as duck:
        [(kind, text)] = duck.sql("select type, secret_string from duckdb_secrets()").fetchall()
    assert kind == "s3"
    assert "endpoint=127.0.0.1:9000" in text
    assert "use_ssl=false" in text
    assert "hidden" not in text


def test_a_query_of_the_past_leaves_out_what_was_not_there(
    lake: Lake, orders: Table, flat: Table, rows: Rows, settings: Settings
) -> None:
    lake.create(flat)
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    then = table.snapshots()[0].committed_at
    table.append(rows([2]), run_key="b")
    sql = "select count(*) as n from silver.orders"
    assert run_query(settings, sql, at=then)["n"].to_pylist() == [table.scan(at=then).read_all().num_rows]
    assert run_query(settings, sql, at="never/made")["n"].to_pylist() == [2]
    # It had no snapshot then, so it is no table of that time.
    with pytest.raises(QueryError, match="flat"):
        run_query(settings, "select * from gold.flat", at=then)


@pytest.mark.parametrize("kind", ["varchar", "decimal(12)", "fixed[]", ""])
def test_what_is_no_iceberg_type_has_no_duckdb_type(kind: str) -> None:
    with pytest.raises(ContractError, match="not an Iceberg type"):
        duckdb_type(kind)


def test_types_with_parameters_have_a_duckdb_type() -> None:
    assert [duckdb_type(kind) for kind in ("decimal(9,2)", "Decimal( 38 , 0 )", "fixed[16]", "uuid")] == [
        "DECIMAL(9, 2)",
        "DECIMAL(38, 0)",
        "BLOB",
        "UUID",
    ]
