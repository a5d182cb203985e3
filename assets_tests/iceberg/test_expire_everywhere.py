"""Expiry on every catalog with every storage, and the tag race on a catalog that cannot be asked to watch for tags."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import Stopped, Stopping, each_kind, expire, ids_of, later, named, warehouse
from lakehouse.errors import SnapshotMissing
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.catalogs.catalog import open_catalog
from lakehouse.iceberg.catalogs.sql_catalog import SqlLakeCatalog
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Named = Callable[[Table], Table]


@pytest.fixture
def grown(rows: Rows, named: Named, flat: Table) -> Callable[[Settings], LakeTable]:
    """grown(settings): three appends and an overwrite, each with its run key."""

    def make(settings: Settings) -> LakeTable:
        table = Lake.open(settings).create(named(flat))
        for number in (1, 2, 3):
            table.append(rows([number]), run_key=str(number), progress={"shop": {"w": number}})
        table.overwrite(rows([4]), where=None, run_key="4")
        return table

    return make


def loaded(settings: Settings, table: LakeTable) -> IcebergTable:
    return open_catalog(settings).load_table(table.name.key)


def of_table(settings: Settings, table: LakeTable) -> set[str]:
    """The table's files in the warehouse, however it is laid out, without metadata files."""
    location = loaded(settings, table).location().removeprefix("file://")
    store = warehouse(settings)
    prefix = location.removeprefix(store.root).lstrip("/")
    return {
        f"{store.root}/{file.path}" for file in store.walk(f"{prefix}/") if not file.path.endswith(".metadata.json")
    }


def test_expiry_deletes_what_nothing_names_and_keeps_what_the_table_knows(
    everywhere: Settings, grown: Callable[[Settings], LakeTable], rows: Rows, ids: Ids
) -> None:
    table = grown(everywhere)
    second = ids_of(table)[1]
    table.tag("closed", second)
    before = of_table(everywhere, table)
    with pytest.raises(Stopped):
        expire(everywhere, table, store=Stopping(warehouse(everywhere), at=1))
    assert of_table(everywhere, table) == before
    done = expire(everywhere, table)
    assert (done.resumed, done.data_files_deleted, done.snapshots_kept, done.left) == (True, 1, 2, ())
    assert of_table(everywhere, table) == named(loaded(everywhere, table))
    assert len(before - of_table(everywhere, table)) == done.data_files_deleted + done.metadata_files_deleted
    assert (ids(table), ids(table, "closed"), table.progress("shop")) == ([4], [1, 2], {"w": 3})
    assert table.append(rows([3]), run_key="3").already_done
    assert not table.append(rows([5]), run_key="5").already_done
    table.untag("closed")
    assert expire(everywhere, table).data_files_deleted == 2
    assert of_table(everywhere, table) == named(loaded(everywhere, table))
    assert table.plan_expiry(now=later()).nothing


@pytest.mark.services
@pytest.mark.parametrize("stopped", [False, True])
def test_a_tag_that_a_rest_catalog_lost_is_back_with_its_snapshot_before_any_file_goes(
    place: Callable[[str, str], Settings],
    grown: Callable[[Settings], LakeTable],
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stopped: bool,
) -> None:
    """The protocol can say where known refs stand, not that there are no others (iceberg-go #716, Paimon #9220)."""
    settings = place("rest", "folder")
    honest = RestCatalog.commit_table
    _race(settings, grown(settings), rows, monkeypatch, (RestCatalog, honest), stopped=stopped)


@pytest.mark.parametrize("stopped", [False, True])
def test_where_a_catalog_cannot_watch_for_tags_a_lost_one_is_back(
    settings: Settings,
    grown: Callable[[Settings], LakeTable],
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stopped: bool,
) -> None:
    """The same on a SQL catalog that is not asked to watch: it drops the tag as a server does."""
    monkeypatch.setattr(SqlLakeCatalog, "sees_new_refs", False)
    monkeypatch.setattr(SqlLakeCatalog, "as_planned", lambda _catalog, _metadata: ())
    honest = SqlLakeCatalog.swap
    _race(settings, grown(settings), rows, monkeypatch, (SqlLakeCatalog, honest), stopped=stopped)


def test_what_a_stopped_expiry_lost_is_found_behind_the_end_of_the_metadata_log(
    settings: Settings, grown: Callable[[Settings], LakeTable], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files go with the next expiry, though more commits came meanwhile than the log tells of."""
    monkeypatch.setattr(SqlLakeCatalog, "sees_new_refs", False)
    monkeypatch.setattr(SqlLakeCatalog, "as_planned", lambda _catalog, _metadata: ())
    table = grown(settings)
    short = {"write.metadata.previous-versions-max": "2", "write.metadata.delete-after-commit.enabled": "false"}
    loaded(settings, table).transaction().set_properties(short).commit_transaction()
    with pytest.raises(Stopped):
        expire(settings, table, store=Stopping(warehouse(settings), at=1))
    for number in (5, 6, 7, 8):
        table.append(rows([number]), run_key=str(number))
    done = expire(settings, table)
    assert done.resumed
    assert of_table(settings, table) == named(loaded(settings, table))


def test_a_tag_that_a_later_expiry_lets_go_is_not_taken_for_lost_by_a_stopped_one(
    settings: Settings, grown: Callable[[Settings], LakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the state machine of upkeep: the tag was made after the stopped expiry, whose mark is still there."""
    monkeypatch.setattr(SqlLakeCatalog, "sees_new_refs", False)
    monkeypatch.setattr(SqlLakeCatalog, "as_planned", lambda _catalog, _metadata: ())
    table = grown(settings)
    third = ids_of(table)[2]
    table.tag("closed", third)
    with pytest.raises(Stopped):
        expire(settings, table, store=Stopping(warehouse(settings), at=1))
    table.tag("for a day", third, max_age=timedelta(days=1))
    table.untag("closed")
    done = expire(settings, table)
    assert (done.resumed, done.refs_removed, done.snapshots_kept) == (True, ("for a day",), 1)
    assert table.tags() == {}
    assert of_table(settings, table) == named(loaded(settings, table))


def _race(  # noqa: PLR0913  (what differs)
    settings: Settings,
    table: LakeTable,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    swap: tuple[type, Callable[..., object]],
    *,
    stopped: bool,
) -> None:
    old = ids_of(table)
    catalog, honest = swap
    method, calls = honest.__name__, 0

    def late(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            table.tag("closed", old[1])
            return honest(*arguments)
        if stopped and calls == 3:
            # After the tag's own swap and the removal: the process dies before it has looked.
            raise Stopped
        return honest(*arguments)

    monkeypatch.setattr(catalog, method, late)
    if stopped:
        with pytest.raises(Stopped):
            expire(settings, table)
        monkeypatch.setattr(catalog, method, honest)
        assert table.tags() == {}
    done = expire(settings, table)
    assert table.tags() == {"closed": old[1]}
    assert sorted(table.scan(columns=["order_id"], at="closed").read_all()["order_id"].to_pylist()) == [1, 2]
    assert done.resumed is stopped
    # The list of the snapshot that it did not come to commit is an orphan.
    extra = of_table(settings, table) - named(loaded(settings, table))
    assert (list(each_kind(extra)), named(loaded(settings, table)) - of_table(settings, table)) == (
        ["list"] * stopped,
        set(),
    )
    with pytest.raises(SnapshotMissing):
        table.scan(at=old[0])
    # Numbers of snapshots go on rising, so that deletes keep hitting what was there before them.
    numbers = [snapshot.sequence_number for snapshot in table.snapshots()]
    table.append(rows([5]), run_key="5")
    assert table.snapshots()[0].sequence_number == max(numbers) + 1 == 6
    assert table.append(rows([3]), run_key="3").already_done
