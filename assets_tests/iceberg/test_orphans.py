"""Which files of a table's folders nothing names, and that no other file is ever taken for one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.statistics import PartitionStatisticsFile, StatisticsFile

from lakehouse.errors import StateError, TableMissing
from lakehouse.iceberg import Lake, LakeTable, Orphan, find_orphans
from lakehouse.iceberg.expiry.unfinished import EXPIRY
from lakehouse.settings import Settings
from lakehouse.storage import Store
from lakehouse.storage.open import open_store
from lakehouse.tables import Table, TableName

Rows = Callable[..., pa.Table]
LATER = timedelta(hours=100)


@pytest.fixture
def store(any_settings: Settings) -> Store:
    return open_store(any_settings, any_settings.warehouse)


@pytest.fixture
def found(any_lake: Lake, store: Store) -> Callable[..., set[str]]:
    """found(name): the paths below the table's folder that are told as orphans, 100 hours from now."""

    def find(name: TableName, *, older_than: timedelta = timedelta(hours=1)) -> set[str]:
        now = datetime.now(UTC) + LATER
        orphans = list(find_orphans(any_lake, name, store, older_than=older_than, now=now))
        assert all(
            isinstance(orphan, Orphan) and orphan.path == f"file://{store.root}/{orphan.key}" for orphan in orphans
        )
        folder = f"{name.layer.value}/{name.table}/"
        return {orphan.key.removeprefix(folder) for orphan in orphans}

    return find


@pytest.fixture
def table(any_lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Three commits to three days."""
    made = any_lake.create(orders)
    for number in range(3):
        made.append(rows([number]), run_key=f"r{number}")
    return made


@pytest.fixture
def loaded(any_lake: Lake, orders: Table) -> Callable[[], IcebergTable]:
    """loaded(): the table as it is now, as PyIceberg has it."""
    return lambda: any_lake._catalog.load_table(orders.name.key)  # noqa: SLF001  (what another program would do)


def home(store: Store, name: TableName) -> Path:
    return Path(store.root) / name.layer.value / name.table


def plant(folder: Path, *names: str) -> set[str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"junk")
    return set(names)


def test_what_nobody_names_is_found_and_nothing_else(
    table: LakeTable, store: Store, found: Callable[..., set[str]]
) -> None:
    assert found(table.name) == set()
    folder = home(store, table.name)
    planted = plant(
        folder, "data/a.parquet", "data/order_date=2026-01-01/b c.parquet", "metadata/x-m0.avro", ".hidden/x"
    )
    planted |= plant(folder, "metadata/00009-lost.metadata.json", "_SUCCESS", "data/.c.parquet.crc")
    assert found(table.name) == planted


def test_a_file_that_is_not_old_enough_is_never_told(
    table: LakeTable, store: Store, found: Callable[..., set[str]]
) -> None:
    folder = home(store, table.name)
    plant(folder, "data/old.parquet", "data/young.parquet", "data/future.parquet")
    now = datetime.now(UTC) + LATER
    for name, age in {"old": 49, "young": 47, "future": -1000}.items():
        at = (now - timedelta(hours=age)).timestamp()
        os.utime(folder / f"data/{name}.parquet", (at, at))
    assert found(table.name, older_than=timedelta(hours=48)) == {"data/old.parquet"}


def test_every_snapshot_branch_tag_and_lease_keeps_its_files(
    table: LakeTable, rows: Rows, found: Callable[..., set[str]]
) -> None:
    """Not only what main shows: an unpublished branch, a tag, a reader's lease, and snapshots that wait for expiry."""
    table.create_branch("run/1")
    table.append(rows([10]), run_key="on a branch", branch="run/1")
    table.tag("kept")
    with table.lease(max_age=timedelta(minutes=5)):
        table.overwrite(rows([20]), where=None, run_key="all anew")
        assert found(table.name) == set()
    table.discard("run/1")
    assert found(table.name) == set()


def test_delete_files_are_named(
    table: LakeTable,
    foreign: Callable[[TableName], IcebergTable],
    hide: Callable[..., None],
    found: Callable[..., set[str]],
) -> None:
    first = next(iter(foreign(table.name).scan().plan_files())).file.file_path
    hide(foreign(table.name), 0, of=first)
    assert found(table.name) == set()


def test_metadata_files_of_the_log_stay_and_those_of_lost_commits_go(
    table: LakeTable, store: Store, found: Callable[..., set[str]], loaded: Callable[[], IcebergTable]
) -> None:
    """Every commit that loses the race leaves a metadata file behind (4 to 14 of 100 commits, measured)."""
    folder = home(store, table.name) / "metadata"
    newest = max(folder.glob("*.metadata.json"))
    shutil.copy(newest, folder / "00003-lost.metadata.json")
    assert found(table.name) == {"metadata/00003-lost.metadata.json"}
    # A shorter log: what it forgets is nobody's.
    loaded().transaction().set_properties({"write.metadata.previous-versions-max": "1"}).commit_transaction()
    log = [Path(entry.metadata_file).name for entry in loaded().metadata.metadata_log]
    assert len(log) == 1
    kept = {*log, Path(loaded().metadata_location).name}
    assert found(table.name) == {f"metadata/{path.name}" for path in folder.glob("*.json") if path.name not in kept}


def test_the_metadata_that_an_expiry_is_to_be_resumed_from_stays(
    table: LakeTable, store: Store, found: Callable[..., set[str]], loaded: Callable[[], IcebergTable]
) -> None:
    planted = plant(home(store, table.name), "metadata/before.metadata.json", "metadata/lost.metadata.json")
    mark = {f"{EXPIRY}1": f"{loaded().location()}/metadata/before.metadata.json"}
    loaded().transaction().set_properties(mark).commit_transaction()
    assert found(table.name) == planted - {"metadata/before.metadata.json"}


def test_statistics_stay(
    table: LakeTable, store: Store, found: Callable[..., set[str]], loaded: Callable[[], IcebergTable]
) -> None:
    """Amoro 1959: cleaning took the statistics files of live snapshots."""
    folder = home(store, table.name)
    plant(folder, "metadata/a.stats", "metadata/b.stats", "metadata/c.stats")
    now = loaded()
    snapshot = now.metadata.current_snapshot_id
    sizes = {"file-size-in-bytes": 4, "snapshot-id": snapshot}
    path = f"{now.location()}/metadata"
    puffin = {"statistics-path": f"{path}/a.stats", "file-footer-size-in-bytes": 1, "blob-metadata": [], **sizes}
    with now.update_statistics() as update:
        update.set_statistics(StatisticsFile.model_validate(puffin))
    assert found(table.name) == {"metadata/b.stats", "metadata/c.stats"}
    # PyIceberg writes no partition statistics; Spark's are read.
    by_partition = PartitionStatisticsFile.model_validate({"statistics-path": f"{path}/b.stats", **sizes})

    def load() -> IcebergTable:
        now = loaded()
        now.metadata = now.metadata.model_copy(update={"partition_statistics": [by_partition]})
        return now

    sweep = LakeTable(table.name, load).sweep(store)
    orphans = sweep.find(older_than=timedelta(0), now=datetime.now(UTC) + LATER)
    assert [orphan.key.rpartition("/")[2] for orphan in orphans] == ["c.stats"]


def test_what_hadoop_keeps_beside_files_stays_with_them(
    table: LakeTable, store: Store, found: Callable[..., set[str]]
) -> None:
    folder = home(store, table.name)
    live = next(folder.rglob("*.parquet"))
    inside = live.parent.relative_to(folder)
    plant(folder, "metadata/version-hint.text", "metadata/.version-hint.text.crc", f"{inside}/.{live.name}.crc")
    assert found(table.name) == set()
    assert plant(folder, f"{inside}/.gone.parquet.crc") == found(table.name)


def test_the_neighbour_whose_name_begins_alike_is_not_looked_at(
    any_lake: Lake, table: LakeTable, orders: Table, rows: Rows, found: Callable[..., set[str]]
) -> None:
    beside = any_lake.create(replace(orders, name=TableName(orders.name.layer, f"{orders.name.table}_old")))
    beside.append(rows([1]), run_key="r")
    assert found(table.name) == found(beside.name) == set()


def test_files_of_a_data_path_outside_of_the_location_are_swept_too(
    any_lake: Lake, table: LakeTable, store: Store, rows: Rows, loaded: Callable[[], IcebergTable]
) -> None:
    elsewhere = f"file://{store.root}/elsewhere"
    loaded().transaction().set_properties({"write.data.path": elsewhere}).commit_transaction()
    table.append(rows([7]), run_key="elsewhere")
    plant(Path(store.root) / "elsewhere", "junk.parquet")
    assert list((Path(store.root) / "elsewhere").rglob("*-*.parquet"))
    orphans = find_orphans(any_lake, table.name, store, older_than=timedelta(0), now=datetime.now(UTC) + LATER)
    assert [orphan.key for orphan in orphans] == ["elsewhere/junk.parquet"]


def test_a_file_that_is_committed_after_it_was_found_is_not_removed(table: LakeTable, store: Store, rows: Rows) -> None:
    """Files are found against the metadata of one moment, and removed only after another look at it."""
    sweep = table.sweep(store)
    table.append(rows([50]), run_key="in between")
    planted = plant(home(store, table.name), "data/junk.parquet")
    orphans = list(sweep.find(older_than=timedelta(0), now=datetime.now(UTC) + LATER))
    assert len(orphans) > len(planted)
    removal = sweep.remove(orphans)
    assert [orphan.key.rpartition("/")[2] for orphan in removal.gone] == ["junk.parquet"]
    assert set(removal.named) == set(orphans) - set(removal.gone)
    assert 50 in table.scan().read_all()["order_id"].to_pylist()


def test_a_table_made_anew_at_the_same_place_keeps_its_files_and_sheds_the_old_ones(
    any_lake: Lake, table: LakeTable, store: Store, orders: Table, found: Callable[..., set[str]]
) -> None:
    folder = home(store, table.name)
    before = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    kept = table.scan().read_all()
    any_lake.drop(table.name)
    with pytest.raises(TableMissing):
        found(table.name)
    any_lake.create(orders).append(kept, run_key="r")
    assert found(table.name) == before


@pytest.mark.parametrize("depth", ["table", "warehouse"])
def test_a_store_that_does_not_hold_the_table_is_refused(
    any_lake: Lake, any_settings: Settings, table: LakeTable, store: Store, depth: str
) -> None:
    """Nor may a table's folder be the whole store: what else lies there is not the table's."""
    root = str(home(store, table.name)) if depth == "table" else str(Path(store.root) / "gold")
    Path(root).mkdir(exist_ok=True)
    other = open_store(any_settings, Path(root).as_uri())
    with pytest.raises(StateError, match="not in a folder of their own") as caught:
        list(find_orphans(any_lake, table.name, other, older_than=timedelta(0), now=datetime.now(UTC)))
    assert f"file://{home(store, table.name)}" == caught.value.found


def test_an_expiry_beside_us_makes_us_look_again(
    table: LakeTable, store: Store, rows: Rows, loaded: Callable[[], IcebergTable]
) -> None:
    """The state that we began to read loses its files: we take the newer one, and all that both name is kept."""
    table.overwrite(rows([9]), where=None, run_key="all anew")
    stale = [loaded()]
    current = stale[0].metadata.current_snapshot_id
    folder = home(store, table.name)
    old = [snapshot.snapshot_id for snapshot in stale[0].metadata.snapshots if snapshot.snapshot_id != current]
    lists = [stale[0].metadata.snapshot_by_id(snapshot) for snapshot in old]
    loaded().maintenance.expire_snapshots().by_ids(old).commit()
    # The oldest list stays readable: what was read before the failure must not be taken for all there is.
    for snapshot in lists[1:]:
        assert snapshot is not None
        Path(snapshot.manifest_list.removeprefix("file://")).unlink()

    def load() -> IcebergTable:
        return stale.pop() if stale else loaded()

    orphans = LakeTable(table.name, load).sweep(store).find(older_than=timedelta(0), now=datetime.now(UTC) + LATER)
    told = {orphan.key.removeprefix("silver/orders/") for orphan in orphans}
    live = {Path(path).name for path in loaded().inspect.files()["file_path"].to_pylist()}
    assert live
    assert not {Path(path).name for path in told} & live
    assert all(not path.endswith("metadata.json") for path in told)
    assert {(folder / path).exists() for path in told} <= {True}


def test_names_that_are_no_text_stay_and_are_no_trouble(
    table: LakeTable, store: Store, found: Callable[..., set[str]]
) -> None:
    name = os.fsdecode(b"\xff.parquet")
    (home(store, table.name) / "data" / name).write_bytes(b"x")
    assert found(table.name) == {f"data/{name}"}


def test_the_search_changes_nothing(
    table: LakeTable, store: Store, found: Callable[..., set[str]], loaded: Callable[[], IcebergTable]
) -> None:
    plant(home(store, table.name), "data/junk.parquet")
    before = sorted(seen.path for seen in store.walk())
    location = loaded().metadata_location
    assert found(table.name) == {"data/junk.parquet"}
    assert sorted(seen.path for seen in store.walk()) == before
    assert loaded().metadata_location == location
