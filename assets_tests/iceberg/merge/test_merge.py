"""Merging by key, both ways and by cost: what the table holds afterwards is what plain SQL makes of a plain table."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest

from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CommitError, Fenced, SchemaMismatch
from lakehouse.iceberg import CHANGE, Way

CASES = [("flat", Way.COPY_ON_WRITE), ("by day", Way.MERGE_ON_READ), ("by bucket", None)]
"""Each layout and each way once; all of them together are `test_merge_random.py`."""


@pytest.fixture(params=CASES, ids=lambda case: " ".join(map(str, case)))
def case(request: pytest.FixtureRequest) -> tuple[str, Way | None]:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def way(case: tuple[str, Way | None]) -> Way | None:
    return case[1]


@pytest.fixture
def twin(case: tuple[str, Way | None], twins: Callable[..., Twin]) -> Twin:
    """A file of each of two days, or more where it is by bucket: keys 1 to 4, and 5 to 8."""
    made = twins(case[0])
    for day in (1, 2):
        made.append(rows(*((4 * day - 3 + number, day, "old", 10) for number in range(4))))
    return made


def told(twin: Twin) -> dict[str, int]:
    """What the head's summary says of its merge."""
    return json.loads(twin.table.snapshots()[0].summary["lakehouse.merge"])  # type: ignore[no-any-return]


def test_rows_replace_those_of_their_key_and_others_are_added(twin: Twin, way: Way | None) -> None:
    commit = twin.merge(rows((2, 1, "new", 1), (9, 3, "new", 1), (7, 2, "new", 1)), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, commit.rows_removed) == ("overwrite", 3, 2)
    found = told(twin)
    assert {name: found[name] for name in ("rows", "keys", "updated", "inserted", "deleted", "outdated", "rounds")} == {
        "rows": 3, "keys": 3, "updated": 2, "inserted": 1, "deleted": 0, "outdated": 0, "rounds": 1,
    }  # fmt: skip
    assert len(twin.table.snapshots()) == 3


def test_each_way_leaves_its_mark(twins: Callable[..., Twin]) -> None:
    """By copy no delete file comes, and the rows beside those that go are written anew; by delete files none is."""
    for way in Way:
        twin = twins("flat", str(way))
        twin.append(rows(*((number, 1, "old", 1) for number in range(4))))
        commit = twin.merge(rows((2, 1, "new", 1)), way=way)
        assert not twin.differs()
        hidden = sum(file.delete_files for file in twin.table.live_files())
        copied = way is Way.COPY_ON_WRITE
        assert (commit.rows_rewritten, hidden) == ((3, 0) if copied else (0, 1))
        assert (commit.rows_added, commit.rows_removed) == (1, 1)
        assert told(twin)[way] == 1


def test_new_keys_alone_are_an_append(twin: Twin, way: Way | None) -> None:
    """So readers of changes may take all of its rows for new."""
    commit = twin.merge(rows((20, 1, "new", 1), (21, 3, "new", 1)), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, commit.rows_removed, commit.files_removed) == ("append", 2, 0, 0)


def test_an_empty_table_takes_all_rows(twins: Callable[..., Twin], way: Way | None) -> None:
    twin = twins("by day")
    commit = twin.merge(rows((1, 1, "first", 1), (2, 2, "other", 1), (1, 1, "last", 1)), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, told(twin)["rows"], told(twin)["keys"]) == ("append", 2, 3, 2)


def test_marked_keys_go(twin: Twin, way: Way | None) -> None:
    """A marker of NULL counts as false; a key that is not there cannot go."""
    marks = [True, None, True, False]
    given = rows((1, 1, "gone", 1), (2, 1, "stays", 1), (99, 1, "gone", 1), (6, 2, "stays", 1), gone=marks)
    commit = twin.merge(given, deleted="gone", way=way)
    assert not twin.differs()
    assert (commit.rows_added, commit.rows_removed) == (2, 3)
    assert (told(twin)["updated"], told(twin)["deleted"], told(twin)["inserted"]) == (2, 1, 0)


def test_keys_that_only_go_are_a_delete(twin: Twin) -> None:
    given = rows((1, 1, "gone", 1), (5, 2, "gone", 1), gone=[True, True])
    commit = twin.merge(given, deleted="gone", way=Way.MERGE_ON_READ)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, commit.rows_removed, commit.files_added) == ("delete", 0, 2, 0)


def test_a_row_that_deletes_needs_its_key_only(twin: Twin, way: Way | None) -> None:
    given = pa.table({"id": [3, 6], "name": pa.nulls(2, pa.string()), "gone": [True, True]})
    twin.merge(given, deleted="gone", way=way)
    assert not twin.differs()


def test_a_file_of_which_no_row_is_left_goes_unread(twins: Callable[..., Twin], way: Way | None) -> None:
    twin = twins("by day")
    for day in (1, 2):
        twin.append(rows(*((4 * day + number, day, "old", 10) for number in range(4))))
    commit = twin.merge(rows(*((4 + number, 3, "new", 11) for number in range(4))), way=way)
    assert not twin.differs()
    assert (commit.files_removed, commit.rows_removed, commit.rows_rewritten) == (1, 4, 0)


def test_a_key_that_is_there_more_than_once_is_there_once_afterwards(twin: Twin, way: Way | None) -> None:
    twin.append(rows((2, 1, "twice", 10), (2, 2, "thrice", 10), (6, 1, "twice", 10)))
    commit = twin.merge(rows((2, 3, "once", 11)), way=way)
    assert not twin.differs()
    assert (commit.rows_added, commit.rows_removed, told(twin)["updated"]) == (1, 3, 1)


def test_a_key_moves_to_another_partition(twin: Twin, way: Way | None) -> None:
    twin.merge(rows((2, 2, "moved", 11), (8, 1, "moved", 11)), way=way)
    assert not twin.differs()


def test_several_columns_make_a_key(twin: Twin, way: Way | None) -> None:
    """Only together: the same id on another day is another key."""
    twin.merge(rows((2, 2, "new", 1), (2, 1, "update", 1), (6, 2, "update", 1)), key=("id", "day"), way=way)
    assert not twin.differs()
    assert (told(twin)["updated"], told(twin)["inserted"]) == (2, 1)
    twin.merge(rows((7, 2, "old", 3)), key=("name", "day"), way=way)
    assert not twin.differs()


def test_merges_follow_one_another(twin: Twin, way: Way | None) -> None:
    """Each finds the rows of those before, and none that they took away."""
    for turn in range(4):
        given = rows(*((number, 1 + turn, f"turn {turn}", turn) for number in range(turn, 12, 2)))
        twin.merge(given, way=way)
        assert not twin.differs()
    twin.merge(rows(*((number, 9, "all", 9) for number in range(14))), way=way)
    assert not twin.differs()


def test_nothing_to_do_is_no_commit(twin: Twin) -> None:
    before = twin.table.snapshots()
    none = twin.merge(rows(), way=None)
    assert (none.operation, none.snapshot_id, twin.table.snapshots()) == ("none", before[0].id, before)
    absent = twin.merge(rows((77, 1, "x", 1), gone=[True]), deleted="gone")
    assert (absent.operation, twin.table.snapshots()) == ("none", before)


def test_progress_alone_is_a_commit(twin: Twin) -> None:
    commit = twin.merge(rows(), progress={"shop": {"at": 1}})
    assert (commit.operation, twin.table.progress("shop")) == ("append", {"at": 1})
    assert not twin.differs()


def test_a_run_key_writes_once(twin: Twin, way: Way | None) -> None:
    first = twin.merge(rows((1, 1, "new", 1)), way=way, run_key="load")
    again = twin.table.merge(rows((1, 1, "other", 1)), key=["id"], connection=twin.duck, run_key="load")
    assert (again.already_done, again.snapshot_id, again.rows_added) == (True, first.snapshot_id, 1)
    assert not twin.differs()


def test_a_writer_that_is_behind_is_fenced(twin: Twin) -> None:
    twin.merge(rows((1, 1, "new", 1)), progress={"shop": {"at": 1}}, expected_progress={"shop": None})
    with pytest.raises(Fenced, match="'shop'"):
        twin.table.merge(
            rows((2, 1, "late", 1)), key=["id"], connection=twin.duck, run_key="late", expected_progress={"shop": None}
        )
    assert not twin.differs()


def test_a_branch_is_merged_into_and_main_is_not(twin: Twin, way: Way | None) -> None:
    twin.table.create_branch("run/x")
    before = twin.table.scan(columns=["id", "name"]).read_all().sort_by("id")
    commit = twin.merge(rows((1, 1, "new", 1), (30, 1, "new", 1)), branch="run/x", way=way)
    assert (commit.branch, commit.rows_added, commit.rows_removed) == ("run/x", 2, 1)
    assert not twin.differs("run/x")
    assert twin.table.scan(columns=["id", "name"]).read_all().sort_by("id") == before
    twin.table.publish("run/x")
    assert not twin.differs()


def test_changes_are_before_and_after_images(twin: Twin, way: Way | None) -> None:
    since = twin.table.snapshots()[0].id
    twin.merge(
        rows((2, 1, "new", 10), (9, 1, "new", 10), (5, 1, "gone", 10), gone=[False, False, True]),
        deleted="gone",
        way=way,
    )
    with twin.table.changes(since, key=["id"]) as changes:
        read = changes.rows().read_all()
    found = sorted(zip(read[CHANGE].to_pylist(), read["id"].to_pylist(), read["name"].to_pylist(), strict=True))
    assert found == [
        ("delete", 5, "old"), ("insert", 9, "new"), ("update_after", 2, "new"), ("update_before", 2, "old"),
    ]  # fmt: skip


def test_what_does_not_fit_is_refused_and_leaves_nothing(twin: Twin, files: Callable[[], int]) -> None:
    before = files()
    for given, key, error in (
        (rows((1, 1, "a", 1)).append_column("colour", [["red"]]), "id", SchemaMismatch),
        (rows((1, 1, "a", 1)), "amounts", CommitError),
        (rows((1, 1, "a", 1)).set_column(0, "id", [pa.array(["one"])]), "id", SchemaMismatch),
        (rows((1, 1, "a", 1)).set_column(0, "id", pa.nulls(1, pa.int64())), "id", SchemaMismatch),
    ):
        with pytest.raises(error):
            twin.table.merge(given, key=[key], connection=twin.duck, run_key="wrong")
    assert files() == before
    assert not twin.differs()
