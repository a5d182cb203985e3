"""Sweeping beside writers: one that is killed, one that is slow, one that commits at the last moment."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pytest
from pyiceberg.table import CommitTableResponse

from assets_tests.forks import Fork
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.catalogs.sql_catalog import SqlLakeCatalog
from lakehouse.settings import Settings
from lakehouse.storage import FolderStore, Store, StoredObject
from lakehouse.storage.open import open_store
from lakehouse.tables import Table, TableName
from lakehouse.upkeep.orphans import OrphanSweep, sweep_orphans

Rows = Callable[..., pa.Table]
SAFE = timedelta(hours=72)
PATIENCE_S = 60

KILLED = """
import os, signal, sys
from pathlib import Path
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import TableName
project, state, uri = sys.argv[1:]
lake = Lake.open(load_settings(Path(project), state=state, catalog={"uri": uri}))
table = lake.table(TableName.parse("silver.orders"))
rows = table.scan().read_all()
# All files are there, and the catalog is asked.
type(table._load().catalog).swap = lambda *words: os.kill(os.getpid(), signal.SIGKILL)
table.append(rows, run_key="killed")
"""


def swept(lake: Lake, name: TableName, store: Store, days: float) -> OrphanSweep:
    """A sweep as if so many days from now."""
    now = datetime.now(UTC) + timedelta(days=days)
    return sweep_orphans(lake, name, store, safe_age=SAFE, now=now, run_id=uuid.uuid4().hex)


def files_of(store: Store, name: TableName) -> set[str]:
    return {seen.path for seen in store.walk(f"{name.layer.value}/{name.table}/")}


class Waiting:
    """A writer that has written all its files and has not asked the catalog yet; `commit` lets it."""

    def __init__(self, table: LakeTable, rows: pa.Table, patch: pytest.MonkeyPatch) -> None:
        self._written, self._may = Event(), Event()
        swap = SqlLakeCatalog.swap

        def wait(catalog: SqlLakeCatalog, *words: object) -> CommitTableResponse:
            if not self._may.is_set():
                self._written.set()
                assert self._may.wait(PATIENCE_S)
            return swap(catalog, *words)  # type: ignore[arg-type]

        self._patch, self._swap = patch, swap
        patch.setattr(SqlLakeCatalog, "swap", wait)
        self._thread = Thread(target=lambda: table.append(rows, run_key="waiting"))
        self._thread.start()
        assert self._written.wait(PATIENCE_S)
        # Others, the sweep's own ledger among them, need not wait.
        patch.setattr(SqlLakeCatalog, "swap", swap)

    def commit(self) -> None:
        self._may.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def writer(table: LakeTable, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    """It adds orders 10 to 19."""
    made = Waiting(table, rows(range(10, 20)), monkeypatch)
    yield made
    made.commit()


def orders_in(table: LakeTable) -> int:
    return int(table.scan().read_all().num_rows)


def test_what_a_killed_writer_left_goes_and_nothing_else(
    lake: Lake, table: LakeTable, store: FolderStore, settings: Settings, fork: Callable[..., Fork]
) -> None:
    before = files_of(store, table.name)
    child = fork(KILLED, Path(__file__).parents[2], settings.state, settings.catalog.uri.get_secret_value())
    with pytest.raises(AssertionError, match="exit code -9"):
        child.rest()
    leftovers = files_of(store, table.name) - before
    # A data file, a manifest, and the list of manifests.
    assert len(leftovers) == 3
    assert swept(lake, table.name, store, 4).sighted_new == 3
    assert swept(lake, table.name, store, 8).removed == 3
    assert files_of(store, table.name) == before
    assert orders_in(table) == 2


def test_iceberg_4194_what_a_slow_writer_commits_between_the_sightings_stays(
    lake: Lake, table: LakeTable, store: FolderStore, writer: Waiting
) -> None:
    """Iceberg 4194: a job wrote for four hours, its files older than three were removed, and its commit named them."""
    before = files_of(store, table.name)
    in_flight = swept(lake, table.name, store, 4)
    assert (in_flight.sighted_new, in_flight.removed) == (3, 0)
    writer.commit()
    done = swept(lake, table.name, store, 8)
    assert (done.found, done.removed) == (0, 0)
    assert before <= files_of(store, table.name)
    assert orders_in(table) == 12


def test_what_is_committed_while_the_sweep_lists_is_spared_by_its_last_look(
    lake: Lake, table: LakeTable, store: FolderStore, writer: Waiting
) -> None:
    """Sighted, due, found once more, and named a moment before it would have been deleted."""

    class Late(FolderStore):
        def walk(self, prefix: str = "") -> Iterator[StoredObject]:
            yield from super().walk(prefix)
            writer.commit()

    assert swept(lake, table.name, store, 4).sighted_new == 3
    done = swept(lake, table.name, Late(Path(store.root)), 8)
    assert (done.due, done.named, done.removed, done.left) == (3, 3, 0, ())
    assert orders_in(table) == 12


def test_the_same_on_each_catalog_and_storage(
    everywhere: Settings, orders: Table, named: Callable[[Table], Table], rows: Rows
) -> None:
    lake, store = Lake.open(everywhere), open_store(everywhere, everywhere.warehouse)
    made = lake.create(named(orders))
    made.append(rows([1, 2]), run_key="r1")
    made.create_branch("run/1")
    made.append(rows([3]), run_key="r2", branch="run/1")
    before = {seen.path for seen in store.walk()}
    home = next(path.partition("/data/")[0] for path in before if f"{made.name.table}" in path and "/data/" in path)
    planted = {f"{home}/data/junk {number}.parquet" for number in range(3)} | {f"{home}/metadata/.x-m0.avro"}
    for path in planted:
        store.put(path, b"junk")
    first = swept(lake, made.name, store, 4)
    assert (first.found, first.sighted_new, first.doubtful) == (4, 4, 0)
    assert swept(lake, made.name, store, 6).removed == 0
    assert swept(lake, made.name, store, 8).removed == 4
    after = {seen.path for seen in store.walk(f"{home}/")}
    assert after == {path for path in before if path.startswith(f"{home}/")}
    assert (orders_in(made), made.scan(at="run/1").read_all().num_rows) == (2, 3)
