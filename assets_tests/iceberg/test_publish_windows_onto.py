"""Windows that say how far they are, and windows that go onto another branch first, to be judged without the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.errors import Fenced, PublishConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.tables import Table, Window

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Day = Callable[[int], date]

BRANCH, GOOD, SCOPE = "run/b", "run/b-good", "changes/bronze.orders"
RUN: Any = {"run_key": "b", "branch": BRANCH}
BEFORE, HALF, AFTER = ({"sequence": number} for number in (1, 2, 3))


@pytest.fixture
def staged(any_lake: Lake, orders: Table, rows: Rows, day: Day) -> LakeTable:
    """Days 1 and 2 computed anew on a branch: 10 instead of 1, 20 instead of 2; the scope moves there."""
    made = any_lake.create(orders)
    made.append(
        pa.concat_tables([rows([1], day(1)), rows([2], day(2))]), run_key="a", progress={SCOPE: BEFORE, "o": {"n": 1}}
    )
    made.create_branch(BRANCH)
    content = pa.concat_tables([rows([10], day(1)), rows([20], day(2))])
    made.overwrite(content, where=Window.of_days(day(1), day(2)), **RUN, progress={SCOPE: AFTER})
    return made


def first(day: Day) -> list[Window]:
    return [Window.of_days(day(1), day(1))]


def second(day: Day) -> list[Window]:
    return [Window.of_days(day(2), day(2))]


def test_a_part_says_how_far_it_is_and_the_rest_does_not_take_it_back(staged: LakeTable, ids: Ids, day: Day) -> None:
    said: Any = {"progress": {SCOPE: HALF}, "expected_progress": {SCOPE: BEFORE}, "summary": {"lakehouse.read": "{}"}}
    commit = staged.publish_windows(BRANCH, first(day), **said)
    assert (commit.rows_added, ids(staged), staged.progress(SCOPE), staged.progress("o")) == (
        1,
        [2, 10],
        HALF,
        {"n": 1},
    )
    assert staged.snapshots()[0].summary["lakehouse.read"] == "{}"
    assert staged.snapshots()[0].run_key is None

    staged.publish_windows(BRANCH, second(day))
    # All is on main: the run is done, but how far it is said the one who published a part of it.
    assert (ids(staged), staged.progress(SCOPE), staged.branches()) == ([10, 20], HALF, ())
    assert staged.snapshots()[0].run_key == "b"


def test_a_part_that_was_overtaken_is_refused(staged: LakeTable, ids: Ids, day: Day) -> None:
    with pytest.raises(Fenced, match="changes/bronze"):
        staged.publish_windows(BRANCH, first(day), progress={SCOPE: HALF}, expected_progress={SCOPE: AFTER})
    assert (ids(staged), staged.progress(SCOPE)) == ([1, 2], BEFORE)


def test_progress_alone_is_said_once(staged: LakeTable, day: Day) -> None:
    staged.publish_windows(BRANCH, first(day), progress={SCOPE: HALF})
    head = staged.snapshots()[0].id
    assert staged.publish_windows(BRANCH, first(day), progress={SCOPE: HALF}).already_done
    assert staged.snapshots()[0].id == head
    staged.publish_windows(BRANCH, first(day), progress={SCOPE: AFTER})
    assert staged.progress(SCOPE) == AFTER


def test_windows_go_onto_a_branch_and_from_there_to_main_in_one_swap(staged: LakeTable, ids: Ids, day: Day) -> None:
    staged.create_branch(GOOD)
    before = staged.snapshots()[0].id

    commit = staged.publish_windows(BRANCH, first(day), onto=GOOD, progress={SCOPE: HALF})

    assert (ids(staged), ids(staged, branch=GOOD)) == ([1, 2], [2, 10])
    assert (staged.progress(SCOPE), staged.progress(SCOPE, branch=GOOD)) == (BEFORE, HALF)
    assert (commit.branch, commit.parent_id, staged.snapshots()[0].id) == (GOOD, before, before)
    published = staged.publish(GOOD, judged=commit.snapshot_id)
    assert (published.snapshot_id, ids(staged), staged.progress(SCOPE)) == (commit.snapshot_id, [2, 10], HALF)
    assert staged.branches() == (BRANCH,)
    # The rest goes by the branch of the run, as if the first day had gone to main at once.
    staged.publish_windows(BRANCH, second(day))
    assert (ids(staged), staged.branches()) == ([10, 20], ())


def test_nothing_is_settled_while_main_has_not_got_it(staged: LakeTable, ids: Ids, day: Day) -> None:
    staged.create_branch(GOOD)
    staged.publish_windows(BRANCH, [*first(day), *second(day)], onto=GOOD)
    assert (ids(staged), ids(staged, branch=GOOD)) == ([1, 2], [10, 20])
    assert set(staged.branches()) == {BRANCH, GOOD}


def test_a_main_that_moved_is_a_conflict_of_the_branch_that_took_the_windows(
    staged: LakeTable, rows: Rows, ids: Ids, day: Day
) -> None:
    staged.create_branch(GOOD)
    staged.append(rows([99], day(1)), run_key="other")
    # That branch stands where main was: the days are as they were, there.
    commit = staged.publish_windows(BRANCH, first(day), onto=GOOD)
    with pytest.raises(PublishConflict):
        staged.publish(GOOD, judged=commit.snapshot_id)
    assert ids(staged) == [1, 2, 99]
    # A branch that stands where main is now does not take them.
    staged.create_branch("run/late")
    with pytest.raises(PublishConflict, match="2026-01-01"):
        staged.publish_windows(BRANCH, first(day), onto="run/late")
