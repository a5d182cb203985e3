"""Rows with columns that are new in the contract: the table follows it from their snapshot on, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CommitConflict, SchemaMismatch
from lakehouse.iceberg import Lake, Way
from lakehouse.tables import Column, Evolution, PartitionField, Table

Stock = Callable[[Twin], IcebergTable]
COLOUR = Column("colour", "string", description="Of its box")


@pytest.fixture(params=Way, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def twin(twins: Callable[..., Twin]) -> Twin:
    made = twins("by day")
    made.append(rows(*((number, 1, "old", 10) for number in range(1, 5))))
    return made


def grown(twin: Twin, *columns: Column) -> Table:
    return replace(twin.declared, columns=(*twin.declared.columns, *columns))


def merge(twin: Twin, given: pa.Table, evolve: Table, run_key: str = "grow", **named: object) -> str:
    commit = twin.table.merge(
        given,
        key=["id"],
        connection=twin.duck,
        evolve=evolve,
        run_key=run_key,
        **named,  # type: ignore[arg-type]  # as they are there
    )
    return commit.operation


def shown(twin: Twin) -> dict[int, tuple[str, str | None]]:
    """Name and colour by key, as PyIceberg and DuckDB read them."""
    read = {row["id"]: (row["name"], row["colour"]) for row in twin.table.scan().read_all().to_pylist()}
    told = twin.duck.sql(f"select id, name, colour from {twin.table.relation_sql()}").fetchall()
    assert read == {number: (name, colour) for number, name, colour in told}
    return read


def test_a_new_column_comes_with_the_rows_in_one_commit(twin: Twin, way: Way, stock: Stock) -> None:
    before = stock(twin).metadata
    assert merge(twin, rows((2, 1, "new", 1), (9, 2, "new", 1), colour=["red", "blue"]), grown(twin, COLOUR), way=way)
    after = stock(twin).metadata
    assert shown(twin) == {
        1: ("old", None), 2: ("new", "red"), 3: ("old", None), 4: ("old", None), 9: ("new", "blue"),
    }  # fmt: skip
    assert len(after.snapshots) == len(before.snapshots) + 1
    assert len(after.metadata_log) == len(before.metadata_log) + 1
    # Who reads the past sees the columns of then.
    assert after.current_snapshot().schema_id == after.current_schema_id == before.current_schema_id + 1  # type: ignore[union-attr]  # there is one
    assert after.schema().find_field("colour").doc == COLOUR.description


def test_what_the_contract_says_of_partitions_and_order_is_followed_too(twin: Twin, way: Way, stock: Stock) -> None:
    declared = replace(grown(twin, COLOUR), partition_by=(PartitionField("id", "bucket[2]"),), sort_by=("colour",))
    merge(twin, rows((2, 1, "new", 1), (3, 1, "new", 1), (9, 1, "new", 1), colour=["b", "c", "a"]), declared, way=way)
    assert shown(twin) == {
        1: ("old", None), 2: ("new", "b"), 3: ("new", "c"), 4: ("old", None), 9: ("new", "a"),
    }  # fmt: skip
    metadata = stock(twin).metadata
    assert [field.name for field in metadata.spec().fields] == ["id_bucket_2"]
    assert metadata.sort_order().fields[0].source_id == metadata.schema().find_field("colour").field_id
    merge(twin, rows((4, 1, "again", 1), colour=["d"]), declared, "again", way=way)
    assert shown(twin)[4] == ("again", "d")


def test_another_writer_comes_between(twin: Twin, way: Way, between: Callable[..., None], stock: Stock) -> None:
    """The columns are staged anew upon what it left."""
    between(lambda: twin.append(rows((50, 1, "theirs", 1), (9, 1, "theirs", 1))))
    merge(twin, rows((2, 1, "new", 1), (9, 2, "new", 1), colour=["red", "blue"]), grown(twin, COLOUR), way=way)
    assert (shown(twin)[2], shown(twin)[9], shown(twin)[50]) == (("new", "red"), ("new", "blue"), ("theirs", None))
    assert len(shown(twin)) == 6
    metadata = stock(twin).metadata
    assert metadata.current_snapshot().schema_id == metadata.current_schema_id  # type: ignore[union-attr]  # there is one


def test_an_unrelated_append_of_meanwhile_keeps_the_new_columns(
    twin: Twin, way: Way, between: Callable[..., None], stock: Stock
) -> None:
    between(lambda: twin.append(rows((50, 1, "theirs", 1))))
    merge(twin, rows((2, 1, "new", 1), colour=["red"]), grown(twin, COLOUR), way=way)
    assert (shown(twin)[2], shown(twin)[50]) == (("new", "red"), ("theirs", None))
    metadata = stock(twin).metadata
    assert metadata.current_snapshot().schema_id == metadata.current_schema_id  # type: ignore[union-attr]  # there is one


def test_another_brings_the_same_column_meanwhile(
    twin: Twin, way: Way, between: Callable[..., None], lake: Lake
) -> None:
    between(lambda: lake.create(grown(twin, COLOUR)))
    merge(twin, rows((2, 1, "new", 1), colour=["red"]), grown(twin, COLOUR), way=way)
    assert shown(twin)[2] == ("new", "red")


def test_another_column_of_the_same_number_is_a_conflict(
    twin: Twin, between: Callable[..., None], lake: Lake, files: Callable[[], int]
) -> None:
    """What was written under that number would be read as the other's."""
    between(lambda: lake.create(grown(twin, Column("weight", "long"))))
    before = files()
    with pytest.raises(CommitConflict, match="columns of the rows were changed"):
        merge(twin, rows((2, 1, "new", 1), colour=["red"]), grown(twin, COLOUR, Column("weight", "long")))
    assert files() == before
    merge(twin, rows((2, 1, "new", 1), colour=["red"]), grown(twin, COLOUR, Column("weight", "long")))
    assert shown(twin)[2] == ("new", "red")


def test_a_table_that_is_frozen_or_contradicted_stays(twin: Twin, stock: Stock) -> None:
    before = stock(twin).metadata
    frozen = replace(grown(twin, COLOUR), evolution=Evolution.FREEZE)
    with pytest.raises(SchemaMismatch, match="frozen"):
        merge(twin, rows((2, 1, "new", 1), colour=["red"]), frozen)
    narrower = tuple(replace(of, type="int") if of.name == "version" else of for of in twin.declared.columns)
    with pytest.raises(SchemaMismatch, match="another type"):
        merge(twin, rows((2, 1, "new", 1)), replace(twin.declared, columns=narrower))
    assert stock(twin).metadata == before
    assert not twin.differs()


def test_without_a_snapshot_the_table_stays_as_it_is(twin: Twin, stock: Stock) -> None:
    before = stock(twin).metadata
    assert merge(twin, rows(colour=pa.nulls(0, pa.string())), grown(twin, COLOUR)) == "none"
    assert stock(twin).metadata == before


def test_a_contract_that_is_followed_already_changes_nothing(twin: Twin, way: Way, stock: Stock) -> None:
    before = stock(twin).metadata
    merge(twin, rows((2, 1, "new", 1)), twin.declared, way=way)
    assert stock(twin).metadata.schemas == before.schemas


def test_main_grows_with_a_branch(twin: Twin, way: Way) -> None:
    """Columns are the table's, rows the branch's."""
    twin.table.create_branch("run/x")
    merge(twin, rows((2, 1, "new", 1), colour=["red"]), grown(twin, COLOUR), way=way, branch="run/x")
    assert shown(twin)[2] == ("old", None)
    twin.table.publish("run/x")
    assert shown(twin)[2] == ("new", "red")
