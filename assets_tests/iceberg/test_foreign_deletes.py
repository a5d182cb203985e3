"""Rows that another program hides by delete files (merge-on-read): scans leave them out, changes tell of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.delete_file_index import PATH_FIELD_ID
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.typedef import EMPTY_DICT

from lakehouse.errors import QueryError
from lakehouse.iceberg import CHANGE, Lake, LakeTable, connect
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Stock = Callable[[], IcebergTable]
KEY = ("order_id",)
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


class DeleteManifests(ManifestWriterV2):
    """PyIceberg writes manifests of data files only."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _AddDeletes(_FastAppendFiles):
    """A foreign writer that hides rows, as Spark's merge-on-read does."""

    file: DataFile

    def _manifests(self) -> list[ManifestFile]:
        spec = self.spec(self.file.spec_id)
        output = self.new_manifest_output()
        with DeleteManifests(spec, self.schema(), output, self._snapshot_id, self._compression) as writer:
            entry = ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self._snapshot_id,
                sequence_number=None,
                file_sequence_number=None,
                data_file=self.file,
            )
            writer.add_entry(entry)
        return [writer.to_manifest_file(), *super()._manifests()]

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        self._added_data_files = [self.file]
        try:
            return super()._summary(snapshot_properties)
        finally:
            self._added_data_files = []


def hide(table: IcebergTable, position: int, *, of: str | None = None, by_value: bool = False) -> None:
    """Delete one row of a data file (the only one) by its position, or by a value that is in no row."""
    task = next(task for task in table.scan().plan_files() if of in {None, task.file.file_path})
    path = f"{table.location()}/data/{uuid.uuid4()}-deletes.parquet"
    if by_value:
        content = pa.table({"order_id": pa.array([position], pa.int64())})
        schema = pa.schema([pa.field("order_id", pa.int64(), metadata={"PARQUET:field_id": "1"})])
    else:
        content = pa.table({"file_path": [task.file.file_path], "pos": pa.array([position], pa.int64())})
        ids = {"file_path": "2147483546", "pos": "2147483545"}
        schema = pa.schema([field.with_metadata({"PARQUET:field_id": ids[field.name]}) for field in content.schema])
    with table.io.new_output(path).create() as stream:
        pq.write_table(content.cast(schema), stream)
    bound = {} if by_value else {PATH_FIELD_ID: task.file.file_path.encode()}
    file = DataFile.from_args(
        content=DataFileContent.EQUALITY_DELETES if by_value else DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=task.file.partition,
        record_count=1,
        file_size_in_bytes=len(table.io.new_input(path)),
        lower_bounds=bound,
        upper_bounds=bound,
        equality_ids=[1] if by_value else None,
    )
    file.spec_id = task.file.spec_id
    transaction = table.transaction()
    producer = _AddDeletes(operation=Operation.OVERWRITE, transaction=transaction, io=table.io)
    producer.file = file
    producer.commit()
    transaction.commit_transaction()


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Orders 1, 2 and 3 in one file."""
    table = lake.create(orders)
    table.append(rows([1, 2, 3], D1), run_key="1")
    return table


@pytest.fixture
def stock(settings: Settings, orders: Table) -> Iterator[Stock]:
    """The table as plain PyIceberg opens it."""
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield lambda: catalog.load_table(orders.name.key)
    catalog.engine.dispose()


@pytest.fixture
def duck(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(settings) as connection:
        yield connection


def changed(table: LakeTable, since: int) -> list[tuple[str, int]]:
    with table.changes(since, key=KEY) as changes:
        read = changes.rows().read_all()
    return list(zip(read[CHANGE].to_pylist(), read["order_id"].to_pylist(), strict=True))


def test_hidden_rows_are_not_read_and_were_deleted(
    table: LakeTable, stock: Stock, duck: duckdb.DuckDBPyConnection
) -> None:
    since = table.snapshots()[0]
    hide(stock(), 1)
    scanned = table.scan().read_all().sort_by("order_id")
    asked = duck.sql(f"from {table.relation_sql()} order by order_id").to_arrow_table()
    assert scanned["order_id"].to_pylist() == [1, 3]
    assert asked.cast(scanned.schema).equals(scanned)
    # Positions count the rows of the file, not those that a filter chose.
    assert table.scan(where="order_id >= 2").read_all()["order_id"].to_pylist() == [3]
    assert changed(table, since.id) == [("delete", 2)]
    assert table.changed_days(since.sequence_number).days == (D1,)


def test_a_file_with_the_same_deletes_on_both_sides_did_not_change(table: LakeTable, rows: Rows, stock: Stock) -> None:
    hide(stock(), 0)
    since = table.snapshots()[0].id
    table.append(rows([4], D2), run_key="2")
    table.delete("order_id = 4", run_key="3")
    assert changed(table, since) == []


def test_compaction_after_deletes_shows_the_deletes_only(table: LakeTable, rows: Rows, stock: Stock) -> None:
    since = table.snapshots()[0].id
    hide(stock(), 0)
    deleted = table.snapshots()[0].id
    table.replace_files([task.file.file_path for task in stock().scan().plan_files()], rows([3, 2], D1), run_key="2")
    assert changed(table, since) == [("delete", 1)]
    assert changed(table, deleted) == []


def test_equality_deletes_are_refused_with_the_way_out(
    table: LakeTable, stock: Stock, duck: duckdb.DuckDBPyConnection
) -> None:
    since = table.snapshots()[0].id
    hide(stock(), 2, by_value=True)
    for read in (table.scan, lambda: table.scan(limit=1, where="order_id = 1"), lambda: table.changes(since)):
        with pytest.raises(QueryError, match="equality deletes") as caught:
            read()
        assert "lakehouse query" in caught.value.remedy
    assert duck.sql(f"select order_id from {table.relation_sql()} order by 1").fetchall() == [(1,), (3,)]
    assert table.changed_days(1).days == (D1,)
