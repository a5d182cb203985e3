"""The files in a table's folders that nothing names, found as a stream and removed a batch at a time.

Which files are named is `reachable.py`, where a table's files lie `places.py`. How long a file must have been nobody's
is the caller's to decide (`upkeep/orphans.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError
from lakehouse.iceberg.expiry.retention import GC_ENABLED, Retention
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.orphans.neighbours import Neighbours
from lakehouse.iceberg.orphans.places import keys_in, places_of, refuse_shared
from lakehouse.iceberg.orphans.reachable import Reachable
from lakehouse.storage import Store
from lakehouse.storage.paths import normalise
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Orphan:
    """A file that nothing names. `path` is absolute, `key` is its path in the store; `size` in bytes.

    `version` changes whenever the content does.
    """

    path: str
    key: str
    size: int
    modified: datetime
    version: int | str


@dataclass(frozen=True)
class Removal:
    """What became of a batch: `gone`, `named` by a commit meanwhile and kept, or `left` by the store in spite of us."""

    gone: tuple[Orphan, ...]
    named: tuple[Orphan, ...]
    left: tuple[Orphan, ...]


class Sweep:
    """One look at a table's folders, against its metadata of now.

    Raises CommitError when the files are not this table's alone, StateError when they are not in the store,
    CatalogError when not all that is named can be read.
    """

    def __init__(
        self, name: TableName, load: Callable[[], IcebergTable], store: Store, neighbours: Neighbours | None = None
    ) -> None:
        self.name, self._store, self._top = name, store, normalise(store.root)
        self.doubtful = 0
        self._named = Reachable(name, load)
        table = self._named.table
        if not Retention.of(name, table.metadata).collects:
            raise CommitError(
                f"the files of {name} may belong to somebody else too, so none of them is swept",
                found=f"{GC_ENABLED}=false in its properties",
                remedy="Remove the property once they are this table's alone.",
            )
        self._prefixes = keys_in(self._top, name, places_of(table.metadata))
        with catalog_errors(f"looking for tables that share a folder with {name}"):
            refuse_shared(table, name, (neighbours or Neighbours()).of(table))

    def find(self, *, older_than: timedelta, now: datetime) -> Iterator[Orphan]:
        """The files that nothing names and that were written at least so long before `now` (UTC), in no order.

        A file that is named in a folder of another spelling is not among them, but counted in `doubtful`: it may be
        the same folder, by a link or another address. Raises SourceUnreachable, SourceRefused.
        """
        until = now - older_than
        for prefix in self._prefixes:
            for seen in self._store.walk(prefix):
                if seen.modified <= until:
                    path = f"{self._top}/{seen.path}"
                    if not self._named.names(path) and not self._doubt(path):
                        yield Orphan(path, seen.path, seen.size, seen.modified, seen.version)

    def remove(self, batch: Sequence[Orphan]) -> Removal:
        """Delete files for good, but those that have been named since they were found.

        Raises CatalogError, CommitConflict, SourceUnreachable, SourceRefused.
        """
        self._named.renew()
        going, named = list[Orphan](), list[Orphan]()
        for orphan in batch:
            (named if self._named.names(orphan.path) else going).append(orphan)
        deleted = self._store.delete(orphan.key for orphan in going)
        left = set(deleted.failed)
        if left:
            _log.warning("files not deleted", table=str(self.name), count=len(left), answer=deleted.reason)
        return Removal(
            gone=tuple(orphan for orphan in going if orphan.key not in left),
            named=tuple(named),
            left=tuple(orphan for orphan in going if orphan.key in left),
        )

    def _doubt(self, path: str) -> bool:
        if not self._named.names_alike(path):
            return False
        if not self.doubtful:
            _log.warning("a file of this name is named elsewhere: kept", table=str(self.name), path=path)
        self.doubtful += 1
        return True
