"""A merge and another writer at once: the table is as if one had come after the other.

The other comes when the merge has written its files and asks the catalog for its snapshot, which is then refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import BranchMissing, CommitConflict, Fenced, PublishConflict
from lakehouse.iceberg import Commit, Lake, Way
from lakehouse.tables import Column, PartitionField

Act = Callable[[], object]
Between = Callable[..., None]


@pytest.fixture(params=Way, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def twin(twins: Callable[..., Twin]) -> Twin:
    """A file of each of two days: keys 1 to 4, and 5 to 8."""
    made = twins("by day")
    for day in (1, 2):
        made.append(rows(*((4 * day - 3 + number, day, "old", 10) for number in range(4))))
    return made


def rounds(twin: Twin) -> int:
    return int(json.loads(twin.table.snapshots()[0].summary["lakehouse.merge"])["rounds"])


def test_two_merges_of_the_same_new_key_leave_one_row(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.merge(rows((9, 1, "theirs", 1), (10, 1, "theirs", 1)), way=way))
    commit = twin.merge(rows((9, 2, "ours", 2), (11, 1, "ours", 1)), way=way)
    assert not twin.differs()
    assert (commit.rows_added, commit.rows_removed, rounds(twin)) == (2, 1, 2)


def test_a_key_that_another_appended_is_updated(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.append(rows((2, 2, "theirs", 1), (9, 2, "theirs", 1))))
    twin.merge(rows((2, 1, "ours", 2), (9, 3, "ours", 2)), way=way)
    assert not twin.differs()
    assert rounds(twin) == 2


def test_an_unrelated_append_is_no_new_round(twin: Twin, way: Way, between: Between) -> None:
    """Not even one whose bounds do not rule our keys out: it is looked into, and remembered."""
    acts = [
        lambda number=number: twin.append(rows((-5, 1, "low", 1), (100 + number, 1, "high", 1))) for number in range(3)
    ]
    between(*acts)
    commit = twin.merge(rows((2, 1, "ours", 2), (9, 3, "ours", 2)), way=way)
    assert not twin.differs()
    assert (commit.retries, rounds(twin)) == (3, 1)


def test_a_newer_version_of_meanwhile_wins(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.merge(rows((2, 1, "newest", 30)), sequence="version", way=way))
    twin.merge(rows((2, 1, "newer", 20), (9, 1, "new", 20)), sequence="version", way=way)
    assert not twin.differs()
    assert [row[2] for row in twin.rows() if row[0] == 2] == ["newest"]


def test_a_newer_row_that_goes_meanwhile_keeps_no_older_one_out(twin: Twin, way: Way, between: Between) -> None:
    """Both rows are new then. Before the deletion both would have gone, or been refused."""
    between(lambda: twin.delete("id in (2, 9)"))
    twin.merge(rows((2, 1, "ours", 9), (9, 1, "ours", 9)), sequence="version", way=way)
    assert not twin.differs()
    assert rounds(twin) == 2


def test_a_compaction_of_the_touched_files_is_followed(twin: Twin, way: Way, between: Between) -> None:
    def compact() -> None:
        files = [[file.path] for file in twin.table.live_files()]
        assert twin.table.compact(files, connection=twin.duck).groups == len(files)

    between(compact)
    twin.merge(rows((2, 2, "ours", 2), (6, 2, "ours", 2)), way=way)
    assert not twin.differs()
    assert rounds(twin) == 2


def test_a_row_that_another_hides_in_a_touched_file_stays_hidden(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable]
) -> None:
    """Otherwise a copy would bring it back, and a new delete file would supersede the other's."""
    path = next(file.path for file in twin.table.live_files() if "01-01" in file.partition)
    between(lambda: (hide(stock(twin), 3, of=path), twin.follow()))
    twin.merge(rows((2, 1, "ours", 2)), way=way)
    assert not twin.differs()
    assert rounds(twin) == 2


def test_a_row_hidden_elsewhere_is_no_new_round(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable]
) -> None:
    path = next(file.path for file in twin.table.live_files() if "01-02" in file.partition)
    between(lambda: (hide(stock(twin), 0, of=path), twin.follow()))
    twin.merge(rows((2, 1, "ours", 2), (77, 1, "ours", 2)), way=way)
    assert not twin.differs()
    assert rounds(twin) == 1


def test_a_file_that_is_gone_meanwhile_holds_none_of_our_keys(twin: Twin, way: Way, between: Between) -> None:
    between(lambda: twin.delete("day = '2026-01-01'"))
    commit = twin.merge(rows((2, 1, "ours", 2), (5, 2, "ours", 2)), way=way)
    assert not twin.differs()
    assert (commit.rows_added, commit.rows_removed, rounds(twin)) == (2, 1, 2)


def test_a_key_that_comes_back_by_a_restore_is_seen(twin: Twin, way: Way, between: Between) -> None:
    """The file was looked into; since then it shows a row that was hidden."""
    twin.table.tag("before")
    twin.merge(rows((2, 1, "gone", 2), gone=[True]), deleted="gone", way=Way.MERGE_ON_READ)

    def restore() -> None:
        twin.table.restore(twin.table.plan_restore(to="before"))
        twin.append(rows((77, 1, "after", 1)))

    between(restore)
    twin.table.merge(rows((2, 1, "ours", 3)), key=["id"], connection=twin.duck, way=way, run_key="x")
    assert twin.table.scan(where="id = 2").read_all()["name"].to_pylist() == ["ours"]
    assert twin.table.scan().read_all().num_rows == 9


def test_another_partitioning_of_meanwhile(twin: Twin, way: Way, between: Between, lake: Lake) -> None:
    evolved = replace(twin.declared, partition_by=(PartitionField("id", "bucket[4]"),))

    def evolve() -> None:
        lake.create(evolved)
        twin.append(rows((2, 2, "theirs", 1), (40, 2, "theirs", 1)))

    between(evolve)
    twin.merge(rows((2, 1, "ours", 2), (6, 1, "ours", 2), (40, 1, "ours", 3)), way=way)
    assert not twin.differs()


def test_a_column_that_was_added_meanwhile_keeps_the_values_of_others(
    twin: Twin, way: Way, between: Between, lake: Lake
) -> None:
    """They are in a file of meanwhile that has a key of ours: a new round, in the columns of now."""
    grown = replace(twin.declared, columns=(*twin.declared.columns, Column("colour", "string")))

    def grow() -> None:
        lake.create(grown)
        twin.table.append(rows((9, 2, "theirs", 1), colour=["red"]), run_key="grow")

    between(grow)
    twin.table.merge(rows((2, 1, "ours", 2), (9, 2, "ours", 2)), key=["id"], connection=twin.duck, way=way, run_key="x")
    found = {row["id"]: (row["name"], row["colour"]) for row in twin.table.scan().read_all().to_pylist()}
    assert (found[2], found[9], len(found)) == (("ours", None), ("ours", "red"), 9)


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
        twin.merge(rows((2, 1, "ours", 2)))
    # The three rows that the delete kept.
    assert files() == before + 1


def test_the_same_run_of_meanwhile_is_the_one(twin: Twin, way: Way, between: Between) -> None:
    def other() -> Commit:
        return twin.merge(rows((2, 1, "theirs", 2)), way=way, run_key="load")

    between(other)
    commit = twin.table.merge(rows((2, 1, "ours", 3)), key=["id"], connection=twin.duck, way=way, run_key="load")
    assert commit.already_done
    assert not twin.differs()


def test_progress_that_moved_meanwhile_fences(twin: Twin, way: Way, between: Between, files: Callable[[], int]) -> None:
    between(lambda: twin.append(rows((50, 1, "theirs", 1)), progress={"shop": {"at": 1}}))
    before = files()
    with pytest.raises(Fenced):
        twin.table.merge(
            rows((2, 1, "ours", 3)),
            key=["id"],
            connection=twin.duck,
            way=way,
            run_key="x",
            expected_progress={"shop": None},
        )
    assert not twin.differs()
    assert files() == before + 1


def test_a_branch_that_is_dropped_meanwhile_is_missing(twin: Twin, between: Between) -> None:
    twin.table.create_branch("run/x")
    between(lambda: twin.table.discard("run/x"))
    with pytest.raises(BranchMissing):
        twin.merge(rows((2, 1, "ours", 2)), branch="run/x")


def test_new_keys_of_a_branch_are_not_put_on_top_of_a_main_that_moved(twin: Twin, way: Way) -> None:
    """They came as an append, and yet main may have got one of them since: whoever merged them has to run again."""
    twin.table.create_branch("run/x")
    given = rows((9, 1, "on the branch", 1))
    assert (
        twin.table.merge(given, key=["id"], connection=twin.duck, way=way, branch="run/x", run_key="x").operation
        == "append"
    )
    twin.merge(rows((9, 1, "on main", 1)), way=way)
    for publish in (twin.table.rebase, twin.table.publish):
        with pytest.raises(PublishConflict):
            publish("run/x")
    assert not twin.differs()


def test_rounds_that_fail_leave_no_files(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable], files: Callable[[], int]
) -> None:
    """Every file that is there is one of some snapshot."""
    between(*(lambda turn=turn: twin.merge(rows((2, 1, f"turn {turn}", 1))) for turn in range(3)))
    twin.merge(rows((2, 1, "ours", 9), (3, 1, "ours", 9)), way=way)
    assert not twin.differs()
    assert rounds(twin) == 4
    assert len(set(stock(twin).inspect.all_files()["file_path"].to_pylist())) == files()


def test_a_merge_that_is_always_overtaken_gives_up(
    twin: Twin, way: Way, between: Between, stock: Callable[[Twin], IcebergTable]
) -> None:
    """Its rows are not there then, and its key is free for the next try."""
    with stock(twin).transaction() as transaction:
        transaction.set_properties({"commit.retry.total-timeout-ms": "0"})
    between(lambda: twin.append(rows((2, 1, "theirs", 1))))
    with pytest.raises(CommitConflict):
        twin.table.merge(rows((2, 1, "ours", 2)), key=["id"], connection=twin.duck, way=way, run_key="x")
    assert not twin.differs()
    twin.merge(rows((2, 1, "ours", 2)), way=way, run_key="x")
    assert not twin.differs()
