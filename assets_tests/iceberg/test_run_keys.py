"""Run keys after expiry: what is remembered, for how long, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError, CommitError, RunKeyTooOld, StateError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.run_keys import MOST, RUN_KEYS, remember, seen
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Expire = Callable[..., None]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(lake: Lake, flat: Table) -> LakeTable:
    return lake.create(flat)


@pytest.fixture
def stock(table: LakeTable, settings: Settings) -> Iterator[Callable[[], IcebergTable]]:
    """stock(): the table as plain PyIceberg opens it."""
    catalog = SqlCatalog(settings.catalog.name, uri=settings.catalog.uri.get_secret_value())
    yield lambda: catalog.load_table(table.name.key)
    catalog.engine.dispose()


@pytest.fixture
def expire(table: LakeTable, stock: Callable[[], IcebergTable]) -> Expire:
    """expire(keys, by_us=True, most=...): remove the snapshots of some run keys, with or without the memory."""

    def run(keys: Collection[str], *, by_us: bool = True, most: int = MOST) -> None:
        gone = [snapshot.id for snapshot in table.snapshots() if snapshot.run_key in keys]
        iceberg = stock()
        with iceberg.transaction() as transaction:
            transaction._autocommit = False  # noqa: SLF001  (stays open for both)
            if by_us:
                transaction.set_properties(remember(iceberg.metadata, gone, now=datetime.now(UTC), most=most))
            from pyiceberg.table.update.snapshot import ExpireSnapshots

            ExpireSnapshots(transaction).by_ids(gone).commit()

    return run


def write(table: LakeTable, rows: Rows, *keys: str) -> None:
    for key in keys:
        table.append(rows([int(key)]), run_key=key)


def test_an_expired_key_is_remembered_and_writes_nothing(
    table: LakeTable, rows: Rows, ids: Ids, expire: Expire
) -> None:
    write(table, rows, "1", "2", "3")
    expire(["1", "2"])
    assert len(table.snapshots()) == 1
    again = table.append(rows([1]), run_key="1", issued_at=LONG_AGO)
    assert (again.already_done, again.rows_added, again.operation) == (True, 0, "none")
    assert again.snapshot_id == table.snapshots()[0].id
    assert ids(table) == [1, 2, 3]


@pytest.mark.parametrize("by_us", [True, False])
def test_a_key_issued_now_always_writes(table: LakeTable, rows: Rows, ids: Ids, expire: Expire, *, by_us: bool) -> None:
    write(table, rows, "1", "2")
    expire(["1"], by_us=by_us)
    assert not table.append(rows([3]), run_key="3").already_done
    assert ids(table) == [1, 2, 3]


def test_after_an_expiry_by_another_program_an_older_key_is_refused(
    table: LakeTable, rows: Rows, ids: Ids, expire: Expire
) -> None:
    before = datetime.now(UTC)
    write(table, rows, "1", "2")
    expire(["1"], by_us=False)
    with pytest.raises(RunKeyTooOld, match="'1'"):
        table.append(rows([1]), run_key="1", issued_at=before)
    with pytest.raises(RunKeyTooOld):
        table.delete("order_id = 2", run_key="9", issued_at=before)
    # Found on the ref, however old.
    assert table.append(rows([2]), run_key="2", issued_at=LONG_AGO).already_done
    assert ids(table) == [1, 2]


def test_history_cut_by_a_program_that_keeps_parents_ids_is_cut_too(
    table: LakeTable, rows: Rows, expire: Expire, stock: Callable[[], IcebergTable]
) -> None:
    """As Java's expiry does; PyIceberg's takes them away."""
    before = datetime.now(UTC)
    write(table, rows, "1", "2")
    expire(["1"], by_us=False)
    iceberg = stock()
    last = iceberg.metadata.snapshots[-1]
    kept = last.model_copy(update={"parent_snapshot_id": 7, "sequence_number": 1})
    metadata = iceberg.metadata.model_copy(update={"snapshots": [kept]})
    with pytest.raises(RunKeyTooOld):
        seen(metadata, kept, "1", before)
    assert not seen(metadata, kept, "1", datetime.now(UTC))


def test_an_older_key_of_a_whole_history_writes(table: LakeTable, rows: Rows, ids: Ids) -> None:
    write(table, rows, "1")
    assert not table.append(rows([2]), run_key="2", issued_at=LONG_AGO).already_done
    assert ids(table) == [1, 2]


def test_an_unknown_older_key_writes_where_the_memory_covers_everything(
    table: LakeTable, rows: Rows, ids: Ids, expire: Expire
) -> None:
    write(table, rows, "1", "2")
    expire(["1"])
    assert not table.append(rows([3]), run_key="3", issued_at=LONG_AGO).already_done
    assert ids(table) == [1, 2, 3]


def test_a_key_that_fell_out_of_the_memory_is_refused(table: LakeTable, rows: Rows, expire: Expire) -> None:
    before = datetime.now(UTC)
    write(table, rows, "1", "2", "3", "4")
    expire(["1", "2", "3"], most=2)
    assert table.append(rows([3]), run_key="3", issued_at=before).already_done
    assert table.append(rows([2]), run_key="2", issued_at=before).already_done
    with pytest.raises(RunKeyTooOld):
        table.append(rows([1]), run_key="1", issued_at=before)


def test_what_another_program_removed_stays_unknown_after_our_own_expiry(
    table: LakeTable, rows: Rows, expire: Expire
) -> None:
    before = datetime.now(UTC)
    write(table, rows, "1", "2", "3")
    expire(["1"], by_us=False)
    expire(["2"])
    assert table.append(rows([2]), run_key="2", issued_at=before).already_done
    with pytest.raises(RunKeyTooOld):
        table.append(rows([1]), run_key="1", issued_at=before)


def test_a_snapshot_below_a_removed_one_is_remembered_too(
    table: LakeTable, rows: Rows, expire: Expire, stock: Callable[[], IcebergTable]
) -> None:
    """A tag keeps it, but main's history does not lead to it any more."""
    write(table, rows, "1", "2", "3")
    first = table.snapshots()[-1].id
    stock().manage_snapshots().create_tag(first, "first").commit()
    expire(["2"])
    assert table.append(rows([1]), run_key="1").already_done
    assert table.append(rows([2]), run_key="2").already_done


def test_after_a_restore_the_run_may_write_again(
    table: LakeTable, rows: Rows, ids: Ids, expire: Expire, stock: Callable[[], IcebergTable]
) -> None:
    write(table, rows, "1", "2", "3")
    first = table.snapshots()[-1].id
    stock().manage_snapshots().create_tag(first, "first").commit()
    expire(["2"])
    stock().manage_snapshots().set_current_snapshot(snapshot_id=first).commit()
    assert ids(table) == [1]
    for key in ("2", "3"):
        assert not table.append(rows([int(key)]), run_key=key).already_done
    assert ids(table) == [1, 2, 3]
    # And what was left behind is not remembered as done when this line is expired in its turn.
    assert table.append(rows([2]), run_key="2").already_done


def test_a_run_that_a_restore_took_back_may_write_again_where_earlier_history_is_expired(
    table: LakeTable, rows: Rows, ids: Ids, expire: Expire, stock: Callable[[], IcebergTable]
) -> None:
    """The memory knows its key, of another line of history: it is younger than all that is left of this one."""
    write(table, rows, "1", "2", "3", "4")
    second = table.snapshots()[2].id
    stock().manage_snapshots().create_tag(second, "second").commit()
    expire(["1"])
    expire(["3"])
    assert table.append(rows([3]), run_key="3").already_done
    stock().manage_snapshots().set_current_snapshot(snapshot_id=second).commit()
    assert ids(table) == [1, 2]
    assert not table.append(rows([3]), run_key="3").already_done
    # What lies below is remembered all the same.
    assert table.append(rows([1]), run_key="1").already_done
    assert ids(table) == [1, 2, 3]


def test_a_discarded_branch_leaves_no_key(table: LakeTable, rows: Rows, ids: Ids, expire: Expire) -> None:
    write(table, rows, "1")
    table.create_branch("run/2")
    table.append(rows([2]), run_key="2", branch="run/2")
    table.discard("run/2")
    write(table, rows, "3")
    expire(["1"])
    assert not table.append(rows([2]), run_key="2").already_done
    assert ids(table) == [1, 2, 3]


def test_every_effect_asks_the_memory(table: LakeTable, rows: Rows, expire: Expire) -> None:
    write(table, rows, "1", "2")
    expire(["1"])
    head = table.snapshots()[0].id
    assert table.overwrite(rows([5]), where=None, run_key="1").already_done
    assert table.delete("order_id > 0", run_key="1").already_done
    assert table.replace_files(["gone.parquet"], rows([]), run_key="1").already_done
    assert table.snapshots()[0].id == head


def test_a_time_of_no_zone_is_refused(table: LakeTable, rows: Rows) -> None:
    with pytest.raises(CommitError, match="time zone"):
        table.append(rows([1]), run_key="1", issued_at=datetime(2026, 1, 1))  # noqa: DTZ001  (what is refused)


def test_a_property_that_is_no_memory_is_named(
    table: LakeTable, rows: Rows, expire: Expire, stock: Callable[[], IcebergTable]
) -> None:
    write(table, rows, "1", "2")
    expire(["1"])
    with stock().transaction() as transaction:
        transaction.set_properties({RUN_KEYS: "{}"})
    with pytest.raises(CatalogError, match=RUN_KEYS):
        table.append(rows([3]), run_key="3")


# --- the version of the state ---------------------------------------------------------------------------------------


def test_a_table_of_a_later_release_is_refused(
    lake: Lake, table: LakeTable, flat: Table, rows: Rows, stock: Callable[[], IcebergTable]
) -> None:
    assert stock().properties["lakehouse.format"] == "1"
    with stock().transaction() as transaction:
        transaction.set_properties({"lakehouse.format": "2"})
    for touch in (
        lambda: table.append(rows([1]), run_key="1"),
        table.scan,
        lambda: lake.table(table.name),
        lambda: lake.create(flat),
    ):
        with pytest.raises(StateError, match=r"version 2.*up to 1.*Upgrade"):
            touch()


def test_an_attempt_on_a_table_upgraded_meanwhile_is_refused(
    table: LakeTable, rows: Rows, stock: Callable[[], IcebergTable]
) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows([1]).to_batches()
        with stock().transaction() as transaction:
            transaction.set_properties({"lakehouse.format": "2"})
        stock().append(rows([2]))

    with pytest.raises(StateError):
        table.append(pa.RecordBatchReader.from_batches(rows([1]).schema, batches()), run_key="1")
    assert len(stock().snapshots()) == 1


def test_a_table_of_no_version_is_taken_as_it_is(
    table: LakeTable, rows: Rows, stock: Callable[[], IcebergTable], ids: Ids
) -> None:
    with stock().transaction() as transaction:
        transaction.remove_properties("lakehouse.format")
    table.append(rows([1]), run_key="1")
    assert ids(table) == [1]
