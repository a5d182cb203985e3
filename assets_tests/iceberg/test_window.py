"""Replacing days: the rows stay inside the window, the files outside stay untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.errors import CommitError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import PartitionField, Table, Window

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Day = Callable[[int], date]
DAYS = {number: date(2026, 1, number) for number in (1, 2, 3)}


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows, day: Day) -> LakeTable:
    made = lake.create(orders)
    made.append(pa.concat_tables([rows([number], day(number)) for number in (1, 2, 3)]), run_key="start")
    return made


@pytest.fixture
def files(settings: Settings) -> Callable[[], set[Path]]:
    """The data files on disk."""
    return lambda: set((settings.state / "warehouse").rglob("*.parquet"))


def test_the_window_is_replaced_and_nothing_else(table: LakeTable, rows: Rows, ids: Ids, day: Day) -> None:
    commit = table.overwrite(rows([20, 21], day(2)), where=Window.of_days(day(2), day(2)), run_key="a")
    assert (commit.rows_added, commit.rows_removed) == (2, 1)
    assert (commit.files_added, commit.files_removed) == (1, 1)
    assert ids(table) == [1, 3, 20, 21]


def test_a_window_of_several_days_and_an_empty_result(table: LakeTable, rows: Rows, ids: Ids, day: Day) -> None:
    table.overwrite(rows([30], day(3)), where=Window.of_days(day(2), day(3)), run_key="a")
    assert ids(table) == [1, 30]
    table.overwrite(rows([]), where=Window.of_days(day(3), day(3)), run_key="b")
    assert ids(table) == [1]


@pytest.mark.parametrize("outside", [1, 3])
def test_rows_outside_are_refused_and_nothing_is_written(
    table: LakeTable, rows: Rows, files: Callable[[], set[Path]], outside: int
) -> None:
    before = files()
    second = DAYS[2]
    mixed = pa.concat_tables([rows([20], second), rows([99, 98], DAYS[outside])])
    with pytest.raises(CommitError, match="outside the window"):
        table.overwrite(mixed, where=Window.of_days(second, second), run_key="a")
    assert len(table.snapshots()) == 1
    assert files() == before


def test_a_row_without_a_day_is_outside(lake: Lake, orders: Table, rows: Rows, day: Day) -> None:
    optional = tuple(replace(column, required=column.name == "order_id") for column in orders.columns)
    table = lake.create(replace(orders, columns=optional))
    given = rows([1, 2], order_date=[day(1), day(1)])
    column = pa.array([day(1), None], pa.date32())
    given = given.set_column(1, pa.field("order_date", pa.date32()), column)
    with pytest.raises(CommitError, match="1 of 2 rows"):
        table.overwrite(given, where=Window.of_days(day(1), day(1)), run_key="a")


@pytest.fixture
def monthly(lake: Lake, orders: Table) -> LakeTable:
    return lake.create(replace(orders, partition_by=(PartitionField("order_date", "month"),)))


def test_a_file_that_straddles_the_window_is_written_anew(monthly: LakeTable, rows: Rows, ids: Ids, day: Day) -> None:
    monthly.append(pa.concat_tables([rows([1], day(1)), rows([2], day(2))]), run_key="a")
    commit = monthly.overwrite(rows([20], day(2)), where=Window.of_days(day(2), day(2)), run_key="b")
    assert (commit.rows_added, commit.rows_removed, commit.rows_rewritten) == (1, 1, 1)
    assert ids(monthly) == [1, 20]
    assert monthly.overwrite(rows([30], day(2)), where=Window.of_days(day(1), day(2)), run_key="c").rows_rewritten == 0
    assert ids(monthly) == [30]


def test_files_of_a_monthly_table_are_told_apart_by_their_bounds(
    monthly: LakeTable, rows: Rows, ids: Ids, day: Day
) -> None:
    monthly.append(rows([1], day(1)), run_key="a")
    monthly.append(rows([2], day(2)), run_key="b")
    monthly.overwrite(rows([20], day(2)), where=Window.of_days(day(2), day(2)), run_key="c")
    assert ids(monthly) == [1, 20]


@pytest.mark.parametrize("hour", [0, 23])
def test_a_timestamp_column_has_days_in_utc(lake: Lake, orders: Table, rows: Rows, ids: Ids, hour: int) -> None:
    table = lake.create(replace(orders, window_column="paid_at"))
    window = Window.of_days(DAYS[2], DAYS[2])
    around = [datetime(2026, 1, 1, 23, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)]
    table.append(rows([1, 2], paid_at=around), run_key="a")
    table.append(rows([3], paid_at=[datetime(2026, 1, 2, hour, tzinfo=UTC)]), run_key="b")
    commit = table.overwrite(rows([4], paid_at=[datetime(2026, 1, 2, tzinfo=UTC)]), where=window, run_key="c")
    assert commit.rows_removed == 1
    assert ids(table) == [1, 2, 4]
    with pytest.raises(CommitError):
        table.overwrite(rows([5], paid_at=around[1:]), where=window, run_key="d")


def test_a_table_without_a_window_column_says_so(lake: Lake, flat: Table, rows: Rows, day: Day) -> None:
    with pytest.raises(CommitError, match="window column"):
        lake.create(flat).overwrite(rows([1]), where=Window.of_days(day(1), day(1)), run_key="a")


def test_a_window_before_the_epoch(monthly: LakeTable, rows: Rows, ids: Ids) -> None:
    old = date(1969, 12, 31)
    monthly.append(rows([1], old), run_key="a")
    monthly.overwrite(rows([2], old), where=Window.of_days(old, old), run_key="b")
    assert ids(monthly) == [2]


def test_bounds_of_a_timestamp_before_the_epoch(lake: Lake, orders: Table, rows: Rows, ids: Ids) -> None:
    at = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    table = lake.create(replace(orders, window_column="paid_at", partition_by=(PartitionField("paid_at", "year"),)))
    table.append(rows([1], paid_at=[at]), run_key="a")
    table.overwrite(rows([2], paid_at=[at]), where=Window.of_days(at.date(), at.date()), run_key="b")
    assert ids(table) == [2]
