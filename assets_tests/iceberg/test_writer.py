"""The files that a write makes: partitions, size, order, metrics, memory, and none left after a failure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import parse_transform
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestamptzType,
)

from lakehouse.errors import StateError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.parquet.partition import transformed
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName, Upkeep

Rows = Callable[..., pa.Table]
FilesOf = Callable[[LakeTable], list[DataFile]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files_of(settings: Settings) -> FilesOf:
    """The table's live data files, as another program sees them."""
    from pyiceberg.catalog.sql import SqlCatalog

    def files(table: LakeTable) -> list[DataFile]:
        uri = settings.catalog.uri.get_secret_value()
        catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
        loaded: IcebergTable = catalog.load_table(table.name.key)
        found = [task.file for task in loaded.scan().plan_files()]
        catalog.engine.dispose()
        return found

    return files


def parquet(file: DataFile) -> pq.ParquetFile:
    return pq.ParquetFile(local_path(file.file_path))


def test_a_day_is_a_folder_and_a_file(lake: Lake, orders: Table, rows: Rows, files_of: FilesOf) -> None:
    table = lake.create(orders)
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(40)]
    # Each batch touches every day: no more than sixteen files may be open, and still each day becomes one file.
    batches = [batch for _ in range(3) for batch in rows(range(40), order_date=days).to_batches()]
    table.append(pa.Table.from_batches(batches), run_key="a")
    files = files_of(table)
    assert len(files) == 40
    assert {Path(file.file_path).parent.name for file in files} == {f"order_date_day={day}" for day in days}
    assert {file.record_count for file in files} == {3}


def test_a_file_is_as_large_on_disk_as_the_manifest_says(
    lake: Lake, orders: Table, rows: Rows, files_of: FilesOf
) -> None:
    table = lake.create(orders)
    commit = table.append(rows(range(1000)), run_key="a")
    [file] = files_of(table)
    assert file.file_size_in_bytes == local_path(file.file_path).stat().st_size == commit.bytes_added


def test_files_carry_field_ids_and_required_flags(lake: Lake, orders: Table, rows: Rows, files_of: FilesOf) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    [file] = files_of(table)
    schema = parquet(file).schema_arrow
    assert [field.metadata[b"PARQUET:field_id"] for field in schema] == [b"1", b"2", b"3", b"4", b"5"]
    assert [field.nullable for field in schema] == [False, False, True, True, True]
    assert parquet(file).metadata.row_group(0).column(0).compression == "ZSTD"


def test_personal_columns_have_no_bounds_and_others_do(
    lake: Lake, orders: Table, rows: Rows, files_of: FilesOf
) -> None:
    table = lake.create(orders)
    table.append(rows([3, 1, 2]), run_key="a")
    [file] = files_of(table)
    assert set(file.lower_bounds) == set(file.upper_bounds) == {1, 2, 3, 4}
    assert file.lower_bounds[1] == (1).to_bytes(8, "little")
    assert file.null_value_counts[1] == 0


def test_personal_columns_have_no_statistics_in_the_file_either(
    lake: Lake, orders: Table, rows: Rows, files_of: FilesOf
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    [file] = files_of(table)
    group = parquet(file).metadata.row_group(0)
    assert [group.column(number).is_stats_set for number in range(5)] == [True, True, True, True, False]


def test_a_file_rolls_at_its_size_on_disk(lake: Lake, flat: Table, rows: Rows, files_of: FilesOf) -> None:
    table = lake.create(replace(flat, upkeep=Upkeep(target_file_mb=1)))
    # Random text does not compress: 16 bytes a row and 1.5 million rows are at least 24 MB of Parquet.
    text = pa.array([f"{number * 2654435761 % 2**64:016x}" for number in range(200_000)])

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(8):
            batch = rows([]).slice(0, 0)
            columns = {name: pa.nulls(len(text), batch.schema.field(name).type) for name in ("amount", "paid_at")}
            columns["order_id"] = pa.array(range(len(text)), pa.int64())
            columns["order_date"] = pa.repeat(pa.scalar(date(2026, 1, 1)), len(text))
            columns["email"] = text
            yield pa.record_batch([columns[name] for name in batch.schema.names], schema=batch.schema)

    table.append(pa.RecordBatchReader.from_batches(rows([]).schema, batches()), run_key="a")
    files = files_of(table)
    assert len(files) > 1
    assert sum(file.record_count for file in files) == 1_600_000
    assert min(file.file_size_in_bytes for file in files[:-1]) > 1_000_000


def test_sorted_files_claim_their_order(lake: Lake, orders: Table, rows: Rows, files_of: FilesOf) -> None:
    table = lake.create(replace(orders, sort_by=("amount", "order_id")))
    table.append(rows([3, 1, 2], amount=[Decimal(1), None, Decimal(1)]), run_key="a")
    [file] = files_of(table)
    assert parquet(file).read()["order_id"].to_pylist() == [2, 3, 1]
    assert file.sort_order_id == 1


def test_files_without_an_order_claim_none(lake: Lake, orders: Table, rows: Rows, files_of: FilesOf) -> None:
    table = lake.create(orders)
    table.append(rows([3, 1, 2]), run_key="a")
    [file] = files_of(table)
    assert parquet(file).read()["order_id"].to_pylist() == [3, 1, 2]
    assert file.sort_order_id is None


@pytest.mark.parametrize("transform", ["identity", "bucket[4]", "truncate[10]", "day", "month", "year", "hour"])
def test_every_transform_can_partition_a_table(
    lake: Lake, orders: Table, rows: Rows, files_of: FilesOf, transform: str
) -> None:
    column = "order_id" if transform.startswith(("identity", "bucket", "truncate")) else "paid_at"
    fields = (PartitionField(column, transform),)
    table = lake.create(replace(orders, partition_by=fields, window_column=None))
    times = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=number * 500) for number in range(50)]
    given_rows = rows(range(50), paid_at=times)
    table.append(given_rows, run_key="a")
    assert table.scan().read_all().sort_by("order_id").equals(given_rows.cast(table.schema()))
    assert len({file.partition for file in files_of(table)}) == len(files_of(table)) > 1


def test_null_is_a_partition_of_its_own(lake: Lake, orders: Table, rows: Rows, files_of: FilesOf) -> None:
    table = lake.create(
        replace(orders, partition_by=(PartitionField("email", "identity"), PartitionField("paid_at", "month")))
    )
    table.append(rows([1, 2, 3], email=["a/b c", None, None], paid_at=[None] * 3), run_key="a")
    assert {tuple(file.partition) for file in files_of(table)} == {("a/b c", None, 20454), (None, None, 20454)}


_VALUES: dict[str, tuple[IcebergType, pa.DataType, st.SearchStrategy[object]]] = {
    "int": (IntegerType(), pa.int32(), st.integers(-(2**30), 2**30)),
    "long": (LongType(), pa.int64(), st.integers(-(2**62), 2**62)),
    "string": (StringType(), pa.string(), st.text(max_size=12)),
    "binary": (BinaryType(), pa.binary(), st.binary(max_size=12)),
    "decimal": (
        DecimalType(12, 2),
        pa.decimal128(12, 2),
        st.decimals(-(10**9), 10**9, places=2, allow_nan=False, allow_infinity=False),
    ),
    "date": (DateType(), pa.int32(), st.integers(-100_000, 100_000)),
    "timestamptz": (TimestamptzType(), pa.int64(), st.integers(-(10**16), 10**16)),
}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kind, text)
        for kind in _VALUES
        for text in ("bucket[7]", "truncate[3]", "year", "month", "day", "hour")
        if parse_transform(text).can_transform(_VALUES[kind][0])
    ],
)
@given(data=st.data())
def test_transforms_of_arrays_are_those_of_single_values(kind: str, text: str, data: st.DataObject) -> None:
    source, physical, values = _VALUES[kind]
    some = data.draw(st.lists(st.none() | values, max_size=20))
    array = pa.array(some, physical)
    if kind == "date":
        array = pc.cast(array, pa.date32())
    if kind == "timestamptz":
        array = pc.cast(array, pa.timestamp("us", tz="UTC"))
    transform = parse_transform(text)
    one = transform.transform(source)
    expected = [None if value is None else one(value) for value in some]
    assert transformed(transform, source, array).to_pylist() == expected


def test_memory_stays_bounded_however_many_rows_come(tmp_path: Path) -> None:
    """20 million rows of 40 bytes are 800 MB of Arrow."""
    code = """
import json, sys
from datetime import date
from pathlib import Path
import pyarrow as pa
import pyarrow.compute as pc
from bench.report import peak_mb as peak
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName
state = Path(sys.argv[2])
lake = Lake.open(load_settings(Path(sys.argv[1]), state=str(state), catalog={"uri": f"sqlite:///{state}/c.db"}))
kinds = [Column(name, "long") for name in "abcde"]
table = lake.create(Table(TableName(Layer.SILVER, "big"), "d", "", tuple(kinds), Path("x.yaml")))
base = pa.array(range(1_000_000), pa.int64())
schema = pa.schema([(name, pa.int64()) for name in "abcde"])
def batches(count):
    for number in range(count):
        yield pa.record_batch([pc.add(base, number * k) for k in range(5)], schema=schema)
table.append(pa.RecordBatchReader.from_batches(schema, batches(2)), run_key="warm")
before = peak()
table.append(pa.RecordBatchReader.from_batches(schema, batches(20)), run_key="big")
print(json.dumps({"mb": peak() - before, "rows": table.stats().rows}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rows"] == 22_000_000
    assert said["mb"] < 300


def test_a_full_disk_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    """The limit on the size of a file stands in for a full disk: the kernel refuses the same call."""
    code = """
import resource, signal, sys
from pathlib import Path
import pyarrow as pa
from lakehouse.errors import StateError
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName
state = Path(sys.argv[2])
lake = Lake.open(load_settings(Path(sys.argv[1]), state=str(state), catalog={"uri": f"sqlite:///{state}/c.db"}))
table = lake.create(Table(TableName(Layer.SILVER, "big"), "d", "", (Column("a", "long"),), Path("x.yaml")))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    table.append(pa.table({"a": pa.array(range(1_000_000), pa.int64())}), run_key="a")
except StateError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert "while writing files of silver.big" in done.stdout
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_file_in_the_place_of_a_folder_is_said(lake: Lake, orders: Table, rows: Rows, settings: Settings) -> None:
    table = lake.create(orders)
    (settings.state / "warehouse" / "silver" / "orders" / "data").write_text("in the way")
    with pytest.raises(StateError, match=r"silver\.orders"):
        table.append(rows([1]), run_key="a")


def test_the_target_size_comes_from_the_contract(lake: Lake, flat: Table, settings: Settings) -> None:
    lake.create(replace(flat, upkeep=Upkeep(target_file_mb=3)))
    [metadata] = (settings.state / "warehouse").rglob("*.metadata.json")
    assert json.loads(metadata.read_text())["properties"]["write.target-file-size-bytes"] == str(3 * 2**20)


def test_a_warehouse_whose_name_has_to_be_quoted(tmp_path: Path) -> None:
    state = tmp_path / "a b%20c'ü"
    state.mkdir()
    lake = Lake.open(load_settings(ROOT, state=str(state), catalog={"uri": f"sqlite:///{tmp_path}/catalog.db"}))
    name = TableName(Layer.SILVER, "one")
    table = lake.create(Table(name, "d", "", (Column("a", "long"),), Path("one.yaml")))
    table.append(pa.table({"a": [1]}), run_key="a")
    assert table.scan().read_all()["a"].to_pylist() == [1]
    assert list((state / "warehouse").rglob("*.parquet"))
