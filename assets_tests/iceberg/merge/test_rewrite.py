"""Files written anew without some of their rows: which rows are there then, and what is proved of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import BucketTransform

from assets_tests.iceberg.merge.row_delta import opened, paths, row_delta, touched
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CommitError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.compaction.encoders import Encoders
from lakehouse.iceberg.compaction.run import prepared
from lakehouse.iceberg.merge.rewrite import Rewritten, rewritten
from lakehouse.iceberg.reads.scan import State, read_files
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.tables import Column

Stock = Callable[[Twin], IcebergTable]


@dataclass(frozen=True)
class Anew:
    """Writes files of a table anew."""

    duck: duckdb.DuckDBPyConnection

    def __call__(self, table: LakeTable, gone: Mapping[str, list[int]]) -> Rewritten:
        of = opened(table)
        with prepared(self.duck) as cursor:
            sources = Sources(cursor, table.name, of)
            positions = {path: pa.array(found, pa.int64()) for path, found in gone.items() if found}
            return rewritten(cursor, sources, table.name, of, list(touched(of, list(gone)).values()), positions)


@pytest.fixture
def anew(duck: duckdb.DuckDBPyConnection) -> Anew:
    """anew(table, {path: positions}): what `rewritten` makes of these files."""
    return Anew(duck)


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who wrote the new files, group by group."""
    seen: list[str] = []
    for method in ("copy", "write_rows"):
        honest = getattr(Encoders, method)

        def told(self: Encoders, *given: Any, _honest: Any = honest, _as: str = method) -> Any:  # noqa: ANN401
            seen.append(_as)
            return _honest(self, *given)

        monkeypatch.setattr(Encoders, method, told)
    return seen


def read(table: LakeTable, added: tuple[DataFile, ...], *columns: str) -> list[Any]:
    """A column of the new files, sorted."""
    of = opened(table)
    state = State(table.name, of, None, of.schema())
    batches = read_files(state, [FileScanTask(file) for file in added], of.schema())
    return sorted(tuple(row[name] for name in columns) for batch in batches for row in batch.to_pylist())


def ids(table: LakeTable, added: tuple[DataFile, ...]) -> list[int]:
    return [number for (number,) in read(table, added, "id")]


def fill(twin: Twin, *firsts: int, day: int = 1) -> list[str]:
    for first in firsts:
        twin.append(rows(*((number, day, "old", 1) for number in range(first, first + 4))))
    return paths(twin.table)


@pytest.mark.parametrize("layout", ["flat", "by day", "by bucket"])
def test_the_rows_that_do_not_go_are_in_the_new_files(
    twins: Callable[..., Twin], anew: Anew, by: list[str], layout: str
) -> None:
    """The files of a partition become one; no snapshot has it yet."""
    twin = twins(layout)
    found = fill(twin, 1, 5)
    before = len(found)
    done = anew(twin.table, {path: [0] for path in found})
    first_of_each = {rows_[0] for rows_ in _rows_of(twin.table, found).values()}
    assert ids(twin.table, done.added) == sorted(set(range(1, 9)) - first_of_each)
    assert (done.read, done.kept, done.removed) == (8, 8 - before, before)
    assert len(done.added) <= {"flat": 1, "by day": 1, "by bucket": 3}[layout]
    assert set(by) == {"copy"}
    assert sorted(paths(twin.table)) == sorted(found)


def test_rows_hidden_before_stay_out(
    twins: Callable[..., Twin], anew: Anew, stock: Stock, hide: Callable[..., None], by: list[str]
) -> None:
    """By ours, and by deletes of another program that are about any file."""
    twin = twins("flat")
    first, second = fill(twin, 1, 5)
    row_delta(twin.table, {first: [0]})
    hide(stock(twin), 1, of=second, anybody=True)
    done = anew(twin.table, {first: [1], second: [0]})
    assert ids(twin.table, done.added) == [3, 4, 7, 8]
    assert (done.read, done.kept, done.removed) == (6, 4, 2)
    assert by == ["copy"]


def test_a_file_of_which_nothing_is_left_is_not_written(
    twins: Callable[..., Twin], anew: Anew, files: Callable[[], int]
) -> None:
    twin = twins("flat")
    first, second = fill(twin, 1, 5)
    before = files()
    done = anew(twin.table, {first: [0, 1, 2, 3]})
    assert (done, files()) == (Rewritten((), 4, 0, 4), before)
    done = anew(twin.table, {first: [0, 1, 2, 3], second: [3]})
    assert ids(twin.table, done.added) == [5, 6, 7]
    assert (done.read, done.kept, done.removed) == (8, 3, 5)


def test_nothing_asked_nothing_done(twins: Callable[..., Twin], anew: Anew) -> None:
    assert anew(twins("flat").table, {}) == Rewritten()


def test_our_own_writer_sorts_and_keeps_what_metadata_must_not_show(
    lake: Lake, anew: Anew, by: list[str], twins: Callable[..., Twin]
) -> None:
    declared = replace(twins("flat", "template").declared, sort_by=("id",))
    columns = tuple(replace(column, personal=column.name == "name") for column in declared.columns)
    table = lake.create(replace(declared, name=replace(declared.name, table="sorted"), columns=columns))
    table.append(rows((3, 1, "c", 1), (1, 1, "a", 1), (2, 1, "b", 1)), run_key="1")
    (path,) = paths(table)
    done = anew(table, {path: [1]})
    assert by == ["write_rows"]
    assert read(table, done.added, "id", "name") == [(1, "a"), (3, "c")]
    (file,) = done.added
    number = opened(table).schema().find_field("name").field_id
    assert number not in (file.lower_bounds or {})


def test_a_negative_zero_stays_one(lake: Lake, anew: Anew, by: list[str], twins: Callable[..., Twin]) -> None:
    """In a dictionary of DuckDB's it becomes what came first of 0.0 and it."""
    declared = twins("flat", "template").declared
    columns = (Column("id", "long"), Column("share", "double"))
    table = lake.create(replace(declared, name=replace(declared.name, table="shares"), columns=columns))
    for share in (0.5, -0.0):
        table.append(pa.table({"id": [1, 2, 3, 4], "share": [0.0, 1.0, share, share]}), run_key=f"{share}")
    half, negative = paths(table)
    anew(table, {half: [0]})
    done = anew(table, {negative: [1]})
    assert by == ["copy", "write_rows"]
    assert [math.copysign(1, share) for _, share in read(table, done.added, "id", "share")] == [1, -1, -1]


def test_columns_that_came_or_were_renamed_later(twins: Callable[..., Twin], anew: Anew, stock: Stock) -> None:
    twin = twins("flat")
    (first,) = fill(twin, 1)
    with stock(twin).update_schema() as update:
        update.rename_column("name", "title")
        update.add_column("extra", update._schema.find_type("id"))  # noqa: SLF001  (PyIceberg's type of it)
    done = anew(twin.table, {first: [2]})
    assert read(twin.table, done.added, "id", "title", "extra") == [
        (1, "old", None),
        (2, "old", None),
        (4, "old", None),
    ]


def test_files_of_an_older_spec_get_the_partitions_of_now(
    twins: Callable[..., Twin], anew: Anew, stock: Stock, by: list[str]
) -> None:
    twin = twins("flat")
    (old,) = fill(twin, 1)
    with stock(twin).update_spec() as update:
        update.add_field("id", BucketTransform(4), "id_bucket")
    done = anew(twin.table, {old: [0]})
    assert by == ["write_rows"]
    assert ids(twin.table, done.added) == [2, 3, 4]
    assert {file.spec_id for file in done.added} == {opened(twin.table).spec().spec_id} == {1}


def test_files_grow_to_the_target_size_only(
    twins: Callable[..., Twin], anew: Anew, stock: Stock, files: Callable[[], int]
) -> None:
    twin = twins("flat")
    found = fill(twin, 1, 5, 9)
    sizes = [file.bytes for file in twin.table.live_files()]
    with stock(twin).transaction() as transaction:
        transaction.set_properties({"write.target-file-size-bytes": str(2 * max(sizes))})
    before = files()
    done = anew(twin.table, {path: [0] for path in found})
    assert (len(done.added), files() - before) == (2, 2)
    assert len(ids(twin.table, done.added)) == 9


@pytest.mark.parametrize("how", ["a position twice gone", "rows lost on the way", "fewer rows than metadata says"])
def test_what_is_not_proved_is_refused_and_removed(
    twins: Callable[..., Twin],
    anew: Anew,
    files: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Two groups: the files of the first one go, too."""
    twin = twins("by day")
    fill(twin, 1)
    first, second = fill(twin, 5, day=2)
    row_delta(twin.table, {second: [1]})
    before = files()
    gone = {first: [0], second: [0]}
    if how == "a position twice gone":
        gone[second] = [0, 1]
    elif how == "rows lost on the way":
        honest = Encoders.copy

        def lossy(self: Encoders, group: Any, hidden: Any) -> Any:  # noqa: ANN401
            more = {of.path: pa.array([0, 1, 2], pa.int64()) for of in group.touched if of.path == second}
            return honest(self, group, {**hidden, **more})

        monkeypatch.setattr(Encoders, "copy", lossy)
    else:
        monkeypatch.setattr(Encoders, "by_duckdb", lambda *_, **__: False)
        monkeypatch.setattr("lakehouse.iceberg.merge.rewrite.read_files", _short)
    with pytest.raises(CommitError, match=r"proved|as many rows"):
        anew(twin.table, gone)
    assert files() == before


def _short(*given: Any) -> Iterator[pa.RecordBatch]:  # noqa: ANN401
    for batch in read_files(*given):
        yield batch.slice(1)


def test_a_file_under_equality_deletes_is_refused(
    twins: Callable[..., Twin], anew: Anew, stock: Stock, hide: Callable[..., None]
) -> None:
    twin = twins("flat")
    (path,) = fill(twin, 1)
    hide(stock(twin), 1, by_value=True)
    with pytest.raises(CommitError, match="equality deletes"):
        anew(twin.table, {path: [0]})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(gone=st.sets(st.integers(0, 19)), by_duckdb=st.booleans())
def test_any_positions(twins: Callable[..., Twin], anew: Anew, gone: set[int], by_duckdb: bool) -> None:
    twin = twins("flat", f"any_{abs(hash((frozenset(gone), by_duckdb)))}")
    twin.append(rows(*((number, 1, "old", 1) for number in range(20))))
    with pytest.MonkeyPatch.context() as patch:
        if not by_duckdb:
            patch.setattr(Encoders, "by_duckdb", lambda *_, **__: False)
        done = anew(twin.table, {paths(twin.table)[0]: sorted(gone)})
    assert ids(twin.table, done.added) == sorted(set(range(20)) - gone)
    assert (done.read, done.kept, done.removed) == (20, 20 - len(gone), len(gone))


def _rows_of(table: LakeTable, found: list[str]) -> dict[str, list[int]]:
    of = opened(table)
    state = State(table.name, of, None, of.schema())
    return {
        path: [
            row["id"] for batch in read_files(state, [FileScanTask(one.file)], of.schema()) for row in batch.to_pylist()
        ]
        for path, one in touched(of, found).items()
    }
