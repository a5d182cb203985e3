"""Expiry beside other writers: what came or moved between plan and commit, lost answers, and two expiries at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import expire, ids_of, later, named, there
from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import CatalogError, CommitConflict, SnapshotMissing
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.run_keys import RUN_KEYS
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(any_lake: Lake, flat: Table, rows: Rows) -> LakeTable:
    made = any_lake.create(flat)
    for number in (1, 2, 3):
        made.append(rows([number]), run_key=str(number))
    made.overwrite(rows([4]), where=None, run_key="4")
    return made


def read(table: LakeTable, at: str | int) -> list[int]:
    return sorted(table.scan(columns=["order_id"], at=at).read_all()["order_id"].to_pylist())


def test_a_tag_made_between_plan_and_commit_is_kept_with_its_files(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """iceberg-go #716, Paimon #9220, and PyIceberg's own expiry (anchors, finding B): the tag was dropped, silently."""
    second = ids_of(table)[1]
    before_swap(monkeypatch, lambda: table.tag("closed", second))
    done = expire(any_settings, table)
    assert table.tags() == {"closed": second}
    assert read(table, "closed") == [1, 2]
    assert (done.snapshots_removed, done.snapshots_kept) == (2, 2)
    assert there(any_settings) == named(foreign(table.name))


def test_a_lease_taken_between_plan_and_commit_is_kept(
    any_settings: Settings, table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Iceberg #3772: expiry took the files from a reader that was about to read them."""
    first = ids_of(table)[0]
    with ExitStack() as held:
        lease = table.lease(first, max_age=later() - later(-2))
        before_swap(monkeypatch, lambda: held.enter_context(lease))
        expire(any_settings, table)
        assert read(table, first) == [1]
    expire(any_settings, table)
    with pytest.raises(SnapshotMissing):
        read(table, first)


def test_main_set_back_between_plan_and_commit_keeps_its_past(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, ids: Ids
) -> None:
    """The branch moved: what was old and passed by is what main shows now."""
    old = ids_of(table)
    before_swap(monkeypatch, lambda: foreign(table.name).manage_snapshots().rollback_to_snapshot(old[1]).commit())
    expire(any_settings, table)
    assert ids_of(table) == [old[1]]
    assert ids(table) == [1, 2]
    assert there(any_settings) >= named(foreign(table.name))


def test_a_branch_made_between_plan_and_commit_is_kept(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = ids_of(table)[1]
    before_swap(monkeypatch, lambda: foreign(table.name).manage_snapshots().create_branch(second, "dev").commit())
    expire(any_settings, table)
    assert read(table, "dev") == [1, 2]


def test_a_writer_in_between_loses_nothing(  # noqa: PLR0913, PLR0917  (fixtures)
    any_settings: Settings,
    table: LakeTable,
    foreign: Foreign,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    ids: Ids,
) -> None:
    before_swap(monkeypatch, lambda: table.append(rows([5]), run_key="5", progress={"shop": {"w": 5}}))
    done = expire(any_settings, table)
    assert ids(table) == [4, 5]
    assert table.progress("shop") == {"w": 5}
    assert (done.snapshots_removed, done.snapshots_kept) == (4, 1)
    assert there(any_settings) == named(foreign(table.name))


def test_a_file_added_again_while_the_files_are_looked_for_is_kept(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, ids: Ids
) -> None:
    """Iceberg #17304: the state after the removal is not the newest any more when files are deleted."""
    from lakehouse.iceberg.expiry import expire as carried_out

    (path,) = [task.file.file_path for task in foreign(table.name).scan(snapshot_id=ids_of(table)[0]).plan_files()]
    honest = carried_out.Unreachable

    def slow(*arguments: object) -> object:
        found = honest(*arguments)  # type: ignore[arg-type]  # as they are
        assert path in found.data
        foreign(table.name).add_files([path])
        return found

    monkeypatch.setattr(carried_out, "Unreachable", slow)
    expire(any_settings, table)
    assert ids(table) == [1, 4]
    assert there(any_settings) == named(foreign(table.name))


def test_another_programs_expiry_in_between_is_no_error(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, ids: Ids
) -> None:
    """The snapshots of the plan are gone already, and no ref has moved."""
    old = ids_of(table)
    before_swap(monkeypatch, lambda: foreign(table.name).maintenance.expire_snapshots().by_ids(old[:2]).commit())
    done = expire(any_settings, table)
    assert done.snapshots_removed == 1
    assert (ids_of(table), ids(table)) == (old[3:], [4])


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("answer", [CommitFailedException("409"), OSError("the line is dead")])
def test_an_expiry_whose_answer_is_lost_is_believed_after_a_look(  # noqa: PLR0913  (fixtures)
    any_settings: Settings,
    table: LakeTable,
    foreign: Foreign,
    monkeypatch: pytest.MonkeyPatch,
    answer: Exception,
    *,
    lands: bool,
) -> None:
    """Arc #632: an expiry was told as failed though it had succeeded, and its files stayed for ever."""
    honest = SqlCatalog.commit_table
    calls = 0

    def lying(self: SqlCatalog, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            return honest(self, *arguments)  # type: ignore[arg-type]
        if lands:
            honest(self, *arguments)  # type: ignore[arg-type]
        raise answer

    monkeypatch.setattr(SqlCatalog, "commit_table", lying)
    if not lands and isinstance(answer, OSError):
        with pytest.raises(CatalogError):
            expire(any_settings, table)
        assert len(ids_of(table)) == 4
    else:
        done = expire(any_settings, table)
        assert (done.snapshots_removed, done.data_files_deleted, done.unfinished) == (3, 3, False)
        assert calls == 2 + (not lands)
    done = expire(any_settings, table)
    assert there(any_settings) == named(foreign(table.name))
    assert not done.resumed


def test_a_mark_that_cannot_be_taken_away_is_no_failure(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead() -> None:
        raise OSError("the line is dead")

    before_swap(monkeypatch, dead, number=2)
    done = expire(any_settings, table)
    assert (done.snapshots_removed, done.data_files_deleted, done.unfinished) == (3, 3, False)
    assert there(any_settings) == named(foreign(table.name))
    assert table.plan_expiry(now=later()).unfinished
    again = expire(any_settings, table)
    assert (again.resumed, again.snapshots_removed, again.data_files_deleted) == (True, 0, 0)
    assert table.plan_expiry(now=later()).nothing


def test_two_expiries_at_once_remove_everything_once(
    any_settings: Settings, table: LakeTable, foreign: Foreign, ids: Ids, rows: Rows
) -> None:
    together, results, failed = threading.Barrier(2), [], list[BaseException]()

    def work() -> None:
        try:
            together.wait()
            results.append(expire(any_settings, table))
        except BaseException as error:  # noqa: BLE001  (whatever it is, the test fails with it)
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sum(done.snapshots_removed for done in results) == 3
    assert ids(table) == [4]
    assert there(any_settings) == named(foreign(table.name))
    assert table.append(rows([1]), run_key="1").already_done
    # Whoever finished last has left no mark of either.
    expire(any_settings, table)
    assert table.plan_expiry(now=later()).nothing


def test_an_expiry_planned_before_another_landed_keeps_the_memory_of_run_keys(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Each writes the memory as a whole: the second must not write it from what it knew before the first."""
    table.append(rows([5]), run_key="5")
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({"history.expire.min-snapshots-to-keep": "2"})

    def first() -> None:
        expire(any_settings, table)
        with foreign(table.name).transaction() as transaction:
            transaction.set_properties({"history.expire.min-snapshots-to-keep": "1"})

    before_swap(monkeypatch, first)
    expire(any_settings, table)
    assert len(ids_of(table)) == 1
    assert RUN_KEYS in foreign(table.name).properties
    assert all(table.append(rows([0]), run_key=str(number)).already_done for number in (1, 2, 3, 4, 5))


def test_an_expiry_that_others_overtake_all_the_time_gives_up_and_has_removed_nothing(
    any_settings: Settings, table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({"commit.retry.total-timeout-ms": "1"})
    old, before = ids_of(table), there(any_settings)

    def refuse(*_arguments: object) -> object:
        raise CommitFailedException("somebody was faster")

    monkeypatch.setattr(SqlCatalog, "commit_table", refuse)
    with pytest.raises(CommitConflict):
        expire(any_settings, table)
    assert (ids_of(table), there(any_settings)) == (old, before)
