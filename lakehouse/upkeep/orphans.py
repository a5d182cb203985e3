"""Files that nothing names go after two sightings: when, and why so late. How they are found is `iceberg/orphans/`.

A file of a writer that has not committed looks like garbage, and nothing in the storage tells the two apart. So a file
is sighted once it is `safe_age` old by the storage's clock, and removed by a sweep that finds it `safe_age` later by
our own, unchanged and still not named. A writer must commit what it has written within `safe_age`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.iceberg import Lake, Neighbours, Orphan, Sweep
from lakehouse.ledger import OrphanLog, OrphanRecord, Sighting, sightings
from lakehouse.storage import Store
from lakehouse.storage.digests import Digests
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

FLOOR = timedelta(hours=1)
"""No file younger than this is ever removed."""
_TOGETHER = 1000
"""Files that are removed between two looks at the newest metadata."""


@dataclass(frozen=True)
class OrphanSweep:
    """What a sweep found in a table's folders; sizes in bytes, `left` are absolute paths.

    `found` files that nothing names and that are old enough to be told. `sighted_new`: seen for the first time (or
    changed since); `due`: sighted long enough ago; of these `removed`, `named` by a commit meanwhile, or `left` by the
    storage in spite of us: the next sweep tries again. `doubtful` files are kept for good: metadata names a file of
    that name in a folder that is spelled otherwise. A dry run counts what it would do, and `removed` is 0.
    """

    table: TableName
    found: int = 0
    bytes_found: int = 0
    sighted_new: int = 0
    due: int = 0
    removed: int = 0
    bytes_removed: int = 0
    named: int = 0
    left: tuple[str, ...] = ()
    doubtful: int = 0
    dry_run: bool = False


def sweep_orphans(  # noqa: PLR0913  (each is named)
    lake: Lake,
    name: TableName,
    store: Store,
    *,
    safe_age: timedelta,
    now: datetime,
    run_id: str,
    dry_run: bool = False,
    neighbours: Neighbours | None = None,
    so_far: Callable[[OrphanSweep], None] | None = None,
) -> OrphanSweep:
    """Look for files of a table that nothing names, remember them in `ops.orphans`, remove those that are due.

    A sweep that fails on its way tells `so_far` what it did until then. `store` holds the warehouse, `neighbours` as in
    `LakeTable.sweep`. Raises SettingsError for a `safe_age` below an hour, TableMissing, CommitError when the folders
    are not this table's alone, StateError, CatalogError, SourceUnreachable and SourceRefused.
    """
    if safe_age < FLOOR:
        raise SettingsError(
            f"orphaned files of {name} may not be removed so early: they may be a writer's that has not committed",
            expected=f"at least {FLOOR}",
            found=str(safe_age),
            remedy="Set a longer safe age (upkeep.orphan_age_hours); it must exceed the longest run of any writer.",
        )
    sweep = lake.table(name).sweep(store, neighbours)
    memory = _Memory(sightings(lake, name, until=now - safe_age))
    with OrphanLog() as log:
        work = _Work(sweep, memory, log, now, run_id, dry_run=dry_run)
        record = partial(log.record, lake, run_key=f"orphans-{name}-{run_id}-{now.isoformat()}")
        try:
            work.through(sweep.find(older_than=safe_age, now=now))
        except LakehouseError:
            if so_far is not None:
                so_far(work.done())
            # What was removed before the storage or the catalog failed is told, too.
            if not dry_run:
                record()
            raise
        if not dry_run:
            record()
    done = work.done()
    _log.info("orphans swept", **{key: value for key, value in asdict(done).items() if key not in {"table", "left"}})
    return done


class _Memory:
    """What earlier sweeps have sighted: each file as it was then, by path, size and version."""

    def __init__(self, seen: Iterable[Sighting]) -> None:
        self._lately, self._long_ago = Digests(), Digests()
        for path, size, version, long_ago in seen:
            (self._long_ago if long_ago else self._lately).add(_as_it_is(path, size, version))

    def due(self, orphan: Orphan) -> bool:
        """Whether it was sighted long ago."""
        return _as_it_is(orphan.path, orphan.size, orphan.version) in self._long_ago

    def waits(self, orphan: Orphan) -> bool:
        """Whether it was sighted, and is not due."""
        return _as_it_is(orphan.path, orphan.size, orphan.version) in self._lately


def _as_it_is(path: str, size: int, version: int | str) -> str:
    return f"{version} {size} {path}"


class _Work:
    """One sweep: files that are due are removed a batch at a time, the others are written down."""

    def __init__(  # noqa: PLR0913  (what a sweep is made of)
        self, sweep: Sweep, memory: _Memory, log: OrphanLog, now: datetime, run_id: str, *, dry_run: bool
    ) -> None:
        self._sweep, self._memory, self._log = sweep, memory, log
        self._now, self._run_id, self._dry_run = now, run_id, dry_run
        self._counts: Counter[str] = Counter()
        self._left: list[str] = []

    def through(self, orphans: Iterator[Orphan]) -> None:
        due: list[Orphan] = []
        for orphan in orphans:
            self._counts["found"] += 1
            self._counts["bytes_found"] += orphan.size
            if self._memory.due(orphan):
                due.append(orphan)
                if len(due) == _TOGETHER:
                    self._remove(due)
                    due = []
            elif not self._memory.waits(orphan):
                self._counts["sighted_new"] += 1
                self._note(orphan)
        if due:
            self._remove(due)

    def done(self) -> OrphanSweep:
        return OrphanSweep(
            self._sweep.name,
            **self._counts,
            left=tuple(self._left),
            doubtful=self._sweep.doubtful,
            dry_run=self._dry_run,
        )

    def _remove(self, due: list[Orphan]) -> None:
        self._counts["due"] += len(due)
        if self._dry_run:
            return
        removal = self._sweep.remove(due)
        self._counts.update(
            removed=len(removal.gone), bytes_removed=sum(gone.size for gone in removal.gone), named=len(removal.named)
        )
        self._left += (orphan.path for orphan in removal.left)
        for orphan in removal.gone:
            self._note(orphan, removed_at=self._now)

    def _note(self, orphan: Orphan, *, removed_at: datetime | None = None) -> None:
        self._log.add(
            OrphanRecord(
                table=self._sweep.name,
                path=orphan.path,
                bytes=orphan.size,
                modified_at=orphan.modified,
                version=str(orphan.version),
                seen_at=self._now,
                removed_at=removed_at,
                run_id=self._run_id,
            )
        )
