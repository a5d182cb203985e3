"""What the tests of expiry share: the files that are there, those that a table names, and ways to be stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import SourceUnreachable
from lakehouse.iceberg import Expiry, LakeTable
from lakehouse.settings import Settings
from lakehouse.storage import Store
from lakehouse.storage.open import open_store
from lakehouse.storage.store import Deleted

DAY = timedelta(days=1)


def later(days: float = 8) -> datetime:
    """A time at which all that was written by now is older than a contract keeps snapshots by default: seven days."""
    return datetime.now(UTC) + days * DAY


def warehouse(settings: Settings) -> Store:
    return open_store(settings, settings.warehouse)


def expire(settings: Settings, table: LakeTable, days: float = 8, **given: Any) -> Expiry:  # noqa: ANN401  (passed on)
    """Expire as of some days from now."""
    return table.expire_snapshots(given.pop("store", None) or warehouse(settings), now=later(days), **given)


def there(settings: Settings) -> set[str]:
    """Every file in the warehouse but the metadata files, whose log is PyIceberg's to clean."""
    store = warehouse(settings)
    return {f"{store.root}/{file.path}" for file in store.walk() if not file.path.endswith(".metadata.json")}


def named(table: IcebergTable) -> set[str]:
    """Every file that any snapshot of a table names, read by stock PyIceberg."""
    found = set[str]()
    for snapshot in table.metadata.snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            found.add(manifest.manifest_path)
            found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    statistics = (*table.metadata.statistics, *table.metadata.partition_statistics)
    found |= {file.statistics_path for file in statistics}
    return {path.removeprefix("file://") for path in found}


def ids_of(table: LakeTable) -> list[int]:
    """Main's snapshots, oldest first."""
    return [snapshot.id for snapshot in reversed(table.snapshots())]


class Stopped(BaseException):
    """The process ends here."""


@dataclass
class Stopping:
    """A store that ends the process, or refuses, at some deletion; `after`: once that is done."""

    store: Store
    at: int
    after: bool = False
    refuses: bool = False
    seen: list[list[str]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever a store has)
        return getattr(self.store, name)

    def delete(self, paths: Iterable[str]) -> Deleted:
        wanted = list(paths)
        self.seen.append(wanted)
        now = len(self.seen) == self.at
        if now and self.refuses:
            raise SourceUnreachable("the store does not answer", remedy="Wait.")
        if now and not self.after:
            raise Stopped
        deleted = self.store.delete(wanted)
        if now:
            raise Stopped
        return deleted


def each_kind(paths: Iterable[str]) -> Iterator[str]:
    """What kind of file each path is."""
    for path in paths:
        name = path.rpartition("/")[2]
        yield "data" if name.endswith(".parquet") else "list" if name.startswith("snap-") else "manifest"
