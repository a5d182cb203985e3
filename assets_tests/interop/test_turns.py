"""A table with every turn that a table of ours can take, kept up: what Spark makes of it, and we of what Spark does.

Partitioned, sorted, with a personal column, a column renamed, one added and one widened, a branch, a tag, rows that we
and Spark added, and rows that Spark hid by position deletes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from assets_tests.interop.conftest import OpenReaders
from assets_tests.interop.readers import Readers, Rows
from lakehouse.iceberg import LakeTable, connect
from lakehouse.iceberg.compaction.outcome import CompactionStep, Phase
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Layer, Table, TableName, Window
from lakehouse.upkeep import UpkeepReport, keep_up

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
NAME = TableName(Layer.SILVER, "orders")
DAY = date(2026, 1, 1)
DAYS = 3
COLUMNS = (
    Column("order_id", "long", required=True),
    Column("order_day", "date", required=True),
    Column("amount", "decimal(12, 2)"),
    Column("paid_at", "timestamptz"),
    Column("local_time", "timestamp"),
    Column("email", "string", personal=True),
    Column("quantity", "int"),
    Column("note", "string"),
    Column("weight", "double"),
    Column("gift", "boolean"),
)
FIRST = Table(
    NAME,
    "shop",
    "Orders",
    COLUMNS,
    Path("orders.yaml"),
    window_column="order_day",
    window_start=DAY,
    sort_by=("amount",),
)
LATER = replace(
    FIRST,
    columns=(
        *(replace(column, type="long") if column.name == "quantity" else column for column in COLUMNS[:7]),
        Column("remark", "string", renamed_from="note"),
        *COLUMNS[8:],
        Column("discount", "decimal(10, 4)"),
    ),
)


def rows(table: LakeTable, first: int, count: int = 60) -> pa.Table:
    """Orders of all days, in the columns that the table has; every seventh value is missing."""
    numbers = range(first, first + count)
    start = datetime(2026, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    values: dict[str, list[object]] = {
        "order_id": list(numbers),
        "order_day": [DAY + timedelta(days=number % DAYS) for number in numbers],
        "amount": [None if number % 7 == 0 else Decimal(number * 37 % 1000) / 4 for number in numbers],
        "paid_at": [start + timedelta(hours=number) for number in numbers],
        "local_time": [start.replace(tzinfo=None) - timedelta(days=number) for number in numbers],
        "email": [f"{number}@example.com" for number in numbers],
        "quantity": [number % 5 for number in numbers],
        "note": [None if number % 7 == 0 else f"note {number} äö€" for number in numbers],
        "weight": [number / 3 for number in numbers],
        "gift": [number % 2 == 0 for number in numbers],
        "discount": [Decimal(number) / 8 for number in numbers],
    }
    values["remark"] = values["note"]
    schema = table.schema()
    return pa.table({name: values[name] for name in schema.names}, schema=schema)


@dataclass(frozen=True)
class Kept:
    """The table after upkeep, and what was read of it before."""

    readers: Readers
    table: LakeTable
    before: dict[str, Rows]
    reports: list[UpkeepReport]


@pytest.fixture(scope="module")
def kept(open_readers: OpenReaders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    state = tmp_path_factory.mktemp("turns")
    settings = load_settings(
        ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"}, warehouse=f"file://{state}/warehouse"
    )
    with open_readers(settings) as readers:
        table = grown(readers)
        before = {ref: readers.ours(NAME, ref) for ref in readers.refs(NAME)}
        yield Kept(readers, table, before, upkept(settings, readers))


def grown(readers: Readers) -> LakeTable:
    """The table, many small files of it, and position deletes of Spark's."""
    table = readers.lake.create(FIRST)
    for number in range(6):
        table.append(rows(table, 1000 * number), run_key=f"first {number}")
    table.tag("month_end", max_age=timedelta(days=365))
    table.create_branch("audit")
    table.append(rows(table, 90_000), run_key="audit", branch="audit")
    table.delete("order_id >= 1050 and order_id < 1060", run_key="deleted")
    table.overwrite(
        rows(table, 3).filter(pa.compute.equal(rows(table, 3)["order_day"], DAY)),
        where=Window.of_days(DAY, DAY),
        run_key="rebuilt",
    )
    table = readers.lake.create(LATER)
    for number in range(6, 12):
        table.append(rows(table, 1000 * number), run_key=f"later {number}")
    here = readers.spark_name(NAME)
    readers.spark.sql(f"alter table {here} set tblproperties('write.delete.mode' = 'merge-on-read')")
    readers.spark.sql(f"insert into {here} select * from {here} where order_id between 7000 and 7009")
    readers.spark.sql(f"delete from {here} where order_id % 10 = 3")
    return table


def upkept(settings: Settings, readers: Readers) -> list[UpkeepReport]:
    """Upkeep three times over a fortnight: what one replaces the next may expire, and orphans wait for their age."""
    now = datetime.now(UTC)
    return [
        keep_up(settings, readers.lake, NAME, run_id=f"day {days}", now=now + timedelta(days=days))
        for days in (1, 9, 14)
    ]


def test_upkeep_packed_and_expired_what_it_found(kept: Kept) -> None:
    first, last = kept.reports[0], kept.reports[-1]
    assert [report.troubles for report in kept.reports] == [()] * 3
    assert first.before.delete_files > 0
    assert last.after.delete_files == 0
    assert last.after.files <= DAYS < first.before.files
    assert last.after.snapshots < first.before.snapshots


@pytest.mark.parametrize("ref", ["main", "audit", "month_end"])
def test_all_engines_read_what_was_there_before(kept: Kept, ref: str) -> None:
    assert kept.readers.equal(NAME, ref) == kept.before[ref]


def test_every_snapshot_that_is_left_can_be_read(kept: Kept) -> None:
    found = kept.readers.spark.sql(f"select snapshot_id from {kept.readers.spark_name(NAME)}.snapshots")
    assert found
    for row in found:
        kept.readers.equal(NAME, row["snapshot_id"])


def test_spark_sees_the_files_that_we_see(kept: Kept) -> None:
    here = kept.readers.spark_name(NAME)
    files = kept.readers.spark.sql(f"select file_path, record_count, file_size_in_bytes from {here}.files")
    ours = {(urlsplit(file.path).path, file.rows, file.bytes) for file in kept.table.live_files()}
    assert {(urlsplit(row["file_path"]).path, row["record_count"], row["file_size_in_bytes"]) for row in files} == ours


def test_no_metadata_tells_of_people(kept: Kept) -> None:
    """Footers and manifests of compacted files, as Spark reads them: a personal column has no bounds in either."""
    here = kept.readers.spark_name(NAME)
    metrics = kept.readers.spark.sql(f"select readable_metrics from {here}.files")
    assert {row["readable_metrics"]["email"]["lower_bound"] for row in metrics} == {None}
    assert None not in {row["readable_metrics"]["order_id"]["lower_bound"] for row in metrics}
    paths = [urlsplit(file.path).path for file in kept.table.live_files()]
    with connect(kept.readers.settings) as connection:
        footers = "select path_in_schema, stats_min, stats_min_value from parquet_metadata(?)"
        found = connection.execute(footers, [paths]).fetchall()
    assert {(low, lower) for name, low, lower in found if name == "email"} == {(None, None)}


def test_spark_finds_nothing_that_upkeep_left_behind(kept: Kept) -> None:
    """Neither a file that no snapshot names, nor, with all files ten days old, a live one that it takes for such."""
    folder = Path(urlsplit(kept.readers.settings.warehouse).path) / "silver"
    old = (datetime.now(UTC) - timedelta(days=10)).timestamp()
    for file in folder.rglob("*"):
        os.utime(file, (old, old))
    limit = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d %H:%M:%S}"
    procedure = f"{kept.readers.spark.catalog}.system.remove_orphan_files"
    words = f"table => '{NAME}', older_than => timestamp '{limit}', dry_run => true"
    assert kept.readers.spark.sql(f"call {procedure}({words})") == []


def test_rows_that_spark_adds_after_upkeep_are_ours_too(kept: Kept) -> None:
    readers, here = kept.readers, kept.readers.spark_name(NAME)
    before = readers.ours(NAME)
    copied = "* except (order_id), order_id + 500000 as order_id"
    columns = ", ".join(name for name, _ in before.columns if name != "order_id")
    readers.spark.sql(f"insert into {here} ({columns}, order_id) select {copied} from {here} where order_id < 100")
    added = readers.spark.sql(f"select count(*) as rows from {here} where order_id >= 500000")[0]["rows"]
    assert added > 0
    assert readers.equal(NAME).count == before.count + added


def test_what_spark_deletes_while_files_are_packed_stays_deleted(kept: Kept) -> None:
    """Spark's delete lands between the proof of a group and its commit."""
    readers, table = kept.readers, kept.table
    for number in range(5):
        table.append(rows(table, 200_000 + 1000 * number), run_key=f"more {number}")
    seen: list[Phase] = []

    def meanwhile(step: CompactionStep) -> None:
        if step.phase is Phase.PROVED and Phase.PROVED not in seen:
            readers.spark.sql(f"delete from {readers.spark_name(NAME)} where order_id between 200000 and 200004")
        seen.append(step.phase)

    by_day: dict[str, list[str]] = {}
    for file in table.live_files():
        by_day.setdefault(file.partition, []).append(file.path)
    with connect(readers.settings) as connection:
        done = table.compact(list(by_day.values()), connection=connection, progress=meanwhile)
    assert done.overtaken > 0
    assert readers.equal(NAME).count > 0
    left = readers.spark.sql(
        f"select count(*) as rows from {readers.spark_name(NAME)} where order_id between 200000 and 200060"
    )
    assert left[0]["rows"] == 60 - 5


def test_spark_packs_and_expires_what_upkeep_left_and_we_read_on(kept: Kept) -> None:
    readers = kept.readers
    before, system = readers.ours(NAME), f"{readers.spark.catalog}.system"
    words = f"table => '{NAME}', options => map('rewrite-all', 'true')"
    readers.spark.sql(f"call {system}.rewrite_data_files({words})")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    readers.spark.sql(f"call {system}.expire_snapshots(table => '{NAME}', older_than => timestamp '{tomorrow}')")
    assert readers.equal(NAME) == before
    kept.table.append(rows(kept.table, 700_000), run_key="after Spark")
    assert readers.equal(NAME).count == before.count + 60
