"""What the storage holds of a file is compared with what was written, before anything is committed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.parquet.data_file import verify
from lakehouse.settings import Settings
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, Table, TableName

Rows = Callable[..., pa.Table]
Damage = Callable[[Path], None]


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"more")


def zero_the_end(file: Path) -> None:
    """Of the same length: a disk that lost its last page."""
    content = file.read_bytes()
    file.write_bytes(content[:-100] + bytes(100))


def lose(file: Path) -> None:
    file.unlink()


def replace_by_other_rows(file: Path) -> None:
    """A good footer in a file of the same length, of another number of rows."""
    content = pq.read_table(file)
    length = file.stat().st_size
    other = content.slice(0, 1)
    # A footer shorter than the one that was written: it can be read.
    pq.write_table(other, file, compression="none", store_schema=False, write_statistics=False)
    # Padded in front of the footer, where no reader looks.
    written = file.read_bytes()
    file.write_bytes(written[:4] + bytes(length - len(written)) + written[4:])


DAMAGES = [cut, empty, lengthen, zero_the_end, lose, replace_by_other_rows]


class DamagedStorage(PyArrowFileIO):
    """A folder whose files are not what was written once they are read."""

    damage: Damage

    def new_input(self, location: str) -> PyArrowFile:
        if location.endswith(".parquet"):
            self.damage(local_path(location))
        return super().new_input(location)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_as_it_was_written_is_not_committed(
    lake: Lake, orders: Table, rows: Rows, settings: Settings, damage: Damage
) -> None:
    lake.create(orders)
    catalog = SqlCatalog(
        settings.catalog.name, uri=settings.catalog.uri.get_secret_value(), warehouse=settings.warehouse
    )

    def load() -> IcebergTable:
        table = catalog.load_table(orders.name.key)
        table.io = DamagedStorage(table.io.properties)
        table.io.damage = damage
        return table

    with pytest.raises(CatalogError, match=r"\.parquet"):
        LakeTable(orders.name, load).append(rows(range(1000)), run_key="a")
    catalog.engine.dispose()
    assert lake.table(orders.name).snapshots() == ()
    assert not list((settings.state / "warehouse").rglob("*.parquet"))


def test_a_file_as_it_was_written_is_verified_by_its_footer_alone(tmp_path: Path) -> None:
    """Rows that changed in the middle are out of reach: only the end is read."""
    file = tmp_path / "x.parquet"
    with pq.ParquetWriter(file, pa.schema([("a", pa.int64())])) as writer:
        writer.write_table(pa.table({"a": range(100_000)}))
    footer, size = writer.writer.metadata, file.stat().st_size
    tail = int.from_bytes(file.read_bytes()[-8:-4], "little") + 8
    io = PyArrowFileIO()
    verify(io, f"file://{file}", footer, size=size, tail=tail)
    content = bytearray(file.read_bytes())
    content[size // 2] ^= 0xFF
    file.write_bytes(content)
    verify(io, f"file://{file}", footer, size=size, tail=tail)


def test_the_error_names_the_file_and_what_is_wrong(tmp_path: Path) -> None:
    file, other = tmp_path / "x.parquet", tmp_path / "y.parquet"
    content = pa.table({"a": range(1000)})
    with pq.ParquetWriter(file, content.schema) as writer:
        writer.write_table(content)
    footer, size = writer.writer.metadata, file.stat().st_size
    shutil.copy(file, other)
    lengthen(other)
    with pytest.raises(CatalogError) as caught:
        verify(PyArrowFileIO(), f"file://{other}", footer, size=size, tail=200)
    assert str(other) in caught.value.what
    assert caught.value.expected == f"{size} bytes"
    assert caught.value.found == f"{size + 4} bytes"


def test_columns_whose_values_repeat_have_a_dictionary(lake: Lake, flat: Table, rows: Rows, settings: Settings) -> None:
    lake.create(flat).append(rows(range(1000), amount=[1] * 1000), run_key="a")
    [file] = (settings.state / "warehouse").rglob("*.parquet")
    group = pq.read_metadata(file).row_group(0)
    with_dictionary = {
        group.column(number).path_in_schema
        for number in range(group.num_columns)
        if group.column(number).has_dictionary_page
    }
    assert with_dictionary == {"order_date", "amount", "paid_at"}


def test_one_huge_batch_is_written_in_row_groups(lake: Lake, settings: Settings) -> None:
    """96 MB in one batch: what makes it must have room for it, readers need not."""
    columns = (Column("a", "long"),)
    table = lake.create(Table(TableName(Layer.SILVER, "huge"), "d", "", columns, Path("x")))
    count = 12_000_000
    huge = pa.record_batch([pa.repeat(pa.scalar(1, pa.int64()), count)], schema=table.schema())
    table.append(pa.RecordBatchReader.from_batches(huge.schema, [huge]), run_key="a")
    [file] = (settings.state / "warehouse").rglob("*.parquet")
    footer = pq.read_metadata(file)
    assert footer.num_rows == count
    assert footer.num_row_groups == 2
