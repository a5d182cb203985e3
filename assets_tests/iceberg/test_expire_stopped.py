"""Expiries that are stopped, or refused by the store: the next one finishes what they began."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import Stopped, Stopping, each_kind, expire, ids_of, later, named, there, warehouse
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.expiry import delete
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(lake: Lake, flat: Table, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> LakeTable:
    """Three appends, all replaced: the expiry has three data files to delete, and they go one at a time."""
    made = lake.create(flat)
    for number in (1, 2, 3):
        made.append(rows([number]), run_key=str(number))
    made.overwrite(rows([4]), where=None, run_key="4")
    monkeypatch.setattr(delete, "_AT_ONCE", 1)
    return made


def test_data_files_go_first_then_manifests_then_their_lists(settings: Settings, table: LakeTable) -> None:
    store = Stopping(warehouse(settings), at=0)
    done = expire(settings, table, store=store)
    kinds = [kind for batch in store.seen for kind in each_kind(batch)]
    assert kinds == sorted(kinds, key=["data", "manifest", "list"].index)
    assert (kinds.count("data"), kinds.count("list")) == (done.data_files_deleted, done.snapshots_removed) == (3, 3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 4, 6, 7, 8])
def test_wherever_it_is_stopped_the_next_one_finishes(  # noqa: PLR0913  (fixtures)
    settings: Settings, table: LakeTable, foreign: Foreign, ids: Ids, at: int, *, after: bool
) -> None:
    with pytest.raises(Stopped):
        expire(settings, table, store=Stopping(warehouse(settings), at=at, after=after))
    # The snapshots are gone, main is whole, and something is left over.
    assert (len(ids_of(table)), ids(table)) == (1, [4])
    assert there(settings) > named(foreign(table.name)) or (at, after) == (8, True)
    assert table.plan_expiry().unfinished
    done = expire(settings, table, days=0)
    assert (done.resumed, done.snapshots_removed, done.unfinished) == (True, 0, False)
    assert there(settings) == named(foreign(table.name))
    assert table.plan_expiry().nothing


def test_one_that_is_killed_right_after_its_commit_is_finished_later(
    settings: Settings, table: LakeTable, foreign: Foreign, rows: Rows, ids: Ids
) -> None:
    """SIGKILL, in a process of its own, before the first file is deleted."""
    child = os.fork()
    if not child:
        try:

            class Killed:
                root = warehouse(settings).root

                def delete(self, _paths: object) -> None:
                    os.kill(os.getpid(), signal.SIGKILL)

            expire(settings, Lake.open(settings).table(table.name), store=Killed())
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(ids_of(table)) == 1
    assert there(settings) > named(foreign(table.name))
    # Others go on meanwhile, and what they write is not what the next expiry is about.
    table.append(rows([5]), run_key="5")
    done = expire(settings, table, days=1)
    assert (done.resumed, done.data_files_deleted, done.snapshots_kept) == (True, 3, 2)
    assert ids(table) == [4, 5]
    assert there(settings) == named(foreign(table.name))


def test_a_stopped_one_is_finished_together_with_the_next(
    settings: Settings, table: LakeTable, foreign: Foreign, rows: Rows, ids: Ids
) -> None:
    with pytest.raises(Stopped):
        expire(settings, table, store=Stopping(warehouse(settings), at=1))
    table.overwrite(rows([5]), where=None, run_key="5")
    done = expire(settings, table)
    assert (done.resumed, done.snapshots_removed, done.data_files_deleted) == (True, 1, 3 + 1)
    assert (ids(table), there(settings)) == ([5], named(foreign(table.name)))


@pytest.mark.parametrize("at", [1, 5, 8])
def test_a_store_that_does_not_answer_makes_no_failure_of_what_landed(
    settings: Settings, table: LakeTable, foreign: Foreign, at: int
) -> None:
    """Arc #632: the snapshots are gone, whatever becomes of the files."""
    done = expire(settings, table, store=Stopping(warehouse(settings), at=at, refuses=True))
    assert (done.snapshots_removed, done.unfinished, len(done.left)) == (3, True, 1)
    assert {path.removeprefix("file://") for path in done.left} <= there(settings)
    again = expire(settings, table)
    assert (again.resumed, again.unfinished, again.left) == (True, False, ())
    assert there(settings) == named(foreign(table.name))


def test_a_manifest_that_cannot_be_read_stops_the_deletion_and_nothing_else(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    """What is left cannot be told from what goes: no file is deleted."""
    head = foreign(table.name).metadata.current_snapshot()
    assert head is not None
    broken = Path(head.manifest_list.removeprefix("file://"))
    hidden = broken.rename(broken.with_suffix(".away"))
    before = there(settings)
    done = expire(settings, table)
    assert (done.snapshots_removed, done.data_files_deleted, done.unfinished) == (3, 0, True)
    assert there(settings) == before
    hidden.rename(broken)
    assert expire(settings, table).data_files_deleted == 3
    assert there(settings) == named(foreign(table.name))


@pytest.mark.parametrize("what", ["list", "manifest"])
@pytest.mark.parametrize("damage", ["cut off between two blocks", "other bytes"])
def test_a_kept_snapshot_that_is_damaged_stops_the_deletion(
    settings: Settings, table: LakeTable, foreign: Foreign, what: str, damage: str
) -> None:
    """PyIceberg takes an Avro file without its last blocks for a whole one: what it named would seem unreachable."""
    plain = foreign(table.name)
    head = plain.metadata.current_snapshot()
    assert head is not None
    listed = head.manifests(plain.io)
    for path in [head.manifest_list] if what == "list" else [manifest.manifest_path for manifest in listed]:
        file = Path(path.removeprefix("file://"))
        content = file.read_bytes()
        # The header ends with the sync marker, which is the file's last 16 bytes too.
        header = content.index(content[-16:]) + 16
        file.write_bytes(content[:header] if damage == "cut off between two blocks" else b"none of ours")
    before = there(settings)
    done = expire(settings, table)
    assert (done.snapshots_removed, done.data_files_deleted, done.metadata_files_deleted) == (3, 0, 0)
    assert (done.unfinished, there(settings)) == (True, before)


def test_a_removed_snapshot_that_is_damaged_hinders_nobody(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    first = foreign(table.name).metadata.snapshot_by_id(ids_of(table)[0])
    assert first is not None
    Path(first.manifest_list.removeprefix("file://")).write_bytes(b"none of ours")
    done = expire(settings, table)
    assert (done.snapshots_removed, done.data_files_deleted, done.unfinished) == (3, 3, False)
    assert there(settings) == named(foreign(table.name))


def test_a_stopped_one_that_nobody_remembers_is_left_to_the_removal_of_orphans(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    with pytest.raises(Stopped):
        expire(settings, table, store=Stopping(warehouse(settings), at=1))
    plain = foreign(table.name)
    (location,) = [file for key, file in plain.properties.items() if key.startswith("lakehouse.expiry.")]
    Path(location.removeprefix("file://")).unlink()
    before = there(settings)
    done = expire(settings, table)
    assert (done.resumed, done.data_files_deleted, done.unfinished) == (True, 0, False)
    assert there(settings) == before
    assert table.plan_expiry(now=later()).nothing
