"""Whose rows a snapshot holds: told by every commit that changes none, also when what it tells of has expired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from assets_tests.iceberg.expired import expire
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.content import CONTENT, content_at, contents
from lakehouse.settings import Settings
from lakehouse.tables import Table

RowsOf = Callable[..., pa.Table]


@dataclass(frozen=True)
class Line:
    """Snapshots from 1 on, each on top of the one before; `ours` say whose rows they hold, if they change none."""

    operations: list[str]
    ours: list[bool]

    def rows_of(self, number: int) -> int | None:
        """By the meaning of the operations alone."""
        while number and self.operations[number - 1] == "replace":
            number -= 1
        return number or None

    def metadata(self, oldest: int) -> TableMetadata:
        """As it is when all before `oldest` has expired."""
        empty = new_table_metadata(Schema(), UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "file:///none", {})
        snapshots = [self.snapshot(number, oldest) for number in range(oldest, len(self.operations) + 1)]
        return empty.model_copy(update={"snapshots": snapshots})

    def snapshot(self, number: int, oldest: int) -> Snapshot:
        operation, rows_of = self.operations[number - 1], self.rows_of(number)
        told = {CONTENT: str(rows_of)} if operation == "replace" and self.ours[number - 1] and rows_of else {}
        return Snapshot.model_validate(
            {
                "snapshot-id": number,
                "parent-snapshot-id": number - 1 if number > oldest else None,
                "sequence-number": number,
                "timestamp-ms": number,
                "manifest-list": f"file:///none/{number}.avro",
                "summary": {"operation": operation, **told},
            }
        )


OPERATIONS = st.lists(st.sampled_from(["append", "replace", "replace", "overwrite", "delete"]), min_size=1, max_size=9)


@given(OPERATIONS, st.lists(st.booleans(), min_size=9, max_size=9), st.data())
def test_what_is_told_is_true_and_ours_is_told_for_ever(
    operations: list[str], ours: list[bool], data: st.DataObject
) -> None:
    line = Line(operations, ours)
    oldest = data.draw(st.integers(1, len(operations)))
    metadata = line.metadata(oldest)
    found = contents(metadata, metadata.snapshots[-1])

    assert list(found) == list(range(len(operations), oldest - 1, -1))
    for number, rows_of in found.items():
        assert rows_of in {None, line.rows_of(number)}
        if ours[number - 1] or operations[number - 1] != "replace":
            assert rows_of == line.rows_of(number)
    assert content_at(metadata, metadata.snapshots[-1]) == found[len(operations)]


def test_without_a_snapshot_there_are_no_rows() -> None:
    assert content_at(Line([], []).metadata(1), None) is None


@pytest.fixture
def stored(lake: Lake, flat: Table) -> LakeTable:
    return lake.create(flat)


def compact(table: LakeTable, key: str) -> int:
    commit = table.replace_files([file.path for file in table.live_files()], table.scan(), run_key=key)
    assert commit.snapshot_id is not None
    return commit.snapshot_id


def told(table: LakeTable) -> list[str | None]:
    return [snapshot.summary.get(CONTENT) for snapshot in table.snapshots()]


def test_commits_that_change_no_row_say_whose_rows_these_are(
    stored: LakeTable, settings: Settings, rows: RowsOf
) -> None:
    first = stored.append(rows([1, 2]), run_key="first").snapshot_id
    compact(stored, "once")
    stored.append(rows([]), run_key="nothing", progress={"load": {"at": 1}})
    compact(stored, "twice")
    assert told(stored) == [str(first)] * 3 + [None]

    expire(settings, stored, days=365)
    assert [(one.content_id, one.operation) for one in stored.snapshots()] == [(first, "replace")]
    second = stored.append(rows([3]), run_key="second").snapshot_id
    assert told(stored)[0] is None
    compact(stored, "thrice")
    assert [one.content_id for one in stored.ancestors()] == [second, second, first]
    head = stored.snapshot()
    assert head is not None
    assert head.content_id == second


@pytest.mark.parametrize("how", ["overwrite", "delete"])
def test_rows_that_go_are_another_content(stored: LakeTable, rows: RowsOf, how: str) -> None:
    stored.append(rows([1, 2]), run_key="first")
    compact(stored, "once")
    if how == "delete":
        stored.delete("order_id = 1", run_key="less")
    else:
        stored.overwrite(rows([1]), where="order_id = 1", run_key="less")

    head = stored.snapshot()
    assert head is not None
    assert (head.content_id, CONTENT in head.summary) == (head.id, False)


def test_what_is_made_again_on_top_of_main_tells_of_the_rows_there(stored: LakeTable, rows: RowsOf) -> None:
    """A branch brought progress alone, and main went on meanwhile: not the rows below the branch."""
    stored.append(rows([1]), run_key="first")
    stored.create_branch("run/1")
    stored.append(rows([]), run_key="nothing", branch="run/1", progress={"load": {"at": 1}})
    second = stored.append(rows([2]), run_key="second").snapshot_id

    stored.publish("run/1", audit=lambda: None)

    head = stored.snapshot()
    assert head is not None
    assert (head.run_key, head.content_id, head.summary[CONTENT]) == ("nothing", second, str(second))
