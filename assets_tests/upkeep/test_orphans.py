"""A file that nothing names goes at its second sighting, a safe age after the first, and not a moment earlier."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.errors import SettingsError, SourceUnreachable, TableMissing
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ledger import ORPHANS, sightings
from lakehouse.storage import Deleted, FolderStore, Store
from lakehouse.tables import Layer, Table, TableName
from lakehouse.upkeep.orphans import OrphanSweep, sweep_orphans

Rows = Callable[..., pa.Table]
SAFE = timedelta(hours=72)
HOUR = timedelta(hours=1)


@pytest.fixture
def data(table: LakeTable, store: FolderStore) -> Path:
    """The folder of the table's data files."""
    return Path(store.root) / table.name.layer.value / table.name.table / "data"


@pytest.fixture
def sweep(lake: Lake, store: FolderStore, orders: Table) -> Callable[..., OrphanSweep]:
    """sweep(days=3): as if so many days from now."""
    runs, began = iter(range(1000)), datetime.now(UTC)

    def at(*, days: float, name: TableName | None = None, store: Store = store, **more: object) -> OrphanSweep:
        now = began + timedelta(days=days)
        words = {"safe_age": SAFE, "now": now, "run_id": f"run-{next(runs)}", **more}
        return sweep_orphans(lake, name or orders.name, store, **words)  # type: ignore[arg-type]

    return at


def files_of(store: Store, prefix: str = "silver/orders/") -> set[str]:
    return {seen.path for seen in store.walk(prefix)}


def entries(lake: Lake) -> list[dict[str, object]]:
    found = lake.table(ORPHANS.name).scan().read_all().to_pylist()
    return sorted(found, key=lambda row: (row["seen_at"], row["path"]))


def test_a_leftover_goes_at_the_second_sighting(
    lake: Lake, data: Path, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    before = files_of(store)
    (data / "junk.parquet").write_bytes(b"12345")
    assert sweep(days=4) == OrphanSweep(TableName(Layer.SILVER, "orders"), found=1, bytes_found=5, sighted_new=1)
    again = sweep(days=6.9)
    assert (again.found, again.sighted_new, again.due, again.removed) == (1, 0, 0, 0)
    last = sweep(days=7.1)
    assert (last.found, last.due, last.removed, last.bytes_removed, last.left) == (1, 1, 1, 5, ())
    assert files_of(store) == before
    assert sweep(days=11) == OrphanSweep(TableName(Layer.SILVER, "orders"))
    seen, gone = entries(lake)
    assert {seen["path"], gone["path"]} == {f"file://{data}/junk.parquet"}
    assert seen["removed_at"] is None
    assert gone["removed_at"] == gone["seen_at"] == seen["seen_at"] + timedelta(days=3.1)  # type: ignore[operator]
    assert (seen["table_name"], seen["bytes"], seen["run_id"], gone["run_id"]) == ("silver.orders", 5, "run-0", "run-2")


def test_young_files_are_not_even_sighted(lake: Lake, data: Path, sweep: Callable[..., OrphanSweep]) -> None:
    (data / "junk.parquet").write_bytes(b"x")
    assert sweep(days=0) == sweep(days=2.9) == OrphanSweep(TableName(Layer.SILVER, "orders"))
    assert not lake.exists(ORPHANS.name)


def test_an_old_file_that_was_never_sighted_stays(data: Path, sweep: Callable[..., OrphanSweep]) -> None:
    """A storage whose clock is behind dates what was written a moment ago to last year."""
    (data / "junk.parquet").write_bytes(b"x")
    os.utime(data / "junk.parquet", (1, 1))
    assert (sweep(days=0).sighted_new, sweep(days=2.9).removed) == (1, 0)
    assert sweep(days=3.1).removed == 1


def test_a_storage_whose_clock_is_ahead_loses_nothing_early(data: Path, sweep: Callable[..., OrphanSweep]) -> None:
    (data / "junk.parquet").write_bytes(b"x")
    ahead = (datetime.now(UTC) + timedelta(days=365)).timestamp()
    os.utime(data / "junk.parquet", (ahead, ahead))
    assert [sweep(days=days).found for days in (0, 10, 300, 367)] == [0, 0, 0, 0]
    assert (sweep(days=369).sighted_new, sweep(days=373).removed) == (1, 1)


def test_our_own_clock_that_leaps_forward_once_removes_nothing(data: Path, sweep: Callable[..., OrphanSweep]) -> None:
    (data / "junk.parquet").write_bytes(b"x")
    assert sweep(days=1000).sighted_new == 1
    assert (sweep(days=4).removed, sweep(days=8).removed) == (0, 0)
    assert (data / "junk.parquet").exists()


@pytest.mark.parametrize("change", ["content", "size", "time"])
def test_a_file_that_was_replaced_between_the_sightings_begins_anew(
    data: Path, sweep: Callable[..., OrphanSweep], change: str
) -> None:
    """Spark on EMR has used paths twice: what is there now is not what was sighted."""
    file = data / "junk.parquet"
    file.write_bytes(b"one")
    first = file.stat()
    assert sweep(days=4).sighted_new == 1
    file.write_bytes(b"longer" if change == "size" else b"two")
    if change == "size":
        os.utime(file, ns=(first.st_mtime_ns, first.st_mtime_ns))
    second = sweep(days=8)
    assert (second.removed, second.sighted_new) == (0, 1)
    assert file.exists()
    assert sweep(days=12).removed == 1


def test_a_dry_run_writes_nothing(
    lake: Lake, data: Path, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    (data / "a.parquet").write_bytes(b"x")
    everything = files_of(store, "")
    first = sweep(days=4, dry_run=True)
    assert (first.found, first.sighted_new, first.due, first.removed, first.dry_run) == (1, 1, 0, 0, True)
    assert not lake.exists(ORPHANS.name)
    assert files_of(store, "") == everything
    sweep(days=4)
    (data / "b.parquet").write_bytes(b"x")
    everything = files_of(store, "")
    second = sweep(days=8, dry_run=True)
    assert (second.found, second.sighted_new, second.due, second.removed) == (2, 1, 1, 0)
    assert files_of(store, "") == everything


class Refusing(FolderStore):
    """A storage that does not delete some files, or breaks down at a batch."""

    def __init__(self, root: str, refused: str, *, breaks: int = 10**9) -> None:
        super().__init__(Path(root))
        self._refused, self._breaks = refused, breaks

    def delete(self, paths: Iterable[str]) -> Deleted:
        self._breaks -= 1
        if self._breaks < 0:
            raise SourceUnreachable("the storage is gone", remedy="Wait.")
        asked = list(paths)
        kept = tuple(path for path in asked if self._refused in path)
        done = super().delete(path for path in asked if path not in kept)
        return replace(done, failed=(*done.failed, *kept))


def test_what_the_storage_does_not_delete_is_told_and_tried_again(
    data: Path, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    for name in ("a", "b", "held"):
        (data / f"{name}.parquet").write_bytes(b"123")
    sweep(days=4)
    done = sweep(days=8, store=Refusing(store.root, "held"))
    assert (done.due, done.removed, done.bytes_removed, done.left) == (3, 2, 6, (f"file://{data}/held.parquet",))
    again = sweep(days=8.1)
    assert (again.due, again.removed, again.left) == (1, 1, ())


def test_what_was_removed_before_the_storage_failed_is_told(
    lake: Lake, data: Path, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    for number in range(1500):
        (data / f"{number}.parquet").touch()
    assert sweep(days=4).sighted_new == 1500
    told: list[OrphanSweep] = []
    with pytest.raises(SourceUnreachable):
        sweep(days=8, store=Refusing(store.root, "none", breaks=1), so_far=told.append)
    assert [(done.due, done.removed) for done in told] == [(1500, 1000)]
    removed = {row["path"] for row in entries(lake) if row["removed_at"] is not None}
    assert len(removed) == 1000
    assert not any(Path(str(path).removeprefix("file://")).exists() for path in removed)
    assert sweep(days=8).removed == 500


def test_sightings_are_of_one_table(
    lake: Lake, flat: Table, data: Path, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    lake.create(flat)
    (data / "a.parquet").write_bytes(b"x")
    (Path(store.root) / "gold/flat/b.parquet").write_bytes(b"x")
    sweep(days=4)
    now = datetime.now(UTC)
    assert [found.path for found in sightings(lake, TableName(Layer.SILVER, "orders"), until=now)] == [
        f"file://{data}/a.parquet"
    ]
    assert list(sightings(lake, flat.name, until=now)) == []
    other = sweep(days=8, name=flat.name)
    assert (other.sighted_new, other.removed) == (1, 0)
    assert sweep(days=8).removed == 1


def test_the_table_of_sightings_is_swept_like_any_other(
    lake: Lake, data: Path, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    (data / "a.parquet").write_bytes(b"x")
    sweep(days=4)
    (Path(store.root) / "ops/orphans/data/junk.parquet").write_bytes(b"x")
    assert sweep(days=4, name=ORPHANS.name).sighted_new == 1
    done = sweep(days=8, name=ORPHANS.name)
    assert (done.removed, done.left) == (1, ())
    assert len(entries(lake)) == 3


@pytest.mark.parametrize("age", [timedelta(0), timedelta(minutes=59), timedelta(hours=-80)])
def test_a_safe_age_below_an_hour_is_refused(data: Path, sweep: Callable[..., OrphanSweep], age: timedelta) -> None:
    (data / "junk.parquet").write_bytes(b"x")
    with pytest.raises(SettingsError, match=r"silver\.orders may not be removed so early") as caught:
        sweep(days=100, safe_age=age)
    assert (caught.value.expected, caught.value.found) == ("at least 1:00:00", str(age))
    assert sweep(days=100, safe_age=HOUR).sighted_new == 1


def test_a_table_that_is_not_there_is_told(sweep: Callable[..., OrphanSweep]) -> None:
    with pytest.raises(TableMissing):
        sweep(days=4)


def test_what_a_dropped_table_left_goes_with_the_sightings_of_its_successor(
    lake: Lake, table: LakeTable, orders: Table, store: FolderStore, sweep: Callable[..., OrphanSweep]
) -> None:
    left, rows = files_of(store), table.scan().read_all()
    lake.drop(table.name)
    anew = lake.create(orders)
    anew.append(rows, run_key="r")
    assert sweep(days=4).sighted_new == len(left)
    assert sweep(days=8).removed == len(left)
    assert not files_of(store) & left
    assert anew.scan().read_all().num_rows == rows.num_rows
