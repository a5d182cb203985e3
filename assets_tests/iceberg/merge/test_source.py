"""Rows that wait to be merged: one of each key wins, no value changes, and memory does not decide how many may come."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, ListType, LongType, NestedField, StringType, StructType

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.merge import source as source_module
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.schemas.schema import iceberg_type
from lakehouse.tables import Layer, TableName

NAME = TableName(Layer.SILVER, "things")
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "region", StringType()),
    NestedField(3, "version", LongType()),
    NestedField(4, "weight", DoubleType()),
    NestedField(5, "price", iceberg_type("decimal(38, 2)")),
    NestedField(6, "tags", ListType(7, StringType(), element_required=False)),
    NestedField(8, "place", StructType(NestedField(9, "x", DoubleType()))),
)
KEYED = Schema(*SCHEMA.fields[:3])
Numbers = list[tuple[int, str, int]]


@pytest.fixture(scope="module")
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def source_of(
    cursor: duckdb.DuckDBPyConnection,
    rows: pa.Table | pa.RecordBatchReader,
    schema: Schema = SCHEMA,
    **asked: Any,  # noqa: ANN401  (as the rules)
) -> Source:
    return Source(cursor, NAME, schema, Rules.of(NAME, schema, rows.schema, **asked), rows)


def numbered(*given_rows: tuple[Any, Any, Any], **more: list[Any]) -> pa.Table:
    names = ("id", "region", "version")
    kinds = (pa.int64(), pa.string(), pa.int64())
    columns = {name: pa.array([row[of] for row in given_rows], kinds[of]) for of, name in enumerate(names)}
    return pa.table({**columns, **more})


def winners(cursor: duckdb.DuckDBPyConnection) -> list[int]:
    return [row for (row,) in cursor.execute("SELECT row FROM merge_keys ORDER BY row").fetchall()]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 2)), max_size=12), st.booleans())
def test_one_row_of_each_key_wins(cursor: duckdb.DuckDBPyConnection, given_rows: Numbers, by_sequence: bool) -> None:
    expected: dict[tuple[int, str], int] = {}
    for number, (key, region, version) in enumerate(given_rows):
        before = expected.get((key, region))
        if before is None or not by_sequence or version >= given_rows[before][2]:
            expected[key, region] = number
    asked = {"sequence": "version"} if by_sequence else {}
    with source_of(cursor, numbered(*given_rows), KEYED, key=["region", "id"], **asked) as source:
        assert winners(cursor) == sorted(expected.values())
        assert (source.rows, source.keys) == (len(given_rows), len(expected))
        kept = [row for batch in source.batches("SELECT row FROM merge_keys") for row in batch.to_pylist()]
        assert [tuple(row.values()) for row in kept] == [given_rows[number] for number in sorted(expected.values())]


def test_the_marker_of_deleted_rows_stands_beside_the_keys(cursor: duckdb.DuckDBPyConnection) -> None:
    rows = numbered((1, "a", 1), (2, "a", 1), (3, None, 1), gone=pa.array([True, None, False]))
    with source_of(cursor, rows, KEYED, key=["id"], sequence="version", deleted="gone") as source:
        found = cursor.execute("SELECT row, k0, sequence, deleted FROM merge_keys ORDER BY row").fetchall()
        assert found == [(0, 1, 1, True), (1, 2, 1, None), (2, 3, 1, False)]
        assert source.schema.names == ["id", "region", "version"]
        assert next(source.batches("SELECT 2 AS row")).to_pylist() == [{"id": 3, "region": None, "version": 1}]


def test_null_in_a_key_or_sequence_is_refused_with_its_rows(cursor: duckdb.DuckDBPyConnection) -> None:
    rows = numbered((1, "a", 1), (None, "a", 1), (2, None, None), (None, "b", 3))
    source = source_of(cursor, rows, KEYED, key=["id", "region"], sequence="version")
    with pytest.raises(SchemaMismatch) as refused, source:
        pass
    assert "2 NULL in id (rows 1, 3); 1 NULL in region (rows 2); 1 NULL in version (rows 2)" in str(refused.value)
    many = pa.table({"id": pa.nulls(150_000, pa.int64())})
    with pytest.raises(SchemaMismatch, match=r"150000 NULL in id \(rows 0, 1, 2, 3, 4, \.\.\.\)"):
        source_of(cursor, many, KEYED, key=["id"]).__enter__()
    assert cursor.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'merge%'").fetchall() == [(0,)]


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def whole_rows(count: int) -> pa.Table:
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000123))[0]
    weights = [-0.0, nan, 0.0, math.inf, None]
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "weight": pa.array([weights[of % 5] for of in range(count)], pa.float64()),
            "price": pa.array([Decimal(10**35 + of).scaleb(-2) for of in range(count)], pa.decimal128(38, 2)),
            "tags": pa.array([[f"tag {of}", None] if of % 3 else None for of in range(count)], pa.list_(pa.string())),
            "place": pa.array([{"x": -0.0} if of % 2 else None for of in range(count)]),
        }
    )


@pytest.mark.parametrize("memory", [0, 20_000, 2**26])
def test_no_value_changes_on_its_way(
    cursor: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """In memory, on disk, or the first rows here and the others there; from a stream, which is read once."""
    monkeypatch.setattr(source_module, "_MEMORY_BYTES", memory)
    monkeypatch.setattr(source_module, "_SPILL_BYTES", 10_000)
    rows = whole_rows(1000)
    with source_of(cursor, rows.to_reader(max_chunksize=64), key=["id"]) as source:
        kept = pa.Table.from_batches(source.batches("SELECT row FROM merge_keys WHERE k0 % 7 <> 0"))
        again = pa.Table.from_batches(source.batches("SELECT row FROM merge_keys"))
    expected = rows.filter(pa.array([of % 7 != 0 for of in range(1000)]))
    assert kept.column_names == expected.column_names
    for column in ("id", "price", "tags"):
        assert kept[column].to_pylist() == expected[column].to_pylist()
    assert again.num_rows == 1000
    pairs = zip(kept["weight"].to_pylist(), expected["weight"].to_pylist(), strict=True)
    assert all((has is None and wants is None) or bits(has) == bits(wants) for has, wants in pairs)
    assert [None if place is None else bits(place["x"]) for place in kept["place"].to_pylist()] == [
        None if place is None else bits(place["x"]) for place in expected["place"].to_pylist()
    ]


def test_all_rows_can_be_asked_for_as_a_relation(cursor: duckdb.DuckDBPyConnection) -> None:
    with source_of(cursor, whole_rows(10), key=["id"]) as source:
        relation = source.relation()
        found = cursor.execute(f"SELECT row, c0, c1, c3[1] FROM {relation} ORDER BY row").fetchall()
        assert source.relation() == relation
    assert [of[:2] for of in found] == [(of, of) for of in range(10)]
    # The bits of -0.0, as a number.
    assert found[0][2] == -(2**63)
    assert (found[1][3], found[0][3]) == ("tag 1", None)


def test_rows_larger_than_the_memory_of_duckdb_wait_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as much in keys alone as DuckDB may take."""
    monkeypatch.setattr(source_module, "_MEMORY_BYTES", 2**20)
    count, step = 1_500_000, 50_000

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, count, step):
            ids = pa.array(range(start, start + step), pa.int64())
            yield pa.RecordBatch.from_arrays([ids, ids.cast(pa.string())], ["id", "region"])

    stream = pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64(), "region": pa.string()}), batches())
    with duckdb.connect(config={"memory_limit": "24MB", "temp_directory": str(tmp_path), "threads": 1}) as small:
        small.execute("SET preserve_insertion_order = false")
        with source_of(small, stream, KEYED, key=["id"]) as source:
            assert (source.rows, source.keys) == (count, count)
            kept = source.batches("SELECT row FROM merge_keys WHERE row % 2 = 0")
            assert sum(batch.num_rows for batch in kept) == count // 2


def test_what_a_reader_raises_is_its_own(cursor: duckdb.DuckDBPyConnection) -> None:
    class Lost(Exception):
        pass

    def batches() -> Iterator[pa.RecordBatch]:
        yield numbered((1, "a", 1)).to_batches()[0]
        raise Lost

    stream = pa.RecordBatchReader.from_batches(numbered().schema, batches())
    with pytest.raises(Lost):
        source_of(cursor, stream, KEYED, key=["id"]).__enter__()
