"""Files of other times and other programs: every column is found by what it is, not by what it was called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField as IcebergField
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import ListType, LongType, NestedField, StringType

from lakehouse.iceberg import Compaction, Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName

NAME = TableName(Layer.SILVER, "kinds")
COLUMNS = (Column("id", "int", required=True), Column("city", "string"), Column("amount", "decimal(6, 2)"))
DECLARED = Table(NAME, "shop", "some rows", COLUMNS, Path("kinds.yaml"))


@pytest.fixture
def catalog(settings: Settings) -> Iterator[SqlCatalog]:
    """The same catalog as another program opens it."""
    uri = settings.catalog.uri.get_secret_value()
    made = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    yield made
    made.engine.dispose()


def content(*ids: int, **renamed: str) -> pa.Table:
    made = pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "city": [f"city {number}" for number in ids],
            "amount": pa.array([Decimal(number) / 4 for number in ids], pa.decimal128(6, 2)),
        }
    )
    return made.rename_columns([renamed.get(name, name) for name in made.column_names])


def compact(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> Compaction:
    return table.compact([[file.path for file in table.live_files()]], connection=duck)


def encoder(table: LakeTable) -> str:
    """Who encoded the only file."""
    (file,) = table.live_files()
    return str(pq.read_metadata(local_path(file.path)).created_by).split(" ")[0]


def shown(table: LakeTable) -> list[dict[str, object]]:
    return list(table.scan().read_all().sort_by("id").to_pylist())


def test_columns_that_were_renamed_added_and_widened(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """A name that came back means another column: by name, old cities would be read as new ones."""
    lake.create(DECLARED).append(content(1, 2), run_key="1")
    later = (
        Column("id", "long", required=True),
        Column("town", "string", renamed_from="city"),
        Column("amount", "decimal(12, 2)"),
    )
    lake.create(replace(DECLARED, columns=later))
    table = lake.create(replace(DECLARED, columns=(*later, Column("city", "string"))))
    more = content(3, city="town").cast(
        pa.schema([("id", pa.int64()), ("town", pa.string()), ("amount", pa.decimal128(12, 2))])
    )
    table.append(more.append_column("city", pa.array(["new"])), run_key="2")
    before = shown(table)
    assert [(row["town"], row["city"]) for row in before] == [("city 1", None), ("city 2", None), ("city 3", "new")]
    compact(table, duck)
    assert encoder(table) == "DuckDB"
    assert shown(table) == before
    schema = pq.read_schema(local_path(table.live_files()[0].path))
    assert (schema.names, schema.field("id").type) == (["id", "town", "amount", "city"], pa.int64())


def test_a_column_that_was_dropped_is_not_written_anew(
    lake: Lake, duck: duckdb.DuckDBPyConnection, catalog: SqlCatalog
) -> None:
    table = lake.create(DECLARED)
    for number in (1, 2):
        table.append(content(number), run_key=f"{number}")
    with catalog.load_table(NAME.key).update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("city")
    compact(table, duck)
    assert encoder(table) == "DuckDB"
    assert pq.read_schema(local_path(table.live_files()[0].path)).names == ["id", "amount"]
    assert [row["amount"] for row in shown(table)] == [Decimal("0.25"), Decimal("0.50")]


def test_files_without_field_ids_are_read_by_the_table_s_mapping(
    lake: Lake, duck: duckdb.DuckDBPyConnection, catalog: SqlCatalog
) -> None:
    """DuckDB shows NULL in every column of such a file, and the proof of NULLs would be that of NULLs."""
    # None of them required: nothing but the missing ids tells.
    table = lake.create(replace(DECLARED, columns=(Column("id", "int"), *COLUMNS[1:])))
    table.append(content(1), run_key="1")
    stock = catalog.load_table(NAME.key)
    path = f"{stock.location()}/given.parquet"
    pq.write_table(content(2).cast(stock.schema().as_arrow()).replace_schema_metadata(), local_path(path))
    bare = pa.schema([field.remove_metadata() for field in pq.read_schema(local_path(path))])
    pq.write_table(pq.read_table(local_path(path)).cast(bare), local_path(path), store_schema=False)
    stock.add_files([path])
    before = shown(table)
    assert [row["city"] for row in before] == ["city 1", "city 2"]
    compact(table, duck)
    assert encoder(table) == "parquet-cpp-arrow"
    assert shown(table) == before


def test_a_column_that_only_the_partition_tells(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """Files of Hive tables lack the columns that they are partitioned by (Iceberg spec, "Column Projection")."""
    table = lake.create(replace(DECLARED, partition_by=(PartitionField("city", "identity"),)))
    for number in (1, 2):
        table.append(content(7).set_column(0, "id", pa.array([number], pa.int32())), run_key=f"{number}")
    for file in table.live_files():
        path = local_path(file.path)
        pq.write_table(pq.read_table(path, partitioning=None).drop_columns("city"), path, store_schema=False)
    before = shown(table)
    assert [row["city"] for row in before] == ["city 7", "city 7"]
    compact(table, duck)
    assert encoder(table) == "parquet-cpp-arrow"
    assert shown(table) == before
    assert "city" in pq.read_schema(local_path(table.live_files()[0].path)).names


def test_values_stand_in_files_not_in_names_of_folders(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """A folder is called `city=a+b` for "a b"; DuckDB would take the name for the value, also in the proof."""
    columns = (Column("id", "long"), Column("city", "string"))
    table = lake.create(replace(DECLARED, columns=columns, partition_by=(PartitionField("city", "identity"),)))
    for number in (1, 2):
        table.append(pa.table({"id": [number], "city": ["a b"]}), run_key=f"{number}")
    before = shown(table)
    compact(table, duck)
    assert encoder(table).startswith("DuckDB")
    assert [row["city"] for row in before] == ["a b", "a b"]
    assert shown(table) == before


def test_files_of_an_old_partitioning_are_split_by_the_new_one(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    table = lake.create(DECLARED)
    for number in (1, 2):
        table.append(content(number, number + 2), run_key=f"{number}")
    table = lake.create(replace(DECLARED, partition_by=(PartitionField("city", "identity"),)))
    before = shown(table)
    assert not any(file.current_spec for file in table.live_files())
    done = compact(table, duck)
    assert (done.files_before, done.files_after) == (2, 4)
    assert {file.partition for file in table.live_files()} == {f"city=city+{number}" for number in (1, 2, 3, 4)}
    assert shown(table) == before
    assert len(table.scan(where="city = 'city 3'").read_all()) == 1


def test_old_and_new_partitioning_side_by_side(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    table = lake.create(DECLARED)
    table.append(content(1, 2), run_key="1")
    table = lake.create(replace(DECLARED, partition_by=(PartitionField("city", "identity"),)))
    table.append(content(1, 2), run_key="2")
    before = shown(table)
    done = table.compact([[file.path] for file in table.live_files()], connection=duck)
    assert (done.groups, len(done.commits), shown(table)) == (3, 1, before)
    assert all(file.current_spec for file in table.live_files())


def test_partitions_whose_columns_are_dates_numbers_and_nothing(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """The packed file is in the same partition, also that of NULL, and in the same folder."""
    columns = (Column("id", "long"), Column("day", "date"), Column("price", "decimal(6, 2)"))
    by = (PartitionField("day", "month"), PartitionField("price", "identity"), PartitionField("id", "bucket[2]"))
    table = lake.create(replace(DECLARED, columns=columns, partition_by=by))
    rows = pa.table(
        {
            "id": [1, 1, 1],
            "day": [date(2026, 1, 31), None, date(1969, 12, 31)],
            "price": pa.array([Decimal("1.50"), None, Decimal("-2.00")], pa.decimal128(6, 2)),
        }
    )
    for number in (1, 2):
        table.append(rows, run_key=f"{number}")
    groups: dict[str, list[str]] = {}
    for file in table.live_files():
        groups.setdefault(file.partition, []).append(file.path)
    folders = {local_path(paths[0]).parent for paths in groups.values()}
    done = table.compact(list(groups.values()), connection=duck)
    assert (done.groups, done.files_after) == (3, 3)
    assert {file.partition for file in table.live_files()} == groups.keys()
    assert {local_path(file.path).parent for file in table.live_files()} == folders
    assert len(table.scan(where="day = '1969-12-31'").read_all()) == 2
    assert len(table.scan(where="day is null").read_all()) == 2


def nested(catalog: SqlCatalog) -> IcebergTable:
    """A table that another program made, with a list in it, partitioned by a text."""
    schema = Schema(
        NestedField(1, "id", LongType(), required=False),
        NestedField(2, "tags", ListType(4, StringType(), element_required=False), required=False),
        NestedField(3, "city", StringType(), required=False),
    )
    spec = PartitionSpec(IcebergField(source_id=3, field_id=1000, transform=IdentityTransform(), name="city"))
    catalog.create_namespace_if_not_exists("silver")
    return catalog.create_table(NAME.key, schema=schema, partition_spec=spec)


def test_nested_columns_of_another_program(lake: Lake, duck: duckdb.DuckDBPyConnection, catalog: SqlCatalog) -> None:
    stock = nested(catalog)
    for tags in (["a", None, ""], [], None):
        stock.append(pa.table({"id": [1], "tags": pa.array([tags], pa.list_(pa.string())), "city": ["x"]}))
    table = lake.table(NAME)
    done = compact(table, duck)
    assert (done.files_before, done.files_after) == (3, 1)
    found = table.scan().read_all()["tags"].to_pylist()
    assert sorted(found, key=str) == sorted([["a", None, ""], [], None], key=str)


def test_a_folder_that_duckdb_takes_for_a_pattern(duck: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Named like a pattern of DuckDB's, which would find other files, or none."""
    odd = settings.model_copy(update={"warehouse": f"{settings.warehouse}/[a-z]*"})
    table = Lake.open(odd).create(DECLARED)
    for number in (1, 2):
        table.append(content(number), run_key=f"{number}")
    compact(table, duck)
    assert encoder(table) == "parquet-cpp-arrow"
    assert [row["id"] for row in shown(table)] == [1, 2]


def test_files_that_are_spelled_as_spark_does(lake: Lake, duck: duckdb.DuckDBPyConnection, catalog: SqlCatalog) -> None:
    """`file:/x`, where PyIceberg writes `file:///x`; a file's name is what the manifest says, to the letter."""
    table = lake.create(DECLARED)
    table.append(content(1), run_key="1")
    stock = catalog.load_table(NAME.key)
    path = f"file:{local_path(stock.location())}/data/of-spark.parquet"
    pq.write_table(content(2).cast(stock.schema().as_arrow()), local_path(path))
    stock.add_files([path])
    assert {file.path for file in table.live_files()} >= {path}
    done = compact(table, duck)
    assert (done.groups, done.files_before) == (1, 2)
    assert [row["id"] for row in shown(table)] == [1, 2]
