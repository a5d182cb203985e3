"""Sorted files: every file in the table's order, however many rows come, and merging of runs on disk."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, IdentityTransform, Transform

from lakehouse.iceberg import Lake
from lakehouse.iceberg.parquet.sort import RowOrder
from lakehouse.iceberg.parquet.spill import Spill
from lakehouse.iceberg.schemas.schema import iceberg_schema
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName, Upkeep

Rows = Callable[..., pa.Table]
ROOT = Path(__file__).resolve().parents[2]
BATCH = 400_000

_FLOATS = st.none() | st.sampled_from([math.nan, 0.0, -1.5, math.inf, -math.inf]) | st.floats(width=64)
_TEXTS = st.none() | st.sampled_from(["", "a", "é", "z", "😀", "\uffff"])
_DECIMALS = st.none() | st.decimals(-9, 9, places=2)
_ROWS = st.lists(st.tuples(_FLOATS, _TEXTS, _DECIMALS), max_size=12)
_SCHEMA = pa.schema([("x", pa.float64()), ("t", pa.string()), ("d", pa.decimal128(5, 2)), ("n", pa.int64())])


def table_of(runs: list[list[tuple[object, object, object]]]) -> list[pa.Table]:
    """Each run as a table; `n` numbers all rows in their order of arrival."""
    counted = iter(range(10_000))
    return [
        pa.Table.from_pylist([dict(zip("xtdn", (*row, next(counted)), strict=True)) for row in run], _SCHEMA)
        for run in runs
    ]


def ranked(value: object) -> tuple[int, object]:
    """What the order means, said in another way than the code says it."""
    if value is None:
        return 2, 0
    return (1, 0) if isinstance(value, float) and math.isnan(value) else (0, value)


@given(
    runs=st.lists(_ROWS, min_size=1, max_size=7), columns=st.permutations("xtd"), chunk=st.sampled_from([1, 60, 500])
)
@example(runs=[[(math.nan, "a", None)] * 5, [(None, "a", None)] * 5, [(1.0, None, None)] * 5], columns="xtd", chunk=1)
def test_merged_runs_are_one_stable_sort(
    runs: list[list[tuple[object, object, object]]], columns: list[str], chunk: int
) -> None:
    order = RowOrder(tuple(columns))
    arrived = table_of(runs)
    expected = sorted(
        (row for run in arrived for row in run.to_pylist()),
        key=lambda row: [ranked(row[name]) for name in columns],  # Python's sort is stable
    )
    for in_memory, fan_in in ((0, 2), (0, 32), (2**20, 2)):
        with Spill(_SCHEMA, chunk_bytes=chunk) as spill:
            stored = [spill.put(order.sorted(run)) for run in arrived]
            parts = list(order.merged(spill, stored, in_memory=in_memory, fan_in=fan_in))
            merged = pa.concat_tables([part for part in parts if part.num_rows] or [_SCHEMA.empty_table()])
        assert merged["n"].to_pylist() == [row["n"] for row in expected]


def test_times_that_python_cannot_name_are_merged() -> None:
    schema = pa.schema([("at", pa.timestamp("us", tz="UTC"))])
    order = RowOrder(("at",))
    far = [-(2**62), 0, 2**62]
    with Spill(schema, chunk_bytes=1) as spill:
        runs = [spill.put(pa.table([pa.array([moment], schema[0].type)], schema)) for moment in reversed(far)]
        merged = pa.concat_tables(order.merged(spill, runs, in_memory=0))
    assert merged["at"].cast(pa.int64()).to_pylist() == far


def test_runs_that_do_not_overlap_are_merged_without_holding_them() -> None:
    """Rows that come in their order already: each part given out is a chunk of one run."""
    schema = pa.schema([("a", pa.int64())])
    with Spill(schema, chunk_bytes=800) as spill:
        runs = [spill.put(pa.table({"a": pa.array(range(n, n + 1000), pa.int64())})) for n in range(0, 10_000, 1000)]
        parts = list(RowOrder(("a",)).merged(spill, runs, in_memory=0))
    assert max(part.num_rows for part in parts) == 100
    assert pa.concat_tables(parts)["a"].to_pylist() == list(range(10_000))


@pytest.mark.parametrize(
    ("transform", "direction", "nulls"),
    [
        (IdentityTransform(), SortDirection.DESC, NullOrder.NULLS_LAST),
        (IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_FIRST),
        (BucketTransform(3), SortDirection.ASC, NullOrder.NULLS_LAST),
    ],
)
def test_an_order_that_we_do_not_write_is_not_claimed(
    transform: Transform[Any, Any], direction: SortDirection, nulls: NullOrder
) -> None:
    field = SortField(source_id=1, transform=transform, direction=direction, null_order=nulls)
    assert RowOrder.of(SortOrder(field, order_id=1), iceberg_schema((Column("a", "long"),))) is None


def shuffled(number: int) -> pa.Array:
    """The numbers of a batch in an order that nobody would call sorted."""
    every = pa.array(range(number * BATCH, (number + 1) * BATCH), pa.int64())
    return pc.bit_wise_and(pc.multiply(every, 2_654_435_761), 2**40 - 1)


def test_more_rows_than_the_buffer_are_sorted_in_every_file(lake: Lake, settings: Settings) -> None:
    """64 MB of Arrow twice over: runs are spilled. Small files: the order goes on from file to file."""
    columns = tuple(Column(name, "long") for name in "abcd")
    declared = Table(
        TableName(Layer.SILVER, "sorted"),
        "d",
        "",
        columns,
        Path("x"),
        sort_by=("a", "b"),
        upkeep=Upkeep(target_file_mb=8),
    )
    table = lake.create(declared)

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(10):
            value = shuffled(number)
            yield pa.record_batch([pc.bit_wise_and(value, 1023), value, value, value], schema=table.schema())

    commit = table.append(pa.RecordBatchReader.from_batches(table.schema(), batches()), run_key="a")
    files = [pq.read_table(file) for file in (settings.state / "warehouse").rglob("*.parquet")]
    assert commit.files_added == len(files) > 1
    for content in files:
        assert RowOrder(("a", "b")).sorted(content).equals(content)
    ranges = sorted((content["a"][0].as_py(), content["a"][-1].as_py()) for content in files)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    written = pa.concat_tables(files)
    assert written.num_rows == 10 * BATCH
    assert pc.sum(written["b"]).as_py() == sum(pc.sum(shuffled(number)).as_py() for number in range(10))


def test_rows_are_sorted_inside_each_partition(lake: Lake, orders: Table, rows: Rows, settings: Settings) -> None:
    by = (PartitionField("email", "identity"),)
    table = lake.create(replace(orders, partition_by=by, sort_by=("amount",)))
    amounts = [Decimal(number * 7 % 20) for number in range(60)]
    table.append(rows(range(60), amount=amounts, email=["x", "y", None] * 20), run_key="a")
    for file in (settings.state / "warehouse").rglob("*.parquet"):
        content = pq.read_table(file)["amount"].to_pylist()
        assert content == sorted(content)
        assert len(content) == 20


def test_memory_stays_bounded_while_sorting(tmp_path: Path) -> None:
    """12 million rows of 40 bytes in no order are 480 MB of Arrow."""
    code = """
import json, sys
from pathlib import Path
from typing import Any
import pyarrow as pa
import pyarrow.compute as pc
from bench.report import peak_mb as peak
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName
state = Path(sys.argv[2])
lake = Lake.open(load_settings(Path(sys.argv[1]), state=str(state), catalog={"uri": f"sqlite:///{state}/c.db"}))
kinds = tuple(Column(name, "long") for name in "abcde")
table = lake.create(Table(TableName(Layer.SILVER, "big"), "d", "", kinds, Path("x.yaml"), sort_by=("a",)))
base = pa.array(range(500_000), pa.int64())
schema = pa.schema([(name, pa.int64()) for name in "abcde"])
def batches(count):
    for number in range(count):
        key = pc.bit_wise_and(pc.multiply(pc.add(base, number * 500_000), 2_654_435_761), 2**40 - 1)
        yield pa.record_batch([key] * 5, schema=schema)
table.append(pa.RecordBatchReader.from_batches(schema, batches(1)), run_key="warm")
before = peak()
table.append(pa.RecordBatchReader.from_batches(schema, batches(24)), run_key="big")
print(json.dumps({"mb": peak() - before, "rows": table.stats().rows}))
"""
    command = [sys.executable, "-c", code, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rows"] == 12_500_000
    assert said["mb"] < 300
