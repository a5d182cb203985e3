"""Restore: main goes back in one commit, progress with it, and what was undone can be had again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import BranchMissing, CommitConflict, CommitError, SnapshotMissing
from lakehouse.iceberg import Lake, LakeTable, consumers, downstream, read_summary
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(any_lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """silver.orders after loads a, b and c; b began the scope `late`."""
    made = any_lake.create(orders)
    made.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    made.append(rows([2, 3]), run_key="b", progress={"shop": {"w": 2}, "late": {"w": 9}})
    made.append(rows([4]), run_key="c", progress={"shop": {"w": 3}})
    return made


def floors(foreign: Foreign, table: LakeTable) -> dict[str, str]:
    properties = foreign(table.name).properties
    return {key: value for key, value in properties.items() if key.startswith("lakehouse.progress.")}


def test_a_plan_says_everything_and_changes_nothing(table: LakeTable, ids: Ids) -> None:
    c, b, a = table.snapshots()
    plan = table.plan_restore(to=a.id)
    assert (plan.from_id, plan.to_id, plan.undone, plan.forward) == (c.id, a.id, (c.id, b.id), False)
    assert (plan.run_keys, plan.committed_at) == (("c", "b"), a.committed_at)
    assert (plan.rows_before, plan.rows_after, plan.files_before, plan.files_after) == (4, 1, 3, 1)
    assert plan.progress_before == {"shop": {"w": 3}, "late": {"w": 9}}
    assert plan.progress_after == {"shop": {"w": 1}}
    assert ids(table) == [1, 2, 3, 4]
    assert table.tags() == {}


def test_progress_and_its_floor_go_back_in_the_same_commit(table: LakeTable, foreign: Foreign, ids: Ids) -> None:
    before = len(foreign(table.name).metadata.metadata_log)
    commit = table.restore(table.plan_restore(before_run="b"))
    assert (commit.operation, commit.rows_added, commit.rows_removed) == ("restore", 0, 3)
    assert ids(table) == [1]
    assert (table.progress("shop"), table.progress("late")) == ({"w": 1}, None)
    assert floors(foreign, table) == {"lakehouse.progress.shop": '{"w":1}'}
    assert len(foreign(table.name).metadata.metadata_log) == before + 2  # the tag, and the restore itself


def test_restore_then_the_same_load_writes_again_exactly_once(table: LakeTable, rows: Rows, ids: Ids) -> None:
    def load() -> bool:
        where = table.progress("shop")
        return table.append(
            rows([2, 3]), run_key="b", progress={"shop": {"w": 2}}, expected_progress={"shop": where}
        ).already_done

    assert load()
    table.restore(table.plan_restore(before_run="b"))
    assert not load()
    assert load()
    assert ids(table) == [1, 2, 3]
    assert table.progress("shop") == {"w": 2}


def test_a_restore_can_be_undone(table: LakeTable, foreign: Foreign, ids: Ids) -> None:
    first, was = table.snapshots()[-1].id, floors(foreign, table)
    table.restore(table.plan_restore(to=first))
    (tag,) = table.tags()
    assert tag.startswith("restored/")

    back = table.plan_restore(to=tag)
    assert (back.forward, back.run_keys, back.rows_before, back.rows_after) == (True, ("c", "b"), 1, 4)
    commit = table.restore(back)

    assert (commit.rows_added, commit.rows_removed) == (3, 0)
    assert ids(table) == [1, 2, 3, 4]
    assert table.progress("late") == {"w": 9}
    assert floors(foreign, table) == was


def test_a_time_means_what_main_showed_then(table: LakeTable, ids: Ids) -> None:
    c, b, _ = table.snapshots()
    plan = table.plan_restore(to=b.committed_at)
    assert (plan.to_id, plan.undone) == (b.id, (c.id,))
    table.restore(plan)
    assert ids(table) == [1, 2, 3]
    with pytest.raises(SnapshotMissing, match="not there yet"):
        table.plan_restore(to=datetime(2020, 1, 1, tzinfo=UTC))


def test_a_main_that_moved_since_the_plan_is_left_alone(table: LakeTable, rows: Rows, ids: Ids) -> None:
    plan = table.plan_restore(before_run="c")
    table.append(rows([5]), run_key="d")
    with pytest.raises(CommitConflict, match="moved since"):
        table.restore(plan)
    assert ids(table) == [1, 2, 3, 4, 5]


def test_a_main_that_moves_in_the_moment_of_the_swap_is_left_alone(
    table: LakeTable, rows: Rows, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = table.plan_restore(before_run="c")
    # The first is the tag.
    before_swap(monkeypatch, lambda: table.append(rows([5]), run_key="d"), number=2)
    with pytest.raises(CommitConflict, match="moved since"):
        table.restore(plan)
    assert ids(table) == [1, 2, 3, 4, 5]
    assert table.progress("shop") == {"w": 3}


def test_a_property_that_is_taken_away_in_the_moment_of_the_swap_is_no_trouble(
    table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyIceberg fails with a KeyError on a property that is gone, and the restore would not be done."""
    plan = table.plan_restore(before_run="b")
    went: list[bool] = []

    def late() -> None:
        went.append(True)
        with foreign(table.name).transaction() as other:
            other.remove_properties("lakehouse.progress.late")

    before_swap(monkeypatch, late, number=2)  # the first is the tag
    table.restore(plan)
    assert went, "the property went before the swap"
    assert (table.progress("shop"), table.progress("late")) == ({"w": 1}, None)
    assert floors(foreign, table) == {"lakehouse.progress.shop": '{"w":1}'}


@pytest.mark.parametrize("lands", [True, False])
def test_a_restore_whose_answer_is_lost_is_done_once(
    table: LakeTable, ids: Ids, monkeypatch: pytest.MonkeyPatch, *, lands: bool
) -> None:
    plan = table.plan_restore(before_run="c")
    honest = SqlCatalog.commit_table
    calls = 0

    def lying(self: SqlCatalog, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls != 2:  # the first is the tag
            return honest(self, *arguments)  # type: ignore[arg-type]
        if lands:
            honest(self, *arguments)  # type: ignore[arg-type]
        raise CommitFailedException("the answer is lost")

    monkeypatch.setattr(SqlCatalog, "commit_table", lying)
    table.restore(plan)
    assert ids(table) == [1, 2, 3]
    assert table.progress("shop") == {"w": 2}
    assert table.restore(plan).already_done


def test_only_the_past_of_main_is_a_target(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.create_branch("run/x")
    table.append(rows([9]), run_key="x", branch="run/x")
    # Ahead of main, but no audit has let it through.
    with pytest.raises(CommitError, match="no past of main"):
        table.plan_restore(to="run/x")
    with pytest.raises(SnapshotMissing):
        table.plan_restore(to=12345)
    with pytest.raises(SnapshotMissing, match="'nobody'"):
        table.plan_restore(before_run="nobody")
    with pytest.raises(SnapshotMissing, match="no state"):
        table.plan_restore(before_run="a")
    with pytest.raises(BranchMissing):
        table.plan_restore(to="restored/never")
    with pytest.raises(CommitError, match="one target"):
        table.plan_restore()
    assert ids(table) == [1, 2, 3, 4]


def test_a_restore_is_not_undone_over_work_that_came_since(table: LakeTable, rows: Rows, ids: Ids) -> None:
    table.restore(table.plan_restore(before_run="c"))
    (tag,) = table.tags()
    table.append(rows([7]), run_key="d")
    with pytest.raises(CommitError, match="no past of main"):
        table.plan_restore(to=tag)
    assert ids(table) == [1, 2, 3, 7]


def test_a_table_that_was_never_written_to_has_nothing_to_restore(any_lake: Lake, flat: Table) -> None:
    with pytest.raises(SnapshotMissing, match="never written"):
        any_lake.create(flat).plan_restore(before_run="a")


def test_where_main_is_there_already_nothing_is_done(table: LakeTable) -> None:
    plan = table.plan_restore(to="main")
    assert (plan.undone, plan.rows_before == plan.rows_after) == ((), True)
    assert table.restore(plan).operation == "none"
    assert table.tags() == {}


def test_progress_that_nobody_remembers_is_not_guessed(
    any_lake: Lake, flat: Table, foreign: Foreign, rows: Rows
) -> None:
    table = any_lake.create(flat)
    table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    other = foreign(table.name)
    other.append(rows([2]))
    target = table.snapshots()[0]
    table.append(rows([3]), run_key="b", progress={"shop": {"w": 2}})
    assert table.plan_restore(to=target.id).progress_after == {"shop": {"w": 1}}
    other.refresh()
    other.maintenance.expire_snapshots().by_id(table.snapshots()[-1].id).commit()
    # Its own summary says nothing, what was below it is gone, and the floor speaks of today.
    with pytest.raises(CommitError, match="not known any more"):
        table.plan_restore(to=target.id)


def test_who_read_what_is_undone_is_named(any_lake: Lake, table: LakeTable, flat: Table, rows: Rows) -> None:
    c, b, _ = table.snapshots()
    gold = any_lake.create(flat)
    gold.append(rows([1]), run_key="old", summary=read_summary({table.name: b.id}))
    assert consumers(any_lake, table.name) == {flat.name: {b.id}}
    plan = table.plan_restore(to=b.id)
    assert downstream(any_lake, plan) == ()
    gold.append(rows([4]), run_key="new", summary=read_summary({table.name: c.id}))
    assert consumers(any_lake, table.name) == {flat.name: {b.id, c.id}}
    assert downstream(any_lake, plan) == (flat.name,)
    # A consumer that went back itself shows nothing of it any more.
    gold.restore(gold.plan_restore(before_run="new"))
    assert downstream(any_lake, plan) == ()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(0, 9), min_size=2, max_size=7))
def test_wherever_main_is_led_it_shows_rows_and_progress_of_that_time(
    lake: Lake, orders: Table, rows: Rows, ids: Ids, steps: list[int]
) -> None:
    if lake.exists(orders.name):
        lake.drop(orders.name)
    table = lake.create(orders)
    states: dict[int, tuple[list[int], object]] = {}
    for number, step in enumerate([9, *steps]):
        known = list(states)
        if step >= len(known):
            progress = {"shop": {"w": number}} if step % 2 else {}
            table.append(rows([number]), run_key=str(number), progress=progress)
        else:
            try:
                table.restore(table.plan_restore(to=known[step]))
            except CommitError:
                continue  # no past of main any more
        head = table.snapshots()[0].id
        shown = (ids(table), table.progress("shop"))
        assert states.setdefault(head, shown) == shown
