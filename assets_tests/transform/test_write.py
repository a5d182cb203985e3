"""`write_model` without dbt: SQL on a plain DuckDB connection into a real Iceberg table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from lakehouse.errors import CommitError, SchemaMismatch, TransformError
from lakehouse.iceberg import Commit, Lake, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import Column, Strategy, Table, TableName, Window
from lakehouse.transform.write import save_view, write_model

DAILY = Table(
    TableName.parse("silver.daily"),
    "test",
    "",
    (
        Column("day", "date", required=True),
        Column("n", "long"),
        Column("worth", "decimal(18, 2)"),
    ),
    Path("daily.yaml"),
    window_column="day",
    window_start=date(2026, 1, 1),
    strategy=Strategy.OVERWRITE,
)
THREE = "select date '2026-01-01' + i::int as day, i as n, 1.005 as worth from range(3) as t(i)"


@pytest.fixture
def duck(settings: Settings) -> duckdb.DuckDBPyConnection:
    return connect(settings)


def write(  # noqa: PLR0913, PLR0917  (what tests vary, in the order they vary it)
    lake: Lake,
    duck: duckdb.DuckDBPyConnection,
    table: Table,
    sql: str,
    key: str = "1",
    window: Window | None = None,
    branch: str = "main",
) -> Commit:
    return write_model(lake, duck, table, sql, window=window, branch=branch, run_key=key)


def rows(lake: Lake, table: Table, branch: str = "main") -> list[tuple[object, ...]]:
    read = lake.table(table.name).scan(at=branch).read_all().to_pylist()
    return sorted(tuple(row.values()) for row in read)


def numbers(lake: Lake, table: Table, branch: str = "main") -> list[object]:
    return [row[1] for row in rows(lake, table, branch)]


def test_rows_are_cast_to_the_contract_by_name(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    sql = "select 2.5 as worth, '7' as n, timestamp '2026-01-01 10:00' as day -- the columns in any order"

    commit = write(lake, duck, DAILY, sql)

    assert rows(lake, DAILY) == [(date(2026, 1, 1), 7, Decimal("2.50"))]
    assert (commit.table, commit.branch, commit.rows_added) == (DAILY.name, "main", 1)


def test_missing_and_unknown_columns_are_named(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        write(lake, duck, DAILY, "select date '2026-01-01' as day, 1 as n, 2 as wroth")

    assert caught.value.found == "no worth and wroth besides"
    assert "daily.yaml" in caught.value.remedy
    assert not lake.exists(DAILY.name)


def test_null_in_a_required_column_is_refused(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SchemaMismatch, match="1 NULL in day"):
        write(lake, duck, DAILY, "select null as day, 1 as n, 2 as worth")

    loose = replace(DAILY, name=TableName.parse("silver.tightened"), window_column=None, strategy=Strategy.REPLACE)
    first = replace(loose, columns=(Column("day", "date"), *DAILY.columns[1:]))
    write(lake, duck, first, THREE)
    with pytest.raises(SchemaMismatch, match="1 NULL in day"):  # required since, optional in Iceberg still
        write(lake, duck, loose, "select null as day, 1 as n, 2 as worth", "2")


def test_an_error_in_the_sql_has_duckdbs_message_and_line(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TransformError, match=r"(?s)silver\.daily.*no_such_column.*LINE 2:"):
        write(lake, duck, DAILY, "select date '2026-01-01' as day,\n no_such_column as n, 1 as worth from range(1)")
    with pytest.raises(TransformError, match="the SQL of"):
        write(lake, duck, DAILY, "create table x as select 1 as y")


def test_an_error_half_way_commits_nothing(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    write(lake, duck, DAILY, THREE)
    late = f"select day, case when n < 2 then '1' else 'x' end as n, worth from ({THREE})"

    with pytest.raises(TransformError, match="Could not convert string 'x'"):
        write(lake, duck, DAILY, late, "2")

    assert numbers(lake, DAILY) == [0, 1, 2]


def test_overwrite_replaces_the_window_and_nothing_else(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    write(lake, duck, DAILY, THREE)
    second = Window.of_days(date(2026, 1, 2), date(2026, 1, 2))

    write(lake, duck, DAILY, "select date '2026-01-02' as day, 70 as n, 0 as worth", "2", second)
    assert numbers(lake, DAILY) == [0, 70, 2]

    with pytest.raises(CommitError):
        write(lake, duck, DAILY, THREE, "3", second)
    assert numbers(lake, DAILY) == [0, 70, 2]

    write(lake, duck, DAILY, f"select * from ({THREE}) where n = 1", "4")
    assert numbers(lake, DAILY) == [1]


@pytest.mark.parametrize(("strategy", "after"), [(Strategy.REPLACE, [0, 1, 2]), (Strategy.APPEND, [0, 0, 1, 1, 2, 2])])
def test_replace_and_append(
    lake: Lake, duck: duckdb.DuckDBPyConnection, strategy: Strategy, after: list[object]
) -> None:
    table = replace(DAILY, strategy=strategy)

    write(lake, duck, table, THREE)
    write(lake, duck, table, THREE, "2")

    assert numbers(lake, table) == after


def test_the_same_run_writes_once(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    table = replace(DAILY, strategy=Strategy.APPEND)
    first = write(lake, duck, table, THREE)

    again = write(lake, duck, table, THREE)

    assert again.already_done
    assert again.snapshot_id == first.snapshot_id
    assert numbers(lake, table) == [0, 1, 2]


def test_a_branch_is_made_and_main_left_alone(settings: Settings, lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    write(lake, duck, DAILY, f"select * from ({THREE}) where n = 0")

    write(lake, duck, DAILY, THREE, "2", branch="run/2")

    assert numbers(lake, DAILY) == [0]
    assert numbers(lake, DAILY, "run/2") == [0, 1, 2]
    reader = connect(settings)
    register(reader, lake, at="run/2")
    assert reader.sql("select count(*) from silver.daily").fetchall() == [(3,)]


def test_models_read_the_lake_by_name(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    write(lake, duck, DAILY, THREE)
    register(duck, lake)
    total = replace(DAILY, name=TableName.parse("gold.total"), window_column=None, strategy=Strategy.REPLACE)

    write(lake, duck, total, "select max(day) as day, sum(n) as n, sum(worth) as worth from silver.daily;\n")

    assert rows(lake, total) == [(date(2026, 1, 3), 3, Decimal("3.03"))]


def test_models_are_written_side_by_side_on_one_connection(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    register(duck, lake)  # as the plugin does before any model is written
    tables = [replace(DAILY, name=TableName.parse(f"silver.t{number}")) for number in range(4)]

    with ThreadPoolExecutor(4) as pool:
        commits = list(pool.map(lambda table: write(lake, duck, table, THREE), tables))

    assert [commit.rows_added for commit in commits] == [3, 3, 3, 3]
    assert all(numbers(lake, table) == [0, 1, 2] for table in tables)


def test_a_view_is_kept_for_connections_to_come(
    settings: Settings, lake: Lake, duck: duckdb.DuckDBPyConnection
) -> None:
    write(lake, duck, DAILY, THREE)
    register(duck, lake)

    save_view(lake, duck, "staging", "big", "select * from silver.daily where n > 0")

    assert duck.sql("select count(*) from staging.big").fetchall() == [(2,)]
    other = connect(settings)
    register(other, lake)
    assert other.sql("select count(*) from staging.big").fetchall() == [(2,)]


def test_a_view_that_fails_is_not_kept(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TransformError, match=r"staging\.bad"):
        save_view(lake, duck, "staging", "bad", "select * from nowhere")

    assert lake.views.all() == []
