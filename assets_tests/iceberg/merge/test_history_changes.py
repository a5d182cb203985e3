"""The changes that a history is told: which are taken in, as what, and which are refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from lakehouse.errors import CommitError, SchemaMismatch
from lakehouse.iceberg.merge.changes import Changes
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.merge.versions import CHANGES
from lakehouse.iceberg.schemas.schema import iceberg_type
from lakehouse.tables import TableName

NAME = TableName.parse("gold.dim")
FIELDS = [
    ("code", "string", True),
    ("id", "int", False),
    ("name", "string", True),
    ("weight", "double", False),
    ("valid_from", "timestamptz", True),
    ("valid_to", "timestamptz", False),
]
DIM = Dimension.of(
    NAME,
    Schema(
        *(
            NestedField(number, name, iceberg_type(kind), required)
            for number, (name, kind, required) in enumerate(FIELDS, start=1)
        )
    ),
    key=("id",),
    valid_from="valid_from",
    valid_to="valid_to",
    current=None,
    surrogate="code",
    tracked=None,
)
NOON = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
ZONED = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def rows(**columns: list[Any]) -> pa.Table:
    """Two changes; NULL or other columns by name."""
    told = {"id": [1, 2], "name": ["a", "b"], "weight": [-0.0, None], "at": pa.array([NOON, NOON], ZONED), **columns}
    return pa.table({name: values for name, values in told.items() if values is not None})


def taken(duck: duckdb.DuckDBPyConnection, rows: pa.Table | pa.RecordBatchReader, **arguments: Any) -> Changes:  # noqa: ANN401
    return Changes(duck, NAME, DIM, rows, **{"effective": "at", "deleted": None, **arguments})


@pytest.mark.parametrize("streamed", [False, True])
def test_changes_are_numbered_as_they_arrive_and_encoded(duck: duckdb.DuckDBPyConnection, *, streamed: bool) -> None:
    given = pa.concat_tables([rows(), rows(name=["c", None], gone=[None, True])], promote_options="default")
    changes = taken(duck, given.to_reader(max_chunksize=1) if streamed else given, deleted="gone")
    assert changes.rows == 4
    assert duck.sql(f"FROM {CHANGES} ORDER BY row").columns == ["row", "deleted", "c1", "c2", "c3", "c4"]
    minus_zero = -(2**63)
    assert duck.sql(f"FROM {CHANGES} ORDER BY row").fetchall() == [
        (0, False, 1, "a", minus_zero, 1_000_000),
        (1, False, 2, "b", None, 1_000_000),
        (2, False, 1, "c", minus_zero, 1_000_000),
        (3, True, 2, None, None, 1_000_000),
    ]
    assert sorted(changes.keys().read_all()["id"].to_pylist()) == [1, 2]
    assert changes.keys().schema == pa.schema([("id", pa.int32())])


def test_the_moment_may_be_called_as_in_the_table(duck: duckdb.DuckDBPyConnection) -> None:
    taken(duck, rows().rename_columns({"at": "valid_from"}), effective="valid_from")
    assert duck.sql(f"SELECT DISTINCT c4 FROM {CHANGES}").fetchall() == [(1_000_000,)]


def test_the_moment_may_be_an_attribute_besides(duck: duckdb.DuckDBPyConnection) -> None:
    fields = [*FIELDS, ("at", "timestamptz", False)]
    schema = Schema(
        *(NestedField(of, name, iceberg_type(kind), need) for of, (name, kind, need) in enumerate(fields, 1))
    )
    roles = {"key": ("id",), "valid_from": "valid_from", "valid_to": "valid_to", "current": None, "surrogate": "code"}
    both = Dimension.of(NAME, schema, **roles, tracked=None)  # type: ignore[arg-type]  # of several types
    Changes(duck, NAME, both, rows(), effective="at", deleted=None)
    assert duck.sql(f"SELECT DISTINCT c4, c6 FROM {CHANGES}").fetchall() == [(1_000_000, 1_000_000)]


def test_no_changes_are_no_keys(duck: duckdb.DuckDBPyConnection) -> None:
    changes = taken(duck, rows().slice(0, 0))
    assert (changes.rows, changes.keys().read_all().num_rows) == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"at": None}, "missing valid_from"),
        ({"name": None}, "missing name"),
        ({"more": [1, 2]}, "unknown more"),
        ({"valid_from": pa.array([NOON, NOON], ZONED)}, "twice valid_from"),
        ({"valid_to": pa.array([NOON, NOON], ZONED)}, "unknown valid_to"),
        ({"at": ["then", "now"]}, "valid_from: string"),
        ({"id": [1, 2**40]}, "int64"),
        ({"id": [1, None]}, "1 NULL in id, in rows 1"),
        ({"at": pa.array([None, None], ZONED)}, "2 NULL in at, in rows 0, 1"),
        ({"name": [None, "b"]}, "1 NULL in name, in rows 0"),
    ],
)
def test_changes_that_do_not_fit_are_refused(
    duck: duckdb.DuckDBPyConnection, wrong: dict[str, list[Any]], told: str
) -> None:
    with pytest.raises(SchemaMismatch) as refused:
        taken(duck, rows(**wrong))
    assert told in str(refused.value)


def test_a_marker_has_to_be_there_and_boolean(duck: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SchemaMismatch, match="missing gone"):
        taken(duck, rows(), deleted="gone")
    with pytest.raises(SchemaMismatch, match="gone: int64 for bool"):
        taken(duck, rows(gone=[0, 1]), deleted="gone")
    with pytest.raises(CommitError, match="the marker weight, a column of the table"):
        taken(duck, rows(), deleted="weight")


def test_a_row_that_deletes_needs_its_key_and_moment(duck: duckdb.DuckDBPyConnection) -> None:
    gone = rows(name=[None, "b"], gone=[True, None])
    assert taken(duck, gone, deleted="gone").rows == 2
    with pytest.raises(SchemaMismatch, match="1 NULL in id, in rows 0"):
        taken(duck, rows(id=[None, 2], gone=[True, False]), deleted="gone")


def test_rows_are_counted_over_all_batches(duck: duckdb.DuckDBPyConnection) -> None:
    many = pa.concat_tables([rows()] * 3 + [rows(id=pa.nulls(2, pa.int64()))])
    with pytest.raises(SchemaMismatch, match="2 NULL in id, in rows 6, 7"):
        taken(duck, many.to_reader(max_chunksize=2))
