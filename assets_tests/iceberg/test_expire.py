"""Expiry: old snapshots go, and with them the files that nothing names any more; no other file does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.statistics import PartitionStatisticsFile, StatisticsFile
from pyiceberg.table.update import SetPartitionStatisticsUpdate

from assets_tests.iceberg.expired import expire, ids_of, later, named, there, warehouse
from lakehouse.errors import CatalogError
from lakehouse.iceberg import KeptFor, Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.storage import FolderStore
from lakehouse.tables import Table, TableName, Upkeep

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]


@pytest.fixture
def table(lake: Lake, flat: Table, rows: Rows) -> LakeTable:
    """gold.flat: three appends, all replaced by one row, and one more append."""
    made = lake.create(flat)
    for number in (1, 2, 3):
        made.append(rows([number]), run_key=f"append {number}")
    made.overwrite(rows([4]), where=None, run_key="overwrite")
    made.append(rows([5]), run_key="append 5")
    return made


def test_old_snapshots_go_with_every_file_that_only_they_named(
    settings: Settings, table: LakeTable, foreign: Foreign, ids: Ids
) -> None:
    old, before = ids_of(table), there(settings)
    size = sum(file.size for file in warehouse(settings).walk() if file.path.endswith(".parquet"))
    done = expire(settings, table)
    assert ids_of(table) == old[-1:]
    assert ids(table) == [4, 5]
    assert there(settings) == named(foreign(table.name))
    gone = before - there(settings)
    assert (done.snapshots_removed, done.snapshots_kept, done.refs_removed) == (4, 1, ())
    assert done.data_files_deleted == sum(path.endswith(".parquet") for path in gone) == 3
    assert done.metadata_files_deleted == sum(path.endswith(".avro") for path in gone)
    assert 0 < done.bytes_deleted < size + 100_000
    assert (done.left, done.resumed, done.unfinished) == ((), False, False)


def test_a_plan_says_what_an_expiry_does_and_changes_nothing(settings: Settings, table: LakeTable) -> None:
    old, before = ids_of(table), there(settings)
    now = later()
    plan = table.plan_expiry(now=now)
    assert (plan.table, plan.planned_at, plan.snapshots) == (table.name, now, tuple(old[:-1]))
    assert (plan.refs, plan.kept, plan.unfinished, plan.nothing) == ((), {KeptFor.COUNT: 1}, False, False)
    assert (ids_of(table), there(settings)) == (old, before)
    assert expire(settings, table).snapshots_removed == len(plan.snapshots)


def test_where_nothing_is_old_enough_nothing_is_committed(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    before = foreign(table.name).metadata_location
    assert table.plan_expiry().nothing
    done = expire(settings, table, days=6)
    assert (done.snapshots_removed, done.snapshots_kept, done.data_files_deleted) == (0, 5, 0)
    assert table.plan_expiry(now=later(6)).kept == {KeptFor.AGE: 5}
    assert foreign(table.name).metadata_location == before


def test_a_second_expiry_finds_nothing_to_do(settings: Settings, table: LakeTable, foreign: Foreign) -> None:
    expire(settings, table)
    before = foreign(table.name).metadata_location
    assert table.plan_expiry(now=later()).nothing
    assert not expire(settings, table).resumed
    assert foreign(table.name).metadata_location == before
    assert not [key for key in foreign(table.name).properties if key.startswith("lakehouse.expiry.")]


def test_a_table_that_was_never_written_to_has_nothing_to_expire(settings: Settings, lake: Lake, orders: Table) -> None:
    table = lake.create(orders)
    assert table.plan_expiry(now=later()).nothing
    assert expire(settings, table).snapshots_kept == 0


def test_the_contract_says_how_long_snapshots_are_kept(lake: Lake, flat: Table, rows: Rows) -> None:
    kept = dataclasses.replace(flat, upkeep=Upkeep(keep_snapshots=timedelta(days=2)))
    table = lake.create(kept)
    table.append(rows([1]), run_key="a")
    table.append(rows([2]), run_key="b")
    assert table.plan_expiry(now=later(1.9)).nothing
    assert len(table.plan_expiry(now=later(2.1)).snapshots) == 1


def test_min_snapshots_to_keep_is_honoured(settings: Settings, table: LakeTable, foreign: Foreign) -> None:
    """PyIceberg's own expiry kept one of three that were asked for (anchors, finding C)."""
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({"history.expire.min-snapshots-to-keep": "3"})
    old = ids_of(table)
    assert table.plan_expiry(now=later()).kept == {KeptFor.COUNT: 3}
    expire(settings, table)
    assert ids_of(table) == old[-3:]
    assert sorted(table.scan(columns=["order_id"], at=old[-3]).read_all()["order_id"].to_pylist()) == [1, 2, 3]
    assert there(settings) == named(foreign(table.name))


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1.5", ""])
def test_a_property_that_is_no_number_is_named(table: LakeTable, foreign: Foreign, text: str) -> None:
    key = "history.expire.max-snapshot-age-ms"
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({key: text})
    with pytest.raises(CatalogError, match=key):
        table.plan_expiry()


def test_a_table_whose_files_are_shared_keeps_everything(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    """As Iceberg's Java library refuses to expire where `gc.enabled` is false."""
    with foreign(table.name).transaction() as transaction:
        transaction.set_properties({"gc.enabled": "false"})
    before = there(settings)
    assert table.plan_expiry(now=later()).kept == {KeptFor.SHARED: 5}
    assert expire(settings, table).snapshots_removed == 0
    assert there(settings) == before


# --- files -----------------------------------------------------------------------------------------------------------


def test_delete_files_and_statistics_go_too(  # noqa: PLR0913, PLR0917  (fixtures)
    settings: Settings,
    table: LakeTable,
    foreign: Foreign,
    rows: Rows,
    ids: Ids,
    hide: Callable[..., None],
) -> None:
    other = foreign(table.name)
    hide(other, 0, of=next(task.file.file_path for task in other.scan().plan_files()))
    other.refresh()
    hidden = ids(table)
    paths = [f"{other.location()}/metadata/{name}.puffin" for name in ("old", "old-parts", "new")]
    for path in paths:
        Path(path.removeprefix("file://")).write_bytes(b"PFA1")
    head = other.metadata.current_snapshot_id
    assert head is not None
    with other.update_statistics() as statistics:
        statistics.set_statistics(_statistics(head, paths[0]))
    with other.transaction() as transaction:
        parts = PartitionStatisticsFile.model_validate(
            {"snapshot-id": head, "statistics-path": paths[1], "file-size-in-bytes": 4}
        )
        transaction._apply((SetPartitionStatisticsUpdate(partition_statistics=parts),), ())  # noqa: SLF001  (no other way)
    # The file that rows are hidden in is rewritten, so that the delete file is only of the past.
    table.overwrite(rows([5]), where=None, run_key="rewrite")
    new = foreign(table.name)
    with new.update_statistics() as statistics:
        statistics.set_statistics(_statistics(ids_of(table)[-1], paths[2]))

    done = expire(settings, table)

    assert len(hidden) == 1
    assert done.data_files_deleted == 3 + 2 + 1  # appended, written over, and the delete file
    left = foreign(table.name)
    assert there(settings) == named(left)
    assert [Path(path.removeprefix("file://")).exists() for path in paths] == [False, False, True]
    assert [file.statistics_path for file in left.metadata.statistics] == [paths[2]]
    assert left.metadata.partition_statistics == []


def test_a_file_that_somebody_added_again_is_kept(
    settings: Settings, table: LakeTable, foreign: Foreign, rows: Rows, ids: Ids
) -> None:
    """Iceberg #2131, #8255, #17304: expiry deleted files that a later snapshot had taken in again."""
    other = foreign(table.name)
    (path,) = [task.file.file_path for task in other.scan(snapshot_id=ids_of(table)[0]).plan_files()]
    table.overwrite(rows([9]), where=None, run_key="all gone")
    again = foreign(table.name)
    again.add_files([path])
    expire(settings, table)
    assert ids(table) == [1, 9]
    assert there(settings) == named(foreign(table.name))
    # And goes, once nothing names it any more.
    table.overwrite(rows([9]), where=None, run_key="gone for good")
    expire(settings, table)
    assert path.removeprefix("file://") not in there(settings)


def test_a_file_added_again_under_another_spelling_of_its_path_is_kept(
    settings: Settings, table: LakeTable, foreign: Foreign, rows: Rows, ids: Ids
) -> None:
    """`/x`, `file:/x` and `file:///x` are one file, whichever of them a program writes."""
    (path,) = [task.file.file_path for task in foreign(table.name).scan(snapshot_id=ids_of(table)[0]).plan_files()]
    table.overwrite(rows([9]), where=None, run_key="all gone")
    foreign(table.name).add_files([path.removeprefix("file://")])
    expire(settings, table)
    assert ids(table) == [1, 9]
    assert there(settings) == named(foreign(table.name))


def test_a_file_that_an_expired_snapshot_took_out_goes_with_the_one_it_was_in(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    """The overwrite is kept: the files that it took out are found through the snapshots that go, and told once."""
    old = ids_of(table)
    paths = {task.file.file_path for task in foreign(table.name).scan(snapshot_id=old[2]).plan_files()}
    assert expire(settings, table, held=[old[3]]).data_files_deleted == len(paths) == 3
    assert not {path.removeprefix("file://") for path in paths} & there(settings)
    done = expire(settings, table)
    assert (done.snapshots_removed, done.data_files_deleted, done.bytes_deleted < 20_000) == (1, 0, True)


def test_what_another_programs_expiry_left_behind_is_not_guessed_at(
    settings: Settings, table: LakeTable, foreign: Foreign
) -> None:
    """PyIceberg's expiry leaves the files: nothing names them any more, which makes them orphans."""
    old = ids_of(table)
    other = foreign(table.name)
    before = there(settings)
    other.maintenance.expire_snapshots().by_ids(old[:3]).commit()
    done = expire(settings, table)
    assert (done.snapshots_removed, done.data_files_deleted) == (1, 0)
    assert named(foreign(table.name)) < there(settings) < before


def test_files_outside_of_the_store_are_left_and_told(
    settings: Settings, table: LakeTable, foreign: Foreign, rows: Rows, tmp_path: Path
) -> None:
    outside = tmp_path / "elsewhere" / "theirs.parquet"
    outside.parent.mkdir()
    pq.write_table(rows([7]).select(["order_id", "order_date", "amount", "paid_at", "email"]), outside)
    plain = foreign(table.name)
    plain.add_files([f"file://{outside}"])
    table.overwrite(rows([1]), where=None, run_key="a")
    done = expire(settings, table)
    assert done.left == (f"file://{outside}",)
    assert outside.exists()
    # Nobody will ever delete it: it is not waited for.
    assert (done.unfinished, table.plan_expiry(now=later()).nothing) == (False, True)


def test_a_store_that_is_another_folder_loses_nothing(settings: Settings, table: LakeTable, tmp_path: Path) -> None:
    before = there(settings)
    done = expire(settings, table, store=FolderStore(tmp_path / "other"))
    assert (done.data_files_deleted, done.metadata_files_deleted) == (0, 0)
    assert there(settings) == before
    assert set(done.left) <= {f"file://{path}" for path in before}
    assert len(done.left) > done.snapshots_removed


def test_progress_is_told(settings: Settings, table: LakeTable) -> None:
    said: list[str] = []
    done = expire(settings, table, progress=said.append)
    files = (done.data_files_deleted, done.metadata_files_deleted)
    assert said[-1] == f"{files[0]} data files and {files[1]} metadata files deleted"


def _statistics(snapshot_id: int, path: str) -> StatisticsFile:
    return StatisticsFile.model_validate(
        {
            "snapshot-id": snapshot_id,
            "statistics-path": path,
            "file-size-in-bytes": 4,
            "file-footer-size-in-bytes": 4,
            "blob-metadata": [],
        }
    )
