"""Reading as Arrow: filters, projections, bounded memory, and the columns of the time that is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.expressions.visitors import bind
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.types import DateType, DecimalType, LongType, NestedField, StringType

from lakehouse.errors import CatalogError, QueryError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.selection.filter import row_filter
from lakehouse.settings import Settings
from lakehouse.tables import Column, Table, TableName

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]


@pytest.fixture
def week(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Ten orders on each of seven days, a file a day; amounts are a quarter of the number, NULL for every fifth."""
    table = lake.create(orders)
    for number in range(7):
        ids = range(number * 10, number * 10 + 10)
        amounts = [None if id_ % 5 == 0 else Decimal(id_) / 4 for id_ in ids]
        table.append(rows(ids, date(2026, 1, 1) + timedelta(days=number), amount=amounts), run_key=str(number))
    return table


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("order_id < 3", {0, 1, 2}),
        ("order_date = '2026-01-02' and order_id >= 18", {18, 19}),
        ("amount > 16", {66, 67, 68, 69}),
        ("email = '7@example.com' or order_id = 9", {7, 9}),
        ("order_id in (1, 2, 99)", {1, 2}),
        ("order_id < 6 and amount is null", {0, 5}),
        # As in SQL, a comparison with NULL is not true, and neither is its negation.
        ("order_id < 6 and not amount = 0.25", {2, 3, 4}),
        ("paid_at < '2026-01-01T00:00:00+00:00'", set()),
    ],
)
def test_a_filter_keeps_the_rows_that_sql_keeps(week: LakeTable, where: str, expected: set[int]) -> None:
    assert set(week.scan(columns=["order_id"], where=where).read_all()["order_id"].to_pylist()) == expected


def test_a_filter_needs_no_file_that_cannot_hold_such_rows(week: LakeTable, settings: Settings) -> None:
    for file in (settings.state / "warehouse").rglob("*order_date_day=2026-01-0[2-7]/*.parquet"):
        file.unlink()
    assert week.scan(where="order_date = '2026-01-01'").read_all().num_rows == 10
    assert week.scan(where="order_id < 10").read_all().num_rows == 10
    with pytest.raises(CatalogError):
        week.scan(where="order_id < 11").read_all()


def test_a_filter_may_be_about_a_column_that_is_not_read(week: LakeTable) -> None:
    assert week.scan(columns=["email"], where="order_id = 3").read_all().to_pylist() == [{"email": "3@example.com"}]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("order_id <", "place"),
        ("order_id = = 3", "place"),
        ("", "place"),
        ("nope = 3", "nope"),
        ("ORDER_ID = 3", "ORDER_ID"),
        ("order_date = 'never'", "never"),
        ("order_id = 'x'", "x"),
        ("amount = 'x'", "decimal"),
        ("true and order_id = 1", "true or false"),
        ("order_id = 1 or not false", "true or false"),
        ("email like 'a%b'", "end of a string"),
        ("email not like '%a'", "end of a string"),
    ],
)
def test_a_wrong_filter_tells_its_place_or_column(week: LakeTable, where: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        week.scan(where=where)
    assert said in str(caught.value)


_WORDS = (
    *("true", "false", "not", "and", "or", "(", ")", ",", "=", "!=", "<", "in", "not in", "like", "between", "null"),
    *("order_id", "email", "amount", "order_date", "is null", "is not null", "is nan", "1", "1.5"),
    *("'a%'", "'%a'", "'2026-01-01'"),
)


@given(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=7).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_a_text_is_a_filter_or_an_error_of_ours(text: str) -> None:
    schema = Schema(
        NestedField(1, "order_id", LongType()),
        NestedField(2, "email", StringType()),
        NestedField(3, "amount", DecimalType(12, 2)),
        NestedField(4, "order_date", DateType()),
    )
    with suppress(QueryError):
        bind(schema, row_filter(text, schema), case_sensitive=True)


def test_a_column_may_not_be_asked_for_twice(week: LakeTable) -> None:
    with pytest.raises(QueryError, match="twice"):
        week.scan(columns=["order_id", "order_id"])


def test_a_limit_reads_no_further_file(week: LakeTable, settings: Settings) -> None:
    first = week.scan(limit=10).read_all()["order_date"].to_pylist()
    for file in (settings.state / "warehouse").rglob("*.parquet"):
        if f"={first[0]}" not in str(file):
            file.unlink()
    assert week.scan(limit=10).read_all().num_rows == 10
    assert week.scan(limit=3, where=f"order_date = '{first[0]}'").read_all().num_rows == 3


def test_a_large_file_comes_in_batches_while_memory_stays_small(lake: Lake, flat: Table) -> None:
    slim = replace(flat, columns=(Column("order_id", "long", required=True), Column("text", "string")))
    table = lake.create(slim)
    row = pa.table({"order_id": range(50_000), "text": [f"{number:0>500}" for number in range(50_000)]})
    batches = (row.cast(table.schema()).to_batches()[0] for _ in range(8))
    commit = table.append(pa.RecordBatchReader.from_batches(table.schema(), batches), run_key="a")
    assert (commit.rows_added, commit.files_added) == (400_000, 1)
    held = pa.total_allocated_bytes()
    most, count = 0, 0
    for batch in table.scan():
        count += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - held)
    assert count == 400_000
    # All of it is 200 MB; PyIceberg's own reader holds a whole file before its first batch.
    assert most < 150 * 2**20


def test_the_past_has_its_own_columns_and_a_branch_those_of_now(
    lake: Lake, orders: Table, rows: Rows, foreign: Foreign, duck: duckdb.DuckDBPyConnection
) -> None:
    table = lake.create(orders)
    first = table.append(rows([1]), run_key="a").snapshot_id
    assert first is not None
    table.create_branch("run/x")
    with foreign(orders.name).manage_snapshots() as refs:
        refs.create_tag(first, "close")
    columns = (
        Column("coupon", "string"),
        *(replace(one, name="mail", renamed_from="email") if one.name == "email" else one for one in orders.columns),
    )
    lake.create(replace(orders, columns=columns))
    now = ["coupon", "order_id", "order_date", "amount", "paid_at", "mail"]
    for at, names in (
        ("main", now),
        ("run/x", now),
        (first, list(orders_names(orders))),
        ("close", orders_names(orders)),
    ):
        scanned = table.scan(at=at).read_all()
        asked = duck.sql(f"from {table.relation_sql(at)}").to_arrow_table()
        assert scanned.column_names == list(names), at
        assert asked.cast(scanned.schema).equals(scanned), at
        assert scanned.to_pylist()[0]["order_id"] == 1
    assert table.scan(at="main", where="mail = '1@example.com'").read_all()["coupon"].to_pylist() == [None]
    assert table.scan(at=first, where="email = '1@example.com'").read_all().num_rows == 1
    with pytest.raises(QueryError, match="mail"):
        table.scan(at=first, where="mail is null")


def orders_names(table: Table) -> list[str]:
    return [column.name for column in table.columns]
