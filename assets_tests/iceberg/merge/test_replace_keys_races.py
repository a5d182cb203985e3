"""Rows in the place of all rows of their keys, and another writer at once: as if one had come after the other.

The other comes when the files are written and the catalog is asked for the snapshot, which is then refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CommitConflict, PublishConflict
from lakehouse.iceberg import Lake, Way
from lakehouse.tables import Column, PartitionField

Between = Callable[..., None]
OURS = ((2, 1, "ours", 2), (2, 3, "ours", 3), (9, 3, "ours", 2), (9, 3, "ours", 2))


@pytest.fixture(params=Way, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def twin(twins: Callable[..., Twin]) -> Twin:
    """A file of each of two days: keys 1 to 4, 2 twice, and 5 to 8."""
    made = twins("by day")
    made.append(rows(*((number, 1, "old", 10) for number in (1, 2, 2, 3, 4))))
    made.append(rows(*((number, 2, "old", 10) for number in range(5, 9))))
    return made


def rounds(twin: Twin) -> int:
    return int(json.loads(twin.table.snapshots()[0].summary["lakehouse.merge"])["rounds"])


def test_of_two_of_the_same_new_key_one_is_left(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.replace_keys(rows((9, 1, "theirs", 1), (9, 2, "theirs", 1), (10, 1, "theirs", 1)), way=way))
    commit = twin.replace_keys(rows(*OURS), way=way)
    assert not twin.differs()
    assert (commit.rows_added, commit.rows_removed, rounds(twin)) == (4, 4, 2)


@pytest.mark.parametrize("others", ["append", "merge"])
def test_rows_of_our_keys_that_another_brought_go(twin: Twin, way: Way, between: Between, others: str) -> None:
    theirs = rows((2, 2, "theirs", 1), (9, 2, "theirs", 1))
    between(lambda: twin.append(theirs) if others == "append" else twin.merge(theirs, way=way))
    twin.replace_keys(rows(*OURS), way=way)
    assert not twin.differs()
    assert rounds(twin) == 2


def test_a_merge_that_is_overtaken_leaves_one_row_of_the_key(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.replace_keys(rows(*OURS), way=way))
    twin.merge(rows((9, 1, "last", 1)), way=way)
    assert not twin.differs()
    assert [row[2] for row in twin.rows() if row[0] == 9] == ["last"]


def test_an_unrelated_append_is_no_new_round(twin: Twin, way: Way, between: Between) -> None:
    """Though its bounds do not rule our keys out."""
    between(lambda: twin.append(rows((-5, 1, "low", 1), (100, 1, "high", 1))))
    commit = twin.replace_keys(rows(*OURS), way=way)
    assert not twin.differs()
    assert (commit.retries, rounds(twin)) == (1, 1)


def test_a_compaction_of_the_touched_files_is_followed(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.table.compact([[file.path] for file in twin.table.live_files()], connection=twin.duck))
    twin.replace_keys(rows(*OURS, (6, 2, "ours", 2)), way=way)
    assert not twin.differs()
    assert rounds(twin) == 2


@pytest.mark.parametrize("position", [1, 3])
def test_a_row_that_another_hides_in_a_touched_file_stays_hidden(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable], position: int
) -> None:
    """One of ours, or one beside them."""
    path = next(file.path for file in twin.table.live_files() if "01-01" in file.partition)
    between(lambda: (hide(stock(twin), position, of=path), twin.follow()))
    commit = twin.replace_keys(rows(*OURS), way=way)
    assert not twin.differs()
    assert (commit.rows_removed, rounds(twin)) == (1 if position == 1 else 2, 2)


def test_a_key_that_another_hides_is_new(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable]
) -> None:
    """The file is still there and holds none of our keys any more."""
    path = next(file.path for file in twin.table.live_files() if "01-01" in file.partition)
    between(lambda: (hide(stock(twin), 3, of=path), twin.follow()))
    commit = twin.replace_keys(rows((3, 1, "ours", 2), (3, 1, "ours", 2)), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, rounds(twin)) == ("append", 2, 2)


def test_rows_of_our_keys_that_are_gone_meanwhile_are_new(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.delete("day = '2026-01-01'"))
    commit = twin.replace_keys(rows(*OURS), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, rounds(twin)) == ("append", 4, 2)


def test_another_partitioning_of_meanwhile(twin: Twin, way: Way, between: Between, lake: Lake) -> None:
    def evolve() -> None:
        lake.create(replace(twin.declared, partition_by=(PartitionField("id", "bucket[4]"),)))
        twin.append(rows((2, 2, "theirs", 1), (40, 2, "theirs", 1)))

    between(evolve)
    twin.replace_keys(rows(*OURS, (40, 1, "ours", 3)), way=way)
    assert not twin.differs()


def test_a_column_of_meanwhile_is_null_in_our_rows(twin: Twin, way: Way, between: Between, lake: Lake) -> None:
    """Its first writer was faster, and its rows of our keys go."""

    def grow() -> None:
        lake.create(replace(twin.declared, columns=(*twin.declared.columns, Column("colour", "string"))))
        twin.table.append(rows((9, 2, "theirs", 1), (30, 2, "theirs", 1), colour=["red", "blue"]), run_key="grow")

    between(grow)
    twin.replace_keys(rows(*OURS), way=way)
    found = {(row["id"], row["name"], row["colour"]) for row in twin.table.scan().read_all().to_pylist()}
    assert {row for row in found if row[0] in {9, 30}} == {(9, "ours", None), (30, "theirs", "blue")}


def test_columns_of_the_rows_that_became_others_are_a_conflict(
    twin: Twin, between: Between, lake: Lake, files: Callable[[], int]
) -> None:
    columns = [
        replace(of, name="title", renamed_from="name") if of.name == "name" else of for of in twin.declared.columns
    ]
    before = files()

    def rename() -> None:
        lake.create(replace(twin.declared, columns=tuple(columns)))
        twin.table.delete("id = 2", run_key="rename")

    between(rename)
    with pytest.raises(CommitConflict, match="columns of the rows were changed"):
        twin.replace_keys(rows(*OURS))
    # The three rows that the delete kept.
    assert files() == before + 1


def test_the_same_run_of_meanwhile_is_the_one(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.replace_keys(rows((2, 1, "theirs", 2)), way=way, run_key="load"))
    given: dict[str, Any] = {"key": ["id"], "connection": twin.duck, "way": way, "run_key": "load"}
    assert twin.table.replace_keys(rows(*OURS), **given).already_done
    assert not twin.differs()


def test_rows_of_a_branch_are_not_put_on_top_of_a_main_that_moved(twin: Twin, way: Way) -> None:
    """They came as an append, and yet main may have got rows of their keys since."""
    twin.table.create_branch("run/x")
    given: dict[str, Any] = {"key": ["id"], "connection": twin.duck, "way": way, "branch": "run/x", "run_key": "x"}
    assert twin.table.replace_keys(rows((9, 1, "on the branch", 1)), **given).operation == "append"
    twin.replace_keys(rows((9, 1, "on main", 1)), way=way)
    for publish in (twin.table.rebase, twin.table.publish):
        with pytest.raises(PublishConflict):
            publish("run/x")
    assert not twin.differs()


def test_rounds_that_fail_leave_no_files(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable], files: Callable[[], int]
) -> None:
    """Every file that is there is one of some snapshot."""
    between(*(lambda turn=turn: twin.append(rows((2, 1, f"turn {turn}", 1))) for turn in range(3)))
    twin.replace_keys(rows(*OURS), way=way)
    assert not twin.differs()
    assert rounds(twin) == 4
    assert len(set(stock(twin).inspect.all_files()["file_path"].to_pylist())) == files()


def test_one_that_is_always_overtaken_gives_up(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable]
) -> None:
    """Its rows are not there then, those of its keys are, and its run key is free for the next try."""
    with stock(twin).transaction() as transaction:
        transaction.set_properties({"commit.retry.total-timeout-ms": "0"})
    between(lambda: twin.append(rows((9, 1, "theirs", 1))))
    with pytest.raises(CommitConflict):
        twin.table.replace_keys(rows(*OURS), key=["id"], connection=twin.duck, way=way, run_key="x")
    assert not twin.differs()
    twin.replace_keys(rows(*OURS), way=way, run_key="x")
    assert not twin.differs()
