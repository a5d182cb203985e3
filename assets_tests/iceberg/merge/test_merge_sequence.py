"""With a sequence an older version never overwrites a newer one, neither in the table nor among the rows."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest

from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CommitError, SchemaMismatch
from lakehouse.iceberg import Way


@pytest.fixture
def twin(twins: Callable[..., Twin]) -> Twin:
    """Keys 1 to 4 of version 10, and 5 to 8 of version 20."""
    made = twins("by day")
    for day in (1, 2):
        made.append(rows(*((4 * day - 3 + number, day, "old", 10 * day) for number in range(4))))
    return made


@pytest.fixture(params=[None, *Way], ids=str)
def way(request: pytest.FixtureRequest) -> Way | None:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


def told(twin: Twin) -> dict[str, int]:
    return json.loads(twin.table.snapshots()[0].summary["lakehouse.merge"])  # type: ignore[no-any-return]


def test_an_older_row_changes_nothing(twin: Twin, way: Way | None) -> None:
    commit = twin.merge(rows((1, 1, "newer", 11), (2, 1, "older", 9), (9, 1, "new", 1)), sequence="version", way=way)
    assert not twin.differs()
    assert (commit.rows_added, commit.rows_removed, told(twin)["outdated"]) == (2, 1, 1)


def test_only_older_rows_are_no_commit(twin: Twin) -> None:
    before = twin.table.snapshots()
    commit = twin.merge(rows((2, 1, "older", 9), (5, 1, "older", 19)), sequence="version")
    assert (commit.operation, twin.table.snapshots()) == ("none", before)
    assert not twin.differs()


def test_a_row_that_is_as_old_replaces_it(twin: Twin, way: Way | None) -> None:
    """So a batch that is merged once more, with a correction, brings the correction."""
    twin.merge(rows((2, 1, "again", 10)), sequence="version", way=way)
    assert not twin.differs()
    assert told(twin)["updated"] == 1


def test_of_several_rows_the_highest_counts_and_of_equal_ones_the_last(twin: Twin, way: Way | None) -> None:
    given = rows((1, 1, "a", 12), (1, 1, "b", 14), (1, 1, "c", 14), (1, 1, "d", 13), (2, 1, "e", 12), (2, 1, "f", 8))
    twin.merge(given, sequence="version", way=way)
    assert not twin.differs()
    assert {row[2] for row in twin.rows()} == {"c", "e", "old"}


def test_an_older_delete_deletes_nothing(twin: Twin, way: Way | None) -> None:
    given = rows((1, 1, "x", 9), (2, 1, "x", 10), (3, 1, "x", 11), gone=[True, True, True])
    twin.merge(given, sequence="version", deleted="gone", way=way)
    assert not twin.differs()
    assert (told(twin)["deleted"], told(twin)["outdated"]) == (2, 1)


def test_a_stored_row_without_a_sequence_is_older_than_any(twin: Twin, way: Way | None) -> None:
    twin.append(rows((50, 1, "unknown", 0)).set_column(4, "version", pa.nulls(1, pa.int64())))
    twin.merge(rows((50, 1, "known", -5)), sequence="version", way=way)
    assert not twin.differs()


def test_one_newer_row_of_a_doubled_key_keeps_all_of_them(twin: Twin, way: Way | None) -> None:
    """Which of them is right is not known; a newer version makes them one."""
    twin.append(rows((1, 1, "double", 30)))
    twin.merge(rows((1, 1, "between", 20)), sequence="version", way=way)
    assert twin.table.scan(where="id = 1").read_all().num_rows == 2
    twin.merge(rows((1, 1, "newest", 40)), sequence="version", way=way)
    assert twin.table.scan(where="id = 1").read_all()["name"].to_pylist() == ["newest"]


def test_a_date_or_a_text_may_be_the_sequence(twin: Twin, way: Way | None) -> None:
    twin.merge(rows((1, 2, "later", 1), (5, 1, "earlier", 1)), sequence="day", way=way)
    assert not twin.differs()
    twin.merge(rows((1, 2, "kate", 1), (5, 2, "zoe", 1)), sequence="name", way=way)
    assert not twin.differs()


def test_a_row_without_a_sequence_is_refused(twin: Twin) -> None:
    given = rows((1, 1, "x", 1), (2, 1, "y", 2)).set_column(4, "version", pa.array([7, None], pa.int64()))
    with pytest.raises(SchemaMismatch, match="version"):
        twin.table.merge(given, key=["id"], sequence="version", connection=twin.duck, run_key="x")
    assert not twin.differs()


def test_the_key_is_no_sequence(twin: Twin) -> None:
    with pytest.raises(CommitError, match="sequence"):
        twin.table.merge(rows(), key=["id"], sequence="id", connection=twin.duck, run_key="x")
