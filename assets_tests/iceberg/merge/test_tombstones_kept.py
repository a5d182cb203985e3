"""What a table remembers of deleted keys follows its branches and its past, and its file stays as long as it is named.

What a merge makes of it is `test_tombstones.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import expire, later, there
from assets_tests.iceberg.merge.things import THINGS, TOMBSTONES, Things, appended
from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import CommitConflict, Fenced, PublishConflict
from lakehouse.iceberg import Lake, Way, connect, find_orphans
from lakehouse.settings import Settings
from lakehouse.storage.open import open_store
from lakehouse.tables import Column, Table, TableName, Window

Foreign = Callable[[TableName], IcebergTable]
BRANCH = "run/b"


@pytest.fixture
def any_settings(settings: Settings) -> Settings:
    """What a catalog cannot change here."""
    return settings


@pytest.fixture
def things(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Things:
    """Key 2; key 1 was deleted at 10."""
    made = Things.made(lake, duck)
    made.merge((1, 5, "one"), (2, 5, "two"))
    made.merge((1, 10, None))
    return made


def floor(things: Things) -> str | None:
    """The path that the table's property names."""
    told = json.loads(things.opened().properties.get(TOMBSTONES, "{}"))
    return str(told["path"]).removeprefix("file://") if told else None


def test_a_branch_remembers_on_its_own_until_it_is_published(things: Things) -> None:
    things.table.create_branch(BRANCH)
    assert things.remembered(BRANCH) == {1: 10}
    things.merge((2, 10, None), (1, 11, "again"), branch=BRANCH)
    assert (things.remembered(), things.remembered(BRANCH)) == ({1: 10}, {2: 10})
    assert floor(things) == things.file()
    things.merge((2, 9, "late"), branch=BRANCH)
    things.table.publish(BRANCH)
    assert things.remembered() == {2: 10}
    assert floor(things) == things.file()
    things.merge((2, 8, "late"), (1, 10, "late"))
    assert things.rows() == {1: (11, "again")}


def test_a_discarded_branch_leaves_nothing(things: Things) -> None:
    things.table.create_branch(BRANCH)
    things.merge((2, 10, None), branch=BRANCH)
    things.table.discard(BRANCH)
    things.merge((2, 9, "newer"))
    assert things.rows() == {2: (9, "newer")}


def test_a_restore_remembers_what_was_remembered_then(things: Things) -> None:
    then = things.table.snapshots()[0].id
    things.merge((2, 10, None), (1, 11, "again"))
    now = things.table.snapshots()[0].id
    things.table.restore(things.table.plan_restore(to=then))
    assert (things.remembered(), floor(things)) == ({1: 10}, things.file())
    things.table.restore(things.table.plan_restore(to=now))
    assert (things.remembered(), floor(things)) == ({2: 10}, things.file())
    things.table.restore(things.table.plan_restore(to=things.table.snapshots()[-1].id))
    assert (things.remembered(), floor(things)) == ({}, None)
    things.merge((1, 6, "newer"))
    assert things.rows()[1] == (6, "newer")


def test_every_commit_carries_it_forward(things: Things) -> None:
    """And lists the file among the snapshot's statistics, where other programs look before they delete it."""
    file = things.file()
    things.table.append(appended(3), run_key="append")
    things.table.overwrite(appended(4), where="id in (3, 4)", run_key="overwrite")
    things.table.delete("id = 4", run_key="delete")
    things.table.append(appended(5), run_key="another")
    paths = [live.path for live in things.table.live_files()]
    assert things.table.compact([paths], connection=things.duck).commits
    assert things.file() == file
    table = things.opened()
    newest = [snapshot.snapshot_id for snapshot in table.metadata.snapshots][1:]
    listed = {of.snapshot_id: of.statistics_path.removeprefix("file://") for of in table.metadata.statistics}
    assert listed == dict.fromkeys(newest, file)
    things.merge((1, 9, "late"))
    assert 1 not in things.rows()


def test_foreign_commits_and_expiry_leave_the_property_to_tell(
    settings: Settings, things: Things, foreign: Foreign
) -> None:
    file = things.file()
    foreign(things.table.name).append(appended(3))
    expire(settings, things.table)
    assert TOMBSTONES not in things.table.snapshots()[0].summary
    assert floor(things) == file
    store = open_store(settings, settings.warehouse)
    assert not list(find_orphans(things.lake, things.table.name, store, older_than=timedelta(hours=1), now=later()))
    things.merge((1, 8, "late"), (3, 2, "newer"))
    assert things.rows() == {2: (5, "two"), 3: (2, "newer")}
    assert things.file() == file


def test_the_file_goes_with_the_last_snapshot_that_names_it(settings: Settings, things: Things) -> None:
    old = things.file()
    things.table.append(appended(3), run_key="append")
    things.table.tag("kept")
    things.merge((2, 10, None))
    new = things.file()
    expire(settings, things.table)
    assert {old, new} <= there(settings)
    things.table.untag("kept")
    things.table.append(appended(4), run_key="more")
    before = there(settings)
    done = expire(settings, things.table)
    gone = before - there(settings)
    assert old in gone
    assert new not in gone
    assert done.data_files_deleted == sum(path.endswith(".parquet") for path in gone - {old})
    assert done.metadata_files_deleted == sum(path.endswith(".avro") for path in gone) + 1
    things.merge((2, 9, "late"))
    assert 2 not in things.rows()


def test_only_a_file_that_nothing_names_is_an_orphan(settings: Settings, things: Things) -> None:
    store = open_store(settings, settings.warehouse)
    named = Path(things.file() or "")
    lost = named.with_name("tombstones-lost.parquet")
    lost.write_bytes(named.read_bytes())
    things.table.append(appended(3), run_key="append")
    orphans = find_orphans(things.lake, things.table.name, store, older_than=timedelta(hours=1), now=later())
    assert [Path(orphan.path.removeprefix("file://")) for orphan in orphans] == [lost]


def test_appends_of_a_branch_on_top_of_a_main_that_moved_remember_what_main_does(things: Things) -> None:
    things.table.create_branch(BRANCH)
    things.table.append(appended(7), run_key="append", branch=BRANCH)
    things.merge((2, 10, None))
    things.table.publish(BRANCH, audit=lambda: None)
    assert things.remembered() == {1: 10, 2: 10}
    assert set(things.rows()) == {7}


def test_rows_merged_on_a_branch_are_not_put_on_top_of_other_rows(things: Things) -> None:
    """New keys alone are an append, but main may have got the same keys meanwhile."""
    things.table.create_branch(BRANCH)
    things.merge((7, 1, "branch"), branch=BRANCH)
    things.merge((7, 2, "main"))
    with pytest.raises(PublishConflict):
        things.table.publish(BRANCH, audit=lambda: None)
    assert things.rows()[7] == (2, "main")


def windowed(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """merge(branch, (id, day, version, name or None), ...) into a table of days, by whole files."""
    columns = (*THINGS.columns, Column("day", "date", required=True))
    start = date(2026, 1, 1)
    table = lake.create(replace(THINGS, columns=columns, window_column="day", window_start=start))

    def merge(branch: str, *changes: tuple[int, int, int, str | None]) -> None:
        rows = pa.table(
            {
                "id": [change[0] for change in changes],
                "day": [date(2026, 1, change[1]) for change in changes],
                "version": [change[2] for change in changes],
                "name": pa.array([change[3] for change in changes], pa.string()),
                "gone": [change[3] is None for change in changes],
            }
        )
        asked = {"key": ["id"], "sequence": "version", "deleted": "gone", "run_key": os.urandom(8).hex()}
        table.merge(rows, connection=duck, branch=branch, way=Way.COPY_ON_WRITE, **asked)

    return merge


def test_published_windows_bring_what_their_branch_remembers(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    merge = windowed(lake, duck)
    things = Things(lake, lake.table(THINGS.name), duck)
    merge("main", (1, 1, 5, "one"), (2, 2, 5, "two"), (3, 3, 5, "three"))
    things.table.create_branch(BRANCH)
    merge(BRANCH, (1, 1, 10, None), (2, 2, 10, None), (9, 1, 10, None))
    merge("main", (3, 3, 12, None), (9, 1, 11, None))
    first, second = (Window.of_days(date(2026, 1, day), date(2026, 1, day)) for day in (1, 2))
    things.table.publish_windows(BRANCH, [first])
    assert set(things.rows()) == {2}
    assert things.remembered() == {1: 10, 2: 10, 3: 12, 9: 11}
    file = things.file()
    things.table.publish_windows(BRANCH, [second])
    assert (things.rows(), things.table.branches()) == ({}, ())
    assert (things.file(), floor(things)) == (file, file)
    merge("main", (1, 1, 9, "late"), (2, 2, 9, "late"), (3, 3, 11, "late"), (9, 1, 10, "late"))
    assert things.rows() == {}


def test_what_main_deletes_while_windows_are_published_is_not_forgotten(
    lake: Lake, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = windowed(lake, duck)
    things = Things(lake, lake.table(THINGS.name), duck)
    merge("main", (1, 1, 5, "one"), (3, 3, 5, "three"))
    things.table.create_branch(BRANCH)
    merge(BRANCH, (1, 1, 10, None))
    window = [Window.of_days(date(2026, 1, 1), date(2026, 1, 1))]
    before_swap(monkeypatch, lambda: merge("main", (3, 3, 10, None)))
    with pytest.raises(CommitConflict, match="deleted keys"):
        things.table.publish_windows(BRANCH, window)
    assert things.remembered() == {3: 10}
    things.table.publish_windows(BRANCH, window)
    assert things.remembered() == {1: 10, 3: 10}


def test_a_branch_that_only_remembers_is_published_by_windows_too(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    merge = windowed(lake, duck)
    things = Things(lake, lake.table(THINGS.name), duck)
    merge("main", (1, 1, 5, "one"))
    things.table.create_branch(BRANCH)
    merge(BRANCH, (9, 1, 10, None))
    things.table.publish_windows(BRANCH, [Window.of_days(date(2026, 1, 1), date(2026, 1, 1))])
    assert (things.remembered(), things.table.branches()) == ({9: 10}, ())


def test_a_merge_that_was_overtaken_by_a_deletion_begins_anew(
    settings: Settings, things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other writer deletes a key that ours would bring back, and one of its own: neither is lost."""
    with connect(settings) as duck:
        other = replace(things, duck=duck)
        before_swap(monkeypatch, lambda: other.merge((1, 30, None), (4, 30, None)))
        things.merge((1, 20, "again"), (5, 20, None))
    assert things.rows() == {2: (5, "two")}
    assert things.remembered() == {1: 30, 4: 30, 5: 20}
    assert things.told("rounds") == 2
    left = Path(things.file() or "").parent.glob("tombstones-*")
    named = {json.loads(of.summary.get(TOMBSTONES, "{}")).get("path") for of in things.table.snapshots()}
    assert {file.as_uri() for file in left} == named - {None}


def test_a_merge_that_conflicts_to_the_end_leaves_no_file(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scope that it moves was moved by another writer after its file was written."""
    before = set(Path(things.file() or "").parent.glob("tombstones-*"))
    before_swap(monkeypatch, lambda: things.table.append(appended(3), run_key="x", progress={"shop": {"at": 1}}))
    with pytest.raises(Fenced):
        things.merge((2, 9, None), expected_progress={"shop": None}, progress={"shop": {"at": 2}})
    assert set(Path(things.file() or "").parent.glob("tombstones-*")) == before


def test_deletions_at_the_same_time_are_all_remembered(settings: Settings, things: Things) -> None:
    def delete(number: int) -> None:
        with connect(settings) as duck:
            mine = replace(things, duck=duck)
            for key in range(10 * number, 10 * number + 3):
                mine.merge((key, 10, None), (100, key, "seen"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(delete, (1, 2, 3)))
    deleted = {10 * number + key: 10 for number in (1, 2, 3) for key in range(3)}
    assert things.remembered() == {1: 10, **deleted}
    assert things.rows() == {2: (5, "two"), 100: (32, "seen")}


def test_on_every_storage_it_is_written_read_and_removed(everywhere: Settings, named: Callable[[Table], Table]) -> None:
    with connect(everywhere) as duck:
        things = Things.made(Lake.open(everywhere), duck, named(THINGS))
        things.merge((1, 5, "one"), (2, 5, "two"))
        things.merge((1, 10, None))
        old = things.file() or ""
        things.merge((1, 8, "late"), (2, 10, None))
        assert things.rows() == {}
        new = things.file() or ""
        expire(everywhere, things.table)
        left = {file.path.rpartition("/")[2] for file in open_store(everywhere, everywhere.warehouse).walk()}
        assert [path.rpartition("/")[2] in left for path in (old, new)] == [False, True]
        things.merge((1, 9, "late"), (2, 9, "late"))
        assert things.rows() == {}
