"""The live rows that have a key of ours: all of them, at their very positions, whoever wrote the files and however."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.types import ListType, LongType, NestedField, StructType

from assets_tests.iceberg.merge.located import NAME, ids, located, made, opened, things
from lakehouse.errors import CatalogError, CommitError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.merge.found import Found
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.iceberg.selection.plan import Touched
from lakehouse.tables import Column, PartitionField

PLACES = ListType(50, StructType(NestedField(51, "order_id", LongType())), element_required=False)
Hide = Callable[..., None]


def test_every_row_of_a_key_is_found_where_it_is(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    table = made(lake)
    table.append(things([1, 2, None, 3]), run_key="1")
    table.append(things([4, 2, 2]), run_key="2")
    assert located(duck, table, ids(2, 4, 9)) == [(0, 1, 0), (1, 0, 1), (1, 1, 0), (1, 2, 0)]
    assert located(duck, table, ids(9)) == []
    rows = things([2, 3])
    assert located(duck, table, rows, only=["order_id"], sequence="version") == [
        (0, 1, 0, 1),
        (0, 3, 1, 3),
        (1, 1, 0, 1),
        (1, 2, 0, 2),
    ]


def test_nothing_is_found_in_an_empty_table(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    assert located(duck, made(lake), ids(1)) == []


@pytest.mark.parametrize("own_reader", [False, True])
@pytest.mark.parametrize("anybody", [False, True])
def test_rows_that_another_program_has_hidden_are_not_found(
    lake: Lake, duck: duckdb.DuckDBPyConnection, hide: Hide, *, own_reader: bool, anybody: bool
) -> None:
    """By DuckDB, and by our reader, which is asked for a file without field ids; positions stay the file's own."""
    table = made(lake)
    table.append(things([1, 2, 3, 4]), run_key="1")
    if own_reader:
        without_ids(table)
    path = table.live_files()[0].path
    for position in (0, 2):
        hide(opened(table), position, of=path, anybody=anybody)
    table.append(things([1]), run_key="2")
    assert located(duck, table, ids(1, 2, 3, 4)) == [(0, 1, 1), (0, 3, 3), (1, 0, 0)]
    assert located(duck, table, ids(3)) == []


def without_ids(table: LakeTable, number: int = 0) -> None:
    """A file loses its field ids, as those have none that were added to a table from elsewhere."""
    path = table.live_files()[number].path.removeprefix("file://")
    rows = pq.ParquetFile(path).read()
    pq.write_table(rows.cast(pa.schema([pa.field(of.name, of.type) for of in rows.schema])), path, row_group_size=2)
    mapping = [{"field-id": of.field_id, "names": [of.name]} for of in opened(table).schema().fields]
    with opened(table).transaction() as change:
        change.set_properties({"schema.name-mapping.default": json.dumps(mapping)})


@pytest.mark.parametrize("own_reader", [False, True])
def test_a_file_that_is_not_there_is_an_error_of_ours(
    lake: Lake, duck: duckdb.DuckDBPyConnection, *, own_reader: bool
) -> None:
    table = made(lake)
    table.append(things([1]), run_key="1")
    state = opened(table)
    rules = Rules.of(NAME, state.schema(), ids(1).schema, key=["order_id"])
    file = Path(table.live_files()[0].path.removeprefix("file://"))
    with duck.cursor() as cursor, Source(cursor, NAME, state.schema(), rules, ids(1)):
        sources = Sources(cursor, NAME, state)
        touched = touched_like(state, str(file if own_reader is False else file.rename(file.with_name("a*.parquet"))))
        assert sources.readable([touched.file]) is not own_reader
        Path(touched.path).unlink()
        for ask in (Found(cursor, sources, NAME, state, rules).look, Found(cursor, sources, NAME, state, rules).holds):
            with pytest.raises(CatalogError, match="DuckDB failed while"):
                ask([touched])


def test_files_under_equality_deletes_are_refused(lake: Lake, duck: duckdb.DuckDBPyConnection, hide: Hide) -> None:
    table = made(lake)
    table.append(things([1, 2]), run_key="1")
    hide(opened(table), 2, by_value=True)
    with pytest.raises(CommitError, match="under equality deletes"):
        located(duck, table, ids(1))


def test_columns_are_found_by_field_id(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """Renamed, and another one takes the old name; a nested column, and an int that became a long."""
    table = made(lake, Column("order_id", "int"), Column("name", "string"), Column("version", "long"))
    small = things([5, 6]).set_column(0, "order_id", pa.array([5, 6], pa.int32()))
    table.append(small, run_key="1")
    with opened(table).update_schema() as change:
        change.update_column("order_id", LongType())
        change.rename_column("version", "old_version")
    with opened(table).update_schema() as change:
        change.add_column("version", LongType())
        change.add_column("places", PLACES)
    rows = pa.table(
        {
            "order_id": pa.array([5, 7], pa.int64()),
            "name": ["thing 5", "thing 7"],
            "old_version": pa.array([0, 0], pa.int64()),
            "version": pa.array([8, 9], pa.int64()),
            "places": pa.array([[{"order_id": 7}], None], pa.list_(pa.struct([("order_id", pa.int64())]))),
        }
    )
    table.append(rows, run_key="2")
    assert located(duck, table, ids(5, 6, 7)) == [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 2)]
    versions = pa.table({"version": pa.array([0, 8], pa.int64())})
    assert located(duck, table, versions) == [(1, 0, 1)]
    both = pa.table({"name": ["thing 5", "thing 5"], "old_version": pa.array([0, 1], pa.int64())})
    assert located(duck, table, both) == [(0, 0, 0), (1, 0, 0)]


@pytest.mark.parametrize("name", ["filename", "file_row_number", "file_index", "FILE_INDEX", "position", "row", "k0"])
def test_a_column_may_be_called_anything(lake: Lake, duck: duckdb.DuckDBPyConnection, name: str) -> None:
    table = made(lake, Column("order_id", "long"), Column(name, "long"), Column("ORDER_ID", "long"))
    rows = pa.table({"order_id": [1, 2], name: [7, 7], "ORDER_ID": [2, 1]})
    table.append(rows, run_key="1")
    table.append(rows, run_key="2")
    assert located(duck, table, ids(2)) == [(0, 1, 0), (1, 1, 0)]
    assert located(duck, table, pa.table({name: [7], "ORDER_ID": [2]})) == [(0, 0, 0), (1, 0, 0)]


VALUES: dict[str, list[Any]] = {
    "int": [-1, 0, 2**31 - 1],
    "long": [-(2**63), 0, 2**63 - 1],
    "string": ["", "a" * 40, "a" * 40 + "b", "é\U0001f600", "nul\0l"],
    "date": [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)],
    "time": [time(0), time(12, 0, 0, 1), time(23, 59, 59, 999_999)],
    "timestamp": [datetime(1, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(9999, 12, 31)],  # noqa: DTZ001
    "timestamptz": [datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)],
    "decimal(38, 10)": [Decimal("-1.0000000001"), Decimal("0E-10"), Decimal("9999999999999999999999999999.9999999999")],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**127), uuid.UUID(int=2**128 - 1)],
    "fixed[3]": [b"\0\0\0", b"\xff\0a", b"abc"],
    "binary": [b"", b"\xff" * 40, b"\0"],
    "boolean": [False, True],
}


@pytest.mark.parametrize("own_reader", [False, True])
@pytest.mark.parametrize("kind", VALUES)
def test_keys_of_every_type(lake: Lake, duck: duckdb.DuckDBPyConnection, kind: str, *, own_reader: bool) -> None:
    table = made(lake, Column("key", kind), Column("other", "int"))
    schema = table.scan().read_all().schema
    values = VALUES[kind]
    for value in values:
        table.append(pa.table([[value, None], [1, 2]], schema=schema), run_key=f"{value!r}")
    if own_reader:
        for number in range(len(values)):
            without_ids(table, number)
    keys = pa.table([values[::-1]], schema=pa.schema([schema.field("key")]))
    assert located(duck, table, keys) == [(of, 0, len(values) - 1 - of) for of in range(len(values))]
    composite = pa.table([values, [2] * len(values)], schema=schema)
    assert located(duck, table, composite) == []


def test_values_stand_in_files_not_in_names_of_folders(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """A folder is called `name=thing+1` for "thing 1"."""
    table = made(lake, partition_by=(PartitionField("name", "identity"),))
    table.append(things([1]), run_key="1")
    table.append(things([2]), run_key="2")
    assert {file.partition for file in table.live_files()} == {"name=thing+1", "name=thing+2"}
    assert located(duck, table, pa.table({"name": ["thing 2", "thing+1"]})) == [(1, 0, 0)]


def test_a_key_that_only_the_partition_tells(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """Files of Hive tables lack the columns that they are partitioned by (Iceberg spec, "Column Projection")."""
    table = made(lake, partition_by=(PartitionField("name", "identity"),))
    for number in (1, 2):
        table.append(
            things([number, number]).set_column(1, "name", pa.array([f"thing {number}"] * 2)), run_key=f"{number}"
        )
    for file in table.live_files():
        path = file.path.removeprefix("file://")
        pq.write_table(pq.ParquetFile(path).read().drop_columns("name"), path, store_schema=False)
    assert located(duck, table, pa.table({"name": ["thing 2"]})) == [(1, 0, 0), (1, 1, 0)]


@pytest.mark.parametrize("spelled", ["file:{}", "file://{}", "{}"])
def test_a_path_is_spelled_as_its_writer_likes(
    lake: Lake, duck: duckdb.DuckDBPyConnection, tmp_path: Path, spelled: str
) -> None:
    """Spark writes `file:/folder`; and a star in a name is no pattern."""
    table = made(lake)
    table.append(things([1]), run_key="1")
    state = opened(table)
    rows = pq.ParquetFile(table.live_files()[0].path.removeprefix("file://")).read()
    named = {
        "plain": tmp_path / "plain.parquet",
        "star": tmp_path / "st*r[1].parquet",
        "decoy": tmp_path / "star1.parquet",
    }
    for number, path in enumerate(named.values(), start=2):
        pq.write_table(rows.set_column(0, rows.schema.field(0), pa.array([number], pa.int64())), path)
    found = [touched_like(state, spelled.format(named[name])) for name in ("plain", "star")]
    keys = ids(1, 2, 3, 4)
    rules = Rules.of(NAME, state.schema(), keys.schema, key=["order_id"])
    with duck.cursor() as cursor, Source(cursor, NAME, state.schema(), rules, keys):
        looked = Found(cursor, Sources(cursor, NAME, state), NAME, state, rules)
        looked.look(found)
        rows_found = cursor.execute("SELECT file, position, row FROM merge_found").fetchall()
    assert {(looked.files[file].path, position, row) for file, position, row in rows_found} == {
        (found[0].path, 0, 1),
        (found[1].path, 0, 2),
    }


def touched_like(state: IcebergTable, path: str) -> Touched:
    """The table's only file under another path."""
    file = next(iter(state.scan().plan_files())).file
    told = {"content": file.content, "file_format": file.file_format, "partition": file.partition}
    moved = DataFile.from_args(file_path=path, record_count=1, file_size_in_bytes=1, **told)
    moved.spec_id = 0
    return Touched(moved, 1, frozenset())
