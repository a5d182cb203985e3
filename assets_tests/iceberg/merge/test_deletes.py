"""Position delete files as they are written: what every reader makes of them, and what is left when one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFileContent, ManifestContent
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.delete_file_index import PATH_FIELD_ID
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import LongType

from assets_tests.iceberg.merge.row_delta import hidden_by, live, opened, paths, recounted, row_delta, totals, touched
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CatalogError, StateError
from lakehouse.iceberg.deletes.write import PositionDeletes, _ascending, _encoded

POSITION = 2147483545
Stock = Callable[[Twin], IcebergTable]


@pytest.fixture
def twin(twins: Callable[..., Twin]) -> Twin:
    """Two files without partitions: ids 1 to 4 and 5 to 8."""
    made = twins("flat")
    for first in (1, 5):
        made.append(rows(*((number, 1, "old", 1) for number in range(first, first + 4))))
    return made


def read_by_all(twin: Twin, stock: Stock, duck: duckdb.DuckDBPyConnection) -> list[list[int]]:
    """The ids as our scan, plain PyIceberg and DuckDB read them."""
    of = stock(twin)
    return [
        sorted(twin.table.scan(columns=["id"]).read_all()["id"].to_pylist()),
        sorted(of.scan().to_arrow()["id"].to_pylist()),
        [
            number
            for (number,) in duck.sql(f"select id from iceberg_scan('{of.metadata_location}') order by 1").fetchall()
        ],
    ]


def test_all_readers_agree(twin: Twin, stock: Stock, duck: duckdb.DuckDBPyConnection) -> None:
    first, second = paths(twin.table)
    row_delta(twin.table, {first: [3, 0], second: [1]}, rows=rows((1, 1, "new", 2)))
    assert read_by_all(twin, stock, duck) == [[1, 2, 3, 5, 7, 8]] * 3
    row_delta(twin.table, {first: [1]}, rows=rows((2, 1, "new", 2)))
    assert read_by_all(twin, stock, duck) == [[1, 2, 3, 5, 7, 8]] * 3


def test_what_a_delete_file_holds_and_is_said_to_hold(twin: Twin) -> None:
    """As Iceberg's Java library writes it: names, field ids, order; full bounds, and an equal one of the path."""
    first, _ = paths(twin.table)
    row_delta(twin.table, {first: [3, 1]})
    row_delta(twin.table, {first: [0]})
    (entry,) = live(twin.table, ManifestContent.DELETES)
    of = entry.data_file
    stored = Path(of.file_path.removeprefix("file://"))
    schema = pq.read_schema(stored)
    assert [(field.name, field.metadata[b"PARQUET:field_id"], field.nullable) for field in schema] == [
        ("file_path", b"2147483546", False),
        ("pos", b"2147483545", False),
    ]
    assert pq.read_table(stored).to_pylist() == [{"file_path": first, "pos": number} for number in (0, 1, 3)]
    assert (of.content, of.record_count) == (DataFileContent.POSITION_DELETES, 3)
    assert of.file_size_in_bytes == stored.stat().st_size
    assert of.lower_bounds[PATH_FIELD_ID] == of.upper_bounds[PATH_FIELD_ID] == first.encode()
    assert [from_bytes(LongType(), bounds[POSITION]) for bounds in (of.lower_bounds, of.upper_bounds)] == [0, 3]
    assert of.column_sizes.keys() == {PATH_FIELD_ID, POSITION}
    assert of.split_offsets == [4]
    assert of.sort_order_id is None


def test_deletes_of_another_program_about_several_files_stay_beside_ours(
    twin: Twin, stock: Stock, duck: duckdb.DuckDBPyConnection, hide: Callable[..., None]
) -> None:
    """Those about one file are taken over, and superseded."""
    first, second = paths(twin.table)
    hide(stock(twin), 0, of=first, anybody=True)
    hide(stock(twin), 1, of=first)
    hide(stock(twin), 1, of=second)
    row_delta(twin.table, {first: [2]})
    assert read_by_all(twin, stock, duck) == [[4, 5, 7, 8]] * 3
    counts = sorted(entry.data_file.record_count for entry in live(twin.table, ManifestContent.DELETES))
    assert counts == [1, 1, 2]
    assert totals(twin.table) == recounted(twin.table)
    twin.table.compact([[first, second]], connection=duck)
    assert read_by_all(twin, stock, duck) == [[4, 5, 7, 8]] * 3


def test_the_data_files_own_spelling_of_its_path_is_kept(
    twin: Twin, stock: Stock, duck: duckdb.DuckDBPyConnection
) -> None:
    """Spark writes file:/x for file:///x; a delete file that spells it otherwise hides nothing."""
    of = stock(twin)
    added = pq.read_table(paths(twin.table)[0].removeprefix("file://"))
    place = Path(of.location().removeprefix("file://")) / "data" / "spark.parquet"
    pq.write_table(added, place)
    of.add_files([f"file:{place}"])
    (foreign,) = [path for path in paths(twin.table) if path.startswith("file:/") and not path.startswith("file:///")]
    row_delta(twin.table, {foreign: [0, 1]})
    (entry,) = live(twin.table, ManifestContent.DELETES)
    assert entry.data_file.lower_bounds[PATH_FIELD_ID] == foreign.encode()
    assert read_by_all(twin, stock, duck) == [[1, 2, 3, 3, 4, 4, 5, 6, 7, 8]] * 3
    row_delta(twin.table, {foreign: [2]})
    assert read_by_all(twin, stock, duck) == [[1, 2, 3, 4, 4, 5, 6, 7, 8]] * 3


def test_files_of_several_specs_are_hidden_in_one_snapshot(
    twin: Twin, stock: Stock, duck: duckdb.DuckDBPyConnection
) -> None:
    """One manifest of delete files a spec; each file in the partition of its data file."""
    with stock(twin).update_spec() as update:
        update.add_field("id", BucketTransform(4), "id_bucket")
    twin.append(rows((9, 1, "young", 1), (10, 1, "young", 1)))
    old, *young = sorted(paths(twin.table), key=lambda path: "id_bucket" in path)[1:]
    row_delta(twin.table, {path: [0] for path in (old, *young)}, rows=rows((30, 1, "new", 1)))
    entries = live(twin.table, ManifestContent.DELETES)
    data = {entry.data_file.file_path: entry.data_file for entry in live(twin.table, ManifestContent.DATA)}
    assert {entry.data_file.spec_id for entry in entries} == {0, 1}
    for entry in entries:
        about = data[entry.data_file.lower_bounds[PATH_FIELD_ID].decode()]
        assert (entry.data_file.spec_id, entry.data_file.partition) == (about.spec_id, about.partition)
        folder = about.file_path.rpartition("/")[0]
        assert entry.data_file.file_path.startswith(folder)
    of = stock(twin)
    head = of.metadata.current_snapshot()
    assert head is not None
    assert sorted(one.partition_spec_id for one in head.manifests(of.io) if one.content == ManifestContent.DELETES) == [
        0,
        1,
    ]
    assert totals(twin.table) == recounted(twin.table)
    (found, *_) = read_by_all(twin, stock, duck)
    assert read_by_all(twin, stock, duck) == [found] * 3
    assert len(found) == 8 - 1 + 2 - len(young) + 1


def test_on_a_branch_main_shows_all_rows(twin: Twin) -> None:
    twin.table.create_branch("dev")
    first, _ = paths(twin.table)
    row_delta(twin.table, {first: [0]}, branch="dev")
    row_delta(twin.table, {first: [1]}, branch="dev")
    assert len(live(twin.table, ManifestContent.DELETES, "dev")) == 1
    assert not live(twin.table, ManifestContent.DELETES)
    assert twin.table.scan().read_all().num_rows == 8
    assert twin.table.scan(at="dev").read_all().num_rows == 6


def test_nothing_to_hide_writes_nothing(twin: Twin, files: Callable[[], int]) -> None:
    before = files()
    first, _ = paths(twin.table)
    made = hidden_by(opened(twin.table), twin.table, {first: []})
    assert (made.added, made.superseded, files()) == ((), frozenset(), before)


def test_when_one_file_fails_none_is_left(
    twin: Twin, files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the second file; and those of a round that is given up can be removed."""
    before, found = files(), touched(opened(twin.table), paths(twin.table))
    asked = {of: pa.array([0, 2]) for of in found.values()}
    of = opened(twin.table)
    honest, seen = PyArrowFileIO.new_output, []

    def full(self: PyArrowFileIO, location: str) -> object:
        seen.append(location)
        if len(seen) == len(asked):
            raise OSError(28, "No space left on device")
        return honest(self, location)

    monkeypatch.setattr(type(of.io), "new_output", full)
    with pytest.raises(StateError, match="disk is full"):
        PositionDeletes(twin.table.name, of).hide(asked)
    assert len(seen) == len(asked)
    monkeypatch.undo()
    assert files() == before
    written = PositionDeletes(twin.table.name, of)
    assert len(written.hide(asked).added) == files() - before == len(asked)
    written.remove()
    assert files() == before


def test_a_file_cut_short_by_storage_is_noticed(
    twin: Twin, files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, of = files(), opened(twin.table)

    def shorter(path: str, positions: pa.Array) -> object:
        content, footer = _encoded(path, positions)
        return pa.py_buffer(bytes(content)[:-9]), footer

    monkeypatch.setattr("lakehouse.iceberg.deletes.write._encoded", shorter)
    with pytest.raises(CatalogError, match="does not hold"):
        hidden_by(of, twin.table, {paths(twin.table)[0]: [0]})
    assert files() == before


@given(st.lists(st.integers(0, 5_000_000), min_size=1), st.lists(st.integers(0, 5_000_000)))
def test_positions_are_ascending_and_each_is_there_once(new: list[int], already: list[int]) -> None:
    both = _ascending(pa.array(new, pa.int64()), pa.array(already, pa.int64()) if already else None)
    assert both.to_pylist() == sorted({*new, *already})
    content, footer = _encoded("s3://lake/ä.parquet", both)
    read = pq.read_table(pa.BufferReader(content))
    assert read["pos"].combine_chunks().equals(both)
    assert set(read["file_path"].to_pylist()) == {"s3://lake/ä.parquet"}
    assert footer.num_rows == len(both)


def test_many_positions_take_little_room() -> None:
    """Differences of positions are stored, not positions."""
    positions = pa.array(np.flatnonzero(np.random.default_rng(7).random(1_000_000) < 0.2))
    content, _ = _encoded("s3://lake/silver/things/data/part.parquet", positions)
    assert len(content) < len(positions)
