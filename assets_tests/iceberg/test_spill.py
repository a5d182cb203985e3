"""Many partitions at once: one file each, few of them open, the rest of the rows on disk until their turn."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import StateError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.parquet.spill import Spill, bytes_of
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName, Upkeep

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (Column("p", "long"), *(Column(name, "long") for name in "abc"))


def partitioned(lake: Lake, target_file_mb: int = 512) -> LakeTable:
    by = (PartitionField("p", "identity"),)
    name, upkeep = TableName(Layer.SILVER, "parts"), Upkeep(target_file_mb=target_file_mb)
    return lake.create(Table(name, "d", "", COLUMNS, Path("x"), partition_by=by, upkeep=upkeep))


def batch(schema: pa.Schema, partitions: list[int], first: int) -> pa.RecordBatch:
    """A row for each partition given; `a`, `b` and `c` count rows from `first`."""
    count = pa.array(range(first, first + len(partitions)), pa.int64())
    return pa.record_batch([pa.array(partitions, pa.int64()), count, count, count], schema=schema)


def append(table: LakeTable, batches: Iterator[pa.RecordBatch], run_key: str = "a") -> None:
    table.append(pa.RecordBatchReader.from_batches(table.schema(), batches), run_key=run_key)


def contents(settings: Settings) -> dict[int, list[list[int]]]:
    """By partition, `a` of each of its files."""
    found: dict[int, list[list[int]]] = {}
    for file in sorted((settings.state / "warehouse").rglob("*.parquet")):
        content = pq.ParquetFile(file).read()
        [partition] = set(content["p"].to_pylist())
        found.setdefault(partition, []).append(content["a"].to_pylist())
    return found


def test_many_partitions_are_one_file_each_with_rows_in_their_order(lake: Lake, settings: Settings) -> None:
    """40 partitions, 80 MB: none of them ever has enough in memory for a row group."""
    table, size, count = partitioned(lake), 400_000, 6
    partitions = [number % 40 for number in range(size)]
    append(table, (batch(table.schema(), partitions, number * size) for number in range(count)))
    found = contents(settings)
    assert found == {p: [[row for row in range(size * count) if row % 40 == p]] for p in range(40)}


def test_large_and_small_partitions_keep_every_row(lake: Lake, settings: Settings) -> None:
    """One partition is written as it comes, forty wait on disk."""
    table, size, count = partitioned(lake), 400_000, 6
    partitions = [0 if number % 2 else 1 + number // 2 % 40 for number in range(size)]
    append(table, (batch(table.schema(), partitions, number * size) for number in range(count)))
    found = contents(settings)
    assert {partition: len(files) for partition, files in found.items()} == dict.fromkeys(range(41), 1)
    assert all(rows == sorted(rows) for [rows] in found.values())
    assert sorted(row for [rows] in found.values() for row in rows) == list(range(size * count))
    assert pq.read_metadata(next((settings.state / "warehouse").rglob("p=0/*.parquet"))).num_row_groups > 1


def test_no_more_than_sixteen_files_are_open(lake: Lake, settings: Settings) -> None:
    """Each of 20 partitions comes with a row group's worth; the same 20 come again, and each stays one file."""
    table, size = partitioned(lake, target_file_mb=4), 150_000
    most = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for partition in [*range(20), *range(20)]:
            count = pa.repeat(pa.scalar(partition, pa.int64()), size)
            yield pa.record_batch([count] * 4, schema=table.schema())
            most = max(most, sum(link.endswith(".parquet") for link in open_files()))

    append(table, batches())
    assert 8 < most <= 16
    assert {partition: len(files) for partition, files in contents(settings).items()} == dict.fromkeys(range(20), 1)
    assert not any(link.endswith(".parquet") for link in open_files())


def open_files() -> list[str]:
    """What this process has open, by name."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # the folder that was listed here
    return found


def test_a_failure_in_the_middle_leaves_neither_file_nor_spill(
    lake: Lake, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    table, size = partitioned(lake), 400_000
    partitions = [number % 40 for number in range(size)]
    spilled = False

    class Broken(Exception):
        pass

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal spilled
        for number in range(8):
            yield batch(table.schema(), partitions, number * size)
            spilled = spilled or any(str(tmp_path / "temporary") in link for link in open_files())
            # No name: even a killed process leaves nothing.
            assert not list((tmp_path / "temporary").iterdir())
        raise Broken

    with pytest.raises(Broken):
        append(table, batches())
    assert spilled
    assert not any(str(tmp_path / "temporary") in link for link in open_files())
    assert not list((settings.state / "warehouse").rglob("*.parquet"))


def test_a_failure_removes_files_that_are_closed_and_files_that_are_open(lake: Lake, settings: Settings) -> None:
    """Row groups of even partitions fill a file each, which is closed; those of odd ones leave theirs open."""
    table, size = partitioned(lake, target_file_mb=3), 150_000
    generator = random.Random(0)  # noqa: S311  (values that do not compress, always the same)
    noise = pa.array([generator.getrandbits(63) for _ in range(size)], pa.int64())

    def batches() -> Iterator[pa.RecordBatch]:
        for partition in range(8):
            count = pa.repeat(pa.scalar(partition, pa.int64()), size)
            values = count if partition % 2 else noise
            yield pa.record_batch([count, values, values, values], schema=table.schema())
        there = list((settings.state / "warehouse").rglob("*.parquet"))
        still_open = [link for link in open_files() if link.endswith(".parquet")]
        assert 0 < len(still_open) < len(there)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        append(table, batches())
    assert not list((settings.state / "warehouse").rglob("*.parquet"))
    assert not any(link.endswith(".parquet") for link in open_files())


def test_a_full_temporary_folder_is_said_and_leaves_no_file(tmp_path: Path) -> None:
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
columns = (Column("a", "long"), Column("b", "long"))
table = lake.create(Table(TableName(Layer.SILVER, "big"), "d", "", columns, Path("x.yaml"), sort_by=("a",)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
base = pa.array(range(5_000_000), pa.int64())
try:
    table.append(pa.table({"a": base, "b": base}), run_key="a")
except StateError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert f"do not fit the temporary folder {tempfile.gettempdir()}" in done.stdout
    assert "TMPDIR" in done.stdout
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_temporary_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with Spill(pa.schema([("a", pa.int64())])) as spill, pytest.raises(StateError, match="gone"):
        spill.put(pa.table({"a": [1]}))


@given(
    values=st.lists(st.none() | st.text(max_size=40), max_size=50),
    chunk=st.integers(1, 200),
    start=st.integers(0, 50),
)
def test_what_is_put_comes_back(values: list[str | None], chunk: int, start: int) -> None:
    """Also of a slice, of which Arrow keeps the whole in memory."""
    rows = pa.table({"t": pa.array(values, pa.string()), "l": [[value] for value in values]}, SCHEMA).slice(start)
    with Spill(SCHEMA, chunk_bytes=chunk) as spill:
        first, second = spill.put(rows), spill.put(rows)
        # In whichever order they are asked for.
        assert pa.Table.from_batches(spill.read(second), SCHEMA).equals(rows)
        assert pa.Table.from_batches(spill.read(first), SCHEMA).equals(rows)
        assert bytes_of([first, second]) >= 0
        assert (spill.bytes > 0) == (rows.num_rows > 0)


SCHEMA = pa.schema([("t", pa.string()), ("l", pa.list_(pa.string()))])


def test_memory_stays_bounded_with_many_partitions(tmp_path: Path) -> None:
    """12 million rows of 40 bytes in 100 partitions are 480 MB of Arrow."""
    code = """
import json, sys
from pathlib import Path
import pyarrow as pa
import pyarrow.compute as pc
from bench.report import peak_mb as peak
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName
state = Path(sys.argv[2])
lake = Lake.open(load_settings(Path(sys.argv[1]), state=str(state), catalog={"uri": f"sqlite:///{state}/c.db"}))
kinds = tuple(Column(name, "long") for name in "abcde")
by = (PartitionField("a", "bucket[100]"),)
table = lake.create(Table(TableName(Layer.SILVER, "big"), "d", "", kinds, Path("x.yaml"), partition_by=by))
base = pa.array(range(500_000), pa.int64())
schema = pa.schema([(name, pa.int64()) for name in "abcde"])
def batches(count):
    for number in range(count):
        yield pa.record_batch([pc.bit_wise_and(base, 4095)] + [pc.add(base, number)] * 4, schema=schema)
table.append(pa.RecordBatchReader.from_batches(schema, batches(1)), run_key="warm")
before = peak()
commit = table.append(pa.RecordBatchReader.from_batches(schema, batches(24)), run_key="big")
print(json.dumps({"mb": peak() - before, "rows": table.stats().rows, "files": commit.files_added}))
"""
    command = [sys.executable, "-c", code, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rows"] == 12_500_000
    assert said["files"] == 100
    assert said["mb"] < 300
