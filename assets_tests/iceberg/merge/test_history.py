"""History on tables of the lake: every layout, both ways, any order, and what a snapshot says of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import duckdb
import pytest

from assets_tests.iceberg.merge.customers import LAYOUTS, Customers, moment, of, told
from assets_tests.iceberg.merge.history_oracle import LAST, Change, names
from lakehouse.errors import CommitError, Fenced, SchemaMismatch
from lakehouse.iceberg import Lake, Way

KEYS = [(shop, number) for shop in "ab" for number in range(4)]


@pytest.fixture
def customers(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Customers:
    return Customers(lake, duck)


def batch(random: Random, size: int = 25) -> list[Change]:
    """Changes in no order: repeated, at the same moment, deleting, reopening, with NULL."""
    return [
        Change(
            random.choice(KEYS),
            random.randint(0, LAST),
            None if random.random() < 0.2 else (random.choice(["x", "y", None]), random.choice([0.0, None])),
        )
        for _ in range(size)
    ]


@pytest.mark.parametrize(("layout", "way"), list(product(LAYOUTS, [None, *Way])))
def test_versions_are_those_of_all_changes(
    lake: Lake, duck: duckdb.DuckDBPyConnection, layout: str, way: Way | None
) -> None:
    random = Random(f"{layout} {way}")  # noqa: S311  (a seed, no secret)
    customers = Customers(lake, duck, layout)
    for _ in range(3):
        changes = batch(random)
        customers.tell(*changes, way=way)
        assert customers.right()
        assert customers.tell(*changes, way=way).operation == "none"
    paths = [file.path for file in customers.table.live_files()]
    groups = {file.partition: [] for file in customers.table.live_files()}
    for file in customers.table.live_files():
        groups[file.partition].append(file.path)
    assert customers.table.compact(list(groups.values()), connection=duck).overtaken == 0
    assert not set(paths) & {file.path for file in customers.table.live_files()}
    customers.tell(*batch(random), way=way)
    assert customers.right()


def test_a_late_change_splits_a_version_and_a_repeat_makes_none(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(5, "Ada"))
    assert names(customers.versions()) == [(1, None, "Ada")]
    customers.tell(of(3, "Ida"))
    assert names(customers.versions()) == [(1, 3, "Ada"), (3, 5, "Ida"), (5, None, "Ada")]
    customers.tell(of(3, "Ada"))
    assert names(customers.versions()) == [(1, None, "Ada")]


def test_a_deleted_key_is_not_there_until_a_later_change(customers: Customers) -> None:
    customers.tell(of(5, None), of(4, None, number=2))
    assert customers.versions() == set()
    customers.tell(of(3, "Ada"), of(6, "Bea", number=2))
    assert names(customers.versions()) == [(3, 5, "Ada"), (6, None, "Bea")]
    customers.tell(of(7, "Ada"))
    assert names(customers.versions()) == [(3, 5, "Ada"), (6, None, "Bea"), (7, None, "Ada")]


def test_values_are_compared_exactly(customers: Customers) -> None:
    """NULL, NaN and the sign of zero."""
    customers.tell(
        *(of(at, "Ada", rank=rank) for at, rank in enumerate([0.0, -0.0, -0.0, None, None, math.nan, math.nan]))
    )
    found = customers.table.scan(columns=["valid_from", "rank"]).read_all().sort_by("valid_from").to_pydict()
    assert found["valid_from"] == [moment(at) for at in (0, 1, 3, 5)]
    assert str(found["rank"]) == "[0.0, -0.0, None, nan]"
    assert customers.tell(of(1, "Ada", rank=-0.0), of(6, "Ada", rank=math.nan)).operation == "none"
    assert customers.tell(of(1, "Ada", rank=0.0)).rows_removed == 2


def test_only_versions_that_change_are_touched(customers: Customers) -> None:
    """An open version that is closed is one removed and one added; a file of which nothing changes stays."""
    customers.tell(of(1, "Ada"), of(2, "Bea", number=2))
    customers.tell(of(3, "Ada", shop="b"))
    first, second = sorted(customers.table.live_files(), key=lambda file: file.sequence)
    commit = customers.tell(of(4, "Ida"), of(2, "Bea", number=2), way=Way.COPY_ON_WRITE)
    assert (commit.rows_added, commit.rows_removed, commit.rows_rewritten) == (2, 1, 1)
    paths = {file.path for file in customers.table.live_files()}
    assert second.path in paths
    assert first.path not in paths
    counts = customers.counts()
    assert {name: counts[name] for name in ("rows", "keys", "inserted", "updated", "deleted", "rounds")} == {
        "rows": 2,
        "keys": 2,
        "inserted": 1,
        "updated": 1,
        "deleted": 0,
        "rounds": 1,
    }


def test_a_run_key_writes_once_and_progress_comes_along(customers: Customers) -> None:
    first = customers.tell(of(1, "Ada"), run_key="once")
    again = customers.history(told([of(2, "Ida")]), deleted="gone", run_key="once")
    assert (again.already_done, again.snapshot_id) == (True, first.snapshot_id)
    assert names(customers.versions()) == [(1, None, "Ada")]
    moved = customers.tell(of(1, "Ada"), progress={"feed": {"offset": 7}}, expected_progress={"feed": None})
    assert (moved.operation, moved.rows_added, moved.rows_removed) == ("append", 0, 0)
    assert customers.table.progress("feed") == {"offset": 7}
    with pytest.raises(Fenced):
        customers.history(told([of(2, "Ida")]), deleted="gone", expected_progress={"feed": None})
    assert names(customers.versions()) == [(1, None, "Ada")]


def test_a_branch_has_its_own_history(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(4, "Ada"))
    customers.table.create_branch("work")
    customers.tell(of(2, "Ida"), branch="work")
    assert customers.right("work")
    assert names(customers.versions()) == [(1, None, "Ada")]
    customers.table.publish("work")
    assert customers.right()


def test_complete_changes_replace_what_the_table_holds_of_their_keys(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(2, "Bea", number=2))
    customers.tell(of(3, "Ida"), complete=True)
    assert names(customers.versions()) == [(2, None, "Bea"), (3, None, "Ida")]
    customers.tell(of(3, None), complete=True)
    assert names(customers.versions()) == [(2, None, "Bea")]


def test_attributes_that_are_not_tracked_are_overwritten(customers: Customers) -> None:
    customers.tell(of(1, "Ada", rank=1), of(4, "Ada", rank=2), of(6, "Ida", rank=3), tracked=["name"])
    assert [version.values for version in sorted(customers.versions())] == [("Ada", 2), ("Ida", 3)]
    customers.tell(of(2, "Ada", rank=4), tracked=["name"])
    assert [version.values for version in sorted(customers.versions())] == [("Ada", 4), ("Ida", 3)]


def test_overlapping_versions_of_another_writer_are_refused(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(2, "Bea", number=2))
    row = customers.table.scan(where="number = 1").read_all()
    customers.table.append(row, run_key="foreign")
    before = customers.table.snapshots()[0].id
    with pytest.raises(CommitError, match=r"1 versions in .* are empty, or overlap"):
        customers.tell(of(3, "Ida"))
    assert customers.table.snapshots()[0].id == before
    customers.tell(of(3, "Cleo", number=2))
    customers.tell(of(1, "Ada"), of(3, "Ida"), complete=True)
    assert customers.right()


def test_rows_that_another_program_deleted_are_no_versions(customers: Customers, hide: Callable[..., None]) -> None:
    customers.tell(of(1, "Ada"))
    hide(customers.table._load(), 0)  # noqa: SLF001  (as another program opens it)
    customers.known = {}
    customers.tell(of(3, "Ida"))
    assert customers.right()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"key": ("rank",)}, CommitError),
        ({"tracked": ["valid_to"]}, CommitError),
        ({"surrogate": "name", "current": "rank"}, CommitError),
        ({"effective": "nothing"}, SchemaMismatch),
        ({"deleted": "rank"}, CommitError),
        ({"deleted": None}, SchemaMismatch),
        ({"key": ()}, CommitError),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    customers: Customers, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        customers.history(told([of(1, "Ada")]), **{"deleted": "gone", **arguments})
    assert customers.table.snapshots() == ()


def test_of_a_version_that_is_there_twice_complete_changes_leave_one(customers: Customers) -> None:
    """Another program, or a restore of rows by hand, may have doubled it; this is what mends that."""
    customers.tell(of(1, "Ada"), of(3, "Ida"), of(1, "Bea", number=2))
    customers.table.append(customers.table.scan(where="number = 1").read_all(), run_key="doubled")
    with pytest.raises(CommitError, match="overlap"):
        customers.tell(of(5, "Eve"))
    customers.known = {}
    customers.tell(of(1, "Ada"), of(3, "Ida"), complete=True)
    customers.tell(of(1, "Bea", number=2))
    assert customers.right()


def test_what_a_doubled_version_keeps_of_a_retired_column_does_not_double_it(customers: Customers, lake: Lake) -> None:
    customers.tell(of(1, "Ada", rank=1))
    customers.table.append(customers.table.scan().read_all(), run_key="doubled")
    columns = tuple(column for column in customers.declared.columns if column.name != "rank")
    lake.create(replace(customers.declared, columns=columns))
    customers.history(told([of(1, "Ada"), of(3, "Ida")]).drop_columns("rank"), deleted="gone", complete=True)
    assert names(customers.versions()) == [(1, 3, "Ada"), (3, None, "Ida")]
    assert [version.values[1] for version in sorted(customers.versions())] == [1, None]
