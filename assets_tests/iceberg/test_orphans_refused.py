"""Where what is named cannot be told for certain, nothing is an orphan: incidents of others, each as a test."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io import FileIO
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError, CommitError, LakehouseError, SettingsError, StateError
from lakehouse.iceberg import Lake, LakeTable, Orphan
from lakehouse.settings import Settings
from lakehouse.storage import Store
from lakehouse.storage.open import open_store
from lakehouse.tables import Layer, Table, TableName

Rows = Callable[..., pa.Table]
AGE = timedelta(hours=1)


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    made = lake.create(orders)
    for number in range(3):
        made.append(rows([number]), run_key=f"r{number}")
    return made


@pytest.fixture
def folder(store: Store) -> Path:
    return Path(store.root) / "silver/orders"


@pytest.fixture
def loaded(lake: Lake, table: LakeTable) -> Callable[[], IcebergTable]:
    """The table as PyIceberg has it."""
    return lambda: lake._catalog.load_table(table.name.key)  # noqa: SLF001  (what another program would do)


def orphans_of(table: LakeTable, store: Store) -> list[Orphan]:
    return list(table.sweep(store).find(older_than=AGE, now=datetime.now(UTC) + timedelta(hours=100)))


def respelled(table: IcebergTable, name: TableName, spell: Callable[[str], str]) -> LakeTable:
    """The table as a program would have left it that spells every path otherwise: in metadata, lists and manifests."""
    metadata = table.metadata.model_copy(
        update={
            "snapshots": [
                one.model_copy(update={"manifest_list": spell(one.manifest_list)}) for one in table.metadata.snapshots
            ],
            "metadata_log": [
                one.model_copy(update={"metadata_file": spell(one.metadata_file)})
                for one in table.metadata.metadata_log
            ],
        }
    )
    made = IcebergTable(table.name(), metadata, spell(table.metadata_location), table.io, table.catalog)
    return LakeTable(name, lambda: made)


@pytest.mark.parametrize("spelling", ["file:/", "file:////", "/"])
def test_spellings_of_spark_and_hadoop_are_the_same_files(
    table: LakeTable, store: Store, loaded: Callable[[], IcebergTable], rows: Rows, spelling: str
) -> None:
    """Hadoop writes file:/x where we write file:///x, and both read each other's metadata: its data files, too."""
    data = Path(store.root) / "silver/orders/data"
    (data / "junk.parquet").write_bytes(b"junk")
    pq.write_table(rows([5]), data / "spark.parquet")
    loaded().add_files([f"file://{data}/spark.parquet".replace("file:///", spelling, 1)])
    assert 5 in table.scan().read_all()["order_id"].to_pylist()
    other = respelled(loaded(), table.name, lambda path: path.replace("file:///", spelling, 1))
    assert [orphan.key for orphan in orphans_of(other, store)] == ["silver/orders/data/junk.parquet"]


def test_iceberg_4652_a_prefix_that_does_not_match_deletes_nothing(
    table: LakeTable, store: Store, folder: Path, settings: Settings
) -> None:
    """Iceberg PR 4652: metadata that spells the prefix otherwise than the listing made every live file an orphan.

    Here the warehouse is listed through another path to the same folder: a link.
    """
    (folder / "data/junk.parquet").write_bytes(b"junk")
    link = Path(store.root).with_name("link")
    link.symlink_to(store.root)
    sweep = table.sweep(store)
    elsewhere = open_store(settings, link.as_uri())
    with pytest.raises(StateError, match="not in a folder of their own"):
        table.sweep(elsewhere)
    # And a table whose location was moved to the link, while its files keep their names.
    table_there = LakeTable(table.name, lambda: _relocated(table, link))
    moved = table_there.sweep(elsewhere)
    told = list(moved.find(older_than=AGE, now=datetime.now(UTC) + timedelta(hours=100)))
    assert [orphan.key for orphan in told] == ["silver/orders/data/junk.parquet"]
    live = [path for path in folder.rglob("*") if path.is_file() and path.name != "junk.parquet"]
    assert moved.doubtful == len(live)
    assert sweep.doubtful == 0


def _relocated(table: LakeTable, root: Path) -> IcebergTable:
    now: IcebergTable = table._load()  # noqa: SLF001  (what another program would have left)
    location = (root / "silver/orders").as_uri()
    return IcebergTable(
        now.name(),
        now.metadata.model_copy(update={"location": location}),
        now.metadata_location,
        now.io,
        now.catalog,
    )


def test_a_path_of_a_kind_that_is_not_known_stops_the_sweep(
    table: LakeTable, store: Store, loaded: Callable[[], IcebergTable]
) -> None:
    hdfs = respelled(loaded(), table.name, lambda path: path.replace("file:///", "hdfs://nn/", 1))
    with pytest.raises(LakehouseError, match="hdfs"):
        orphans_of(hdfs, store)


def test_amoro_877_a_table_at_rest_keeps_its_manifests(table: LakeTable, store: Store, folder: Path) -> None:
    """Amoro 877: a table that nobody had changed for two days lost its manifests, then its data."""
    old = (datetime.now(UTC) - timedelta(days=400)).timestamp()
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    assert orphans_of(table, store) == []


@pytest.mark.parametrize("case", ["same", "inside", "around", "data path", "metadata path", "other namespace"])
def test_two_tables_that_share_a_folder_are_refused(
    lake: Lake, table: LakeTable, store: Store, flat: Table, case: str
) -> None:
    """AWS Glue's notes: of two tables at one location, the optimizer of one deletes the live files of the other."""
    plain: IcebergTable = table._load()  # noqa: SLF001  (what another program would open)
    place, catalog = plain.metadata.location, plain.catalog
    spelled = place.replace("file:///", "file:/")
    name = flat.name.key if case != "other namespace" else ("somewhere", "else")
    catalog.create_namespace_if_not_exists(name[0])
    location, properties = f"{store.root}/gold/flat", {}
    match case:
        case "same" | "other namespace":
            location = spelled
        case "inside":
            location = f"{spelled}/inner"
        case "around":
            location = str(Path(store.root) / "silver")
        case "data path":
            properties["write.data.path"] = f"{spelled}/data"
        case "metadata path":
            properties["write.metadata.path"] = f"{spelled}/metadata/"
    catalog.create_table(name, schema=plain.schema(), location=location, properties=properties)
    with pytest.raises(CommitError, match=re.escape(f"shares a folder with {'.'.join(name)}")):
        table.sweep(store)
    if case not in {"other namespace", "around"}:
        # The other one is refused as well.
        with pytest.raises(CommitError, match=re.escape("shares a folder with silver.orders")):
            lake.table(flat.name).sweep(store)


def test_neighbours_whose_names_begin_alike_do_not_share(
    lake: Lake, table: LakeTable, orders: Table, store: Store
) -> None:
    lake.create(replace(orders, name=TableName(Layer.SILVER, "orders_of_old")))
    assert orphans_of(table, store) == []


def test_a_table_that_cannot_be_opened_might_share_the_folder(
    lake: Lake, settings: Settings, table: LakeTable, flat: Table, store: Store
) -> None:
    lake.create(flat)
    for path in (Path(store.root) / "gold/flat/metadata").iterdir():
        path.unlink()
    with pytest.raises(StateError, match=r"gold\.flat"):
        Lake.open(settings).table(table.name).sweep(store)


def test_a_table_whose_files_are_others_too_is_refused(
    table: LakeTable, store: Store, loaded: Callable[[], IcebergTable]
) -> None:
    """Iceberg's own procedures refuse `gc.enabled=false`: such a table may read the files of another."""
    loaded().transaction().set_properties({"gc.enabled": "false"}).commit_transaction()
    with pytest.raises(CommitError, match="may belong to somebody else"):
        table.sweep(store)


def test_a_manifest_that_is_gone_stops_the_sweep(table: LakeTable, store: Store, folder: Path) -> None:
    next((folder / "metadata").glob("*-m0.avro")).unlink()
    with pytest.raises(CatalogError, match=r"the warehouse failed while reading which files silver\.orders names"):
        table.sweep(store)


@pytest.mark.parametrize("kind", ["*-m0.avro", "snap-*.avro"])
def test_a_manifest_that_is_cut_off_anywhere_stops_the_sweep(
    table: LakeTable, store: Store, folder: Path, kind: str
) -> None:
    """PyIceberg reads a file that ends between two blocks as if it were whole: live files would be nobody's."""
    manifest = next((folder / "metadata").glob(kind))
    whole = manifest.read_bytes()
    for length in {*range(0, len(whole), 211), *range(whole.rfind(whole[-16:], 0, -16), len(whole), 9)}:
        manifest.write_bytes(whole[:length])
        with pytest.raises(CatalogError, match="is damaged"):
            table.sweep(store)
    manifest.write_bytes(whole)
    assert orphans_of(table, store) == []


def test_a_catalog_that_fails_is_no_empty_table(
    table: LakeTable, store: Store, loaded: Callable[[], IcebergTable]
) -> None:
    """It fails when the sweep begins, and between the search and the removal: nothing is deleted."""
    (Path(store.root) / "silver/orders/data/junk.parquet").write_bytes(b"junk")
    answers: list[Exception] = [OSError("gone away")]

    def load() -> IcebergTable:
        if answers:
            raise CatalogError("the catalog failed", remedy="Wait.") from answers.pop()
        return loaded()

    failing = LakeTable(table.name, load)
    with pytest.raises(CatalogError):
        failing.sweep(store)
    sweep = failing.sweep(store)
    orphans = list(sweep.find(older_than=AGE, now=datetime.now(UTC) + timedelta(hours=100)))
    answers.append(OSError("gone away"))
    before = sorted(seen.path for seen in store.walk())
    with pytest.raises(CatalogError):
        sweep.remove(orphans)
    assert sorted(seen.path for seen in store.walk()) == before
    assert [orphan.key for orphan in sweep.remove(orphans).gone] == ["silver/orders/data/junk.parquet"]


def test_a_table_made_anew_while_it_is_swept_stops_the_sweep(
    lake: Lake, table: LakeTable, store: Store, orders: Table, folder: Path
) -> None:
    (folder / "data/junk.parquet").write_bytes(b"junk")
    sweep = table.sweep(store)
    orphans = list(sweep.find(older_than=AGE, now=datetime.now(UTC) + timedelta(hours=100)))
    lake.drop(table.name)
    lake.create(orders)
    with pytest.raises(CommitError, match="dropped and made anew"):
        sweep.remove(orphans)
    assert (folder / "data/junk.parquet").exists()


def test_a_storage_that_reads_badly_is_no_table_without_files(
    table: LakeTable, store: Store, loaded: Callable[[], IcebergTable]
) -> None:
    class Failing(FileIO):
        """Opens nothing."""

        def new_input(self, location: str) -> object:
            raise PermissionError(13, "no", location)

        new_output = delete = new_input

    def load() -> IcebergTable:
        now = loaded()
        return IcebergTable(now.name(), now.metadata, now.metadata_location, Failing(), now.catalog)

    with pytest.raises(StateError, match="reading which files"):
        LakeTable(table.name, load).sweep(store)


def test_a_property_that_names_no_place_is_told(
    table: LakeTable, store: Store, loaded: Callable[[], IcebergTable]
) -> None:
    loaded().transaction().set_properties({"write.data.path": "gs://elsewhere/x"}).commit_transaction()
    with pytest.raises(SettingsError, match="gs://elsewhere/x"):
        table.sweep(store)
