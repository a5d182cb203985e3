"""One load of one bronze table: read from the last position, split, quarantine, publish.

Rejected records are committed first, then the good rows, together with the position reached and all counts, in one
snapshot; then the rejected ones are open to be replayed. Whatever dies in between is done again by the next load: it
starts from the same position, and finds the rejected records by their ids. What a row must be is `door.py`'s business;
how rows wait for their audit, `staged.py`; what becomes of rejected ones, `states.py`; what was loaded so far is told
by `ledger/`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from lakehouse.errors import AuditFailed, LoadRejected
from lakehouse.iceberg import Commit, Lake
from lakehouse.ingest.door import Door
from lakehouse.ingest.drift import Difference, look
from lakehouse.ingest.interval import Interval, Told, run_key
from lakehouse.ingest.reading import Reading
from lakehouse.ingest.rejects import Broken, collecting
from lakehouse.ingest.retries import with_retries
from lakehouse.ingest.seen import comparing
from lakehouse.ingest.staged import Staged, still_fresh, sweep, write_judged
from lakehouse.ingest.states import settle
from lakehouse.ledger import record_loads
from lakehouse.quality.finding import Finding
from lakehouse.settings import Settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.storage import UNWRITABLE, no_room
from lakehouse.tables import Position, Table, Window
from lakehouse.tables.window import spans
from lakehouse.telemetry import bound

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LoadResult:
    """What a load did. rows_read = rows_published + rows_quarantined + rows_seen, each counted by somebody else.

    Read: by the source, where it can; published: by the manifests of the commit; quarantined: by the quarantine's;
    seen: by a join with what bronze or the quarantine had already. `retries` counts those of its source too, `lag` is
    how far a transaction in flight held the position back, `reread` what was read again.

    `commit` is None when the source had nothing new. `windows` are the days, by the table's window column, of the rows
    published. `position` is where the next load begins. `broken` counts rejected records by rule, `findings` are the
    gate's. With `held`, a blocking rule failed: the commit and the rows "published" are those on the branch.
    """

    commit: Commit | None
    rows_read: int
    rows_published: int
    rows_quarantined: int
    rows_seen: int
    windows: tuple[Window, ...]
    seconds: float
    position: Position | None
    run_key: str
    broken: Mapping[str, Broken] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    held: AuditFailed | None = None
    drift: tuple[Difference, ...] | None = None
    """Where the source is not what the contract says; None where nothing was read, and so nothing compared."""
    bytes_read: int | None = None
    retries: int = 0
    lag: timedelta | None = None
    reread: str | None = None
    rows_deleted: int = 0
    """Rows added beside those read: each says that the source no longer has a key."""
    more: bool = False
    """The source has more: this was a part of its first load."""

    @property
    def difference(self) -> int:
        """Rows read that are accounted for nowhere: 0, or the balance is out of true."""
        return self.rows_read - self.rows_published - self.rows_quarantined - self.rows_seen

    def then(self, later: LoadResult) -> LoadResult:
        """This and the part that came after it as one."""
        broken = {**self.broken, **later.broken}
        for rule in self.broken.keys() & later.broken.keys():
            first, second = self.broken[rule], later.broken[rule]
            broken[rule] = Broken(first.rows + second.rows, [*first.examples, *second.examples][:10])
        sizes = [size for size in (self.bytes_read, later.bytes_read) if size is not None]
        return replace(
            later,
            rows_read=self.rows_read + later.rows_read,
            rows_published=self.rows_published + later.rows_published,
            rows_quarantined=self.rows_quarantined + later.rows_quarantined,
            rows_seen=self.rows_seen + later.rows_seen,
            rows_deleted=self.rows_deleted + later.rows_deleted,
            windows=spans(day for window in (*self.windows, *later.windows) for day in window.days),
            seconds=self.seconds + later.seconds,
            commit=later.commit or self.commit,
            broken=broken,
            bytes_read=sum(sizes) if sizes else None,
            retries=self.retries + later.retries,
            reread=self.reread,
        )


def load(  # noqa: PLR0913  (all but three are by name and rarely given)
    settings: Settings,
    lake: Lake,
    table: Table,
    *,
    run_id: str,
    on_progress: Told | None = None,
    s3: S3Client | None = None,
    gate: Gate | None = None,
    window: Window | None = None,
    full: bool = False,
) -> LoadResult:
    """Load what is new. Safe to call again after any failure; a load beside it makes one of the two Fenced.

    `on_progress` is told rows read so far and of what; `s3` reads files on S3 (default: made from the settings). The
    `gate` judges warnings and rules of the whole table; without one nobody does. With a blocking rule of the whole
    table, rows are staged on the branch `load/<run key>` and published when it holds. With a `window` these days are
    read again, `full` everything, and what bronze has already is not added. What may pass by itself is tried again
    (`retries.py`). Raises SourceError, ContractError, LoadRejected (too many rows broke the contract, nothing is
    published, the rejected are held; or rows are missing), AuditFailed (a blocking rule failed, main is unchanged),
    SchemaMismatch, CommitError, CatalogError, StateError.
    """
    result = attempt_load(
        settings, lake, table, run_id=run_id, on_progress=on_progress, s3=s3, gate=gate, window=window, full=full
    )
    if result.held is not None:
        raise result.held
    if result.difference:
        raise LoadRejected(
            f"what was read for {table.name} is not what was published, quarantined and seen before",
            expected=f"{result.rows_read:,} rows",
            found=f"{result.rows_published:,} + {result.rows_quarantined:,} + {result.rows_seen:,}",
            remedy=f"Take it back with `lakehouse restore {table.name}`, load again, and report this.",
        )
    return result


def attempt_load(  # noqa: PLR0913  (as `load`)
    settings: Settings,
    lake: Lake,
    table: Table,
    *,
    run_id: str,
    on_progress: Told | None = None,
    s3: S3Client | None = None,
    gate: Gate | None = None,
    window: Window | None = None,
    full: bool = False,
) -> LoadResult:
    """As `load`, but a blocking rule that failed (`held`) and a balance out of true (`difference`) are not raised.

    Both are told with all that was counted and found. A source that comes in parts is loaded to its end, each part in
    a commit of its own.
    """

    def attempt(tried: int, *, full: bool) -> LoadResult:
        source = open_source(settings, table, s3=s3)
        # After the source was opened: see `blocks.next_part`.
        began_at = datetime.now(UTC)
        target = lake.create(table)
        # What a load before this one was killed at.
        settle(settings, lake, table, run_id=run_id)
        positions = target.positions()
        reading = Reading(table, positions, began_at, run_id, tried=tried, window=window, full=full)
        with _room(settings.state):
            return _attempt(settings, lake, reading, source, on_progress=on_progress, gate=gate)

    def part(*, full: bool) -> LoadResult:
        return with_retries(partial(attempt, full=full), table.name, settings.loads.retry_seconds)

    result = part(full=full)
    while result.more and result.held is None:
        # The parts to come follow from the position that the first has reached.
        result = result.then(part(full=False))
    return result


def _attempt(  # noqa: PLR0913  (as `load`)
    settings: Settings,
    lake: Lake,
    reading: Reading,
    source: SourceReader,
    *,
    on_progress: Told | None,
    gate: Gate | None,
) -> LoadResult:
    started, table = time.monotonic(), reading.table
    extract = reading.extract(source)
    if extract is None:
        _log.info("nothing new", table=str(table.name))
        # A load before this one may have died before it was told.
        record_loads(lake, table.name)
        findings, held = still_fresh(table, gate)
        key, seconds = run_key(table, reading.since, reading.since), time.monotonic() - started
        return LoadResult(
            None, 0, 0, 0, 0, (), seconds, reading.since, key, findings=findings, held=held, reread=reading.reread
        )
    with closing(extract), ExitStack() as stack:
        door = stack.enter_context(Door(table, look(source, table)))
        rejects = stack.enter_context(collecting(settings, reading.since, reading.run_id))
        compare = extract.compare or reading.compare
        seen = stack.enter_context(comparing(settings, table, lake.table(table.name), compare))
        interval = Interval(lake, table, reading, extract, door, rejects, on_progress, seen)
        with bound(run_key=interval.run_key):
            staged = write_judged(interval, gate)
            result = _result(interval, staged, time.monotonic() - started)
            if reading.reread is None:
                sweep(interval.target, keep=staged.commit.branch if staged.held else None)
            if staged.held is None:
                settle(settings, lake, table, run_id=reading.run_id)
                record_loads(lake, table.name)
                _log.info("loaded", table=str(table.name), read=result.rows_read, published=result.rows_published)
    return result


def _result(interval: Interval, staged: Staged, seconds: float) -> LoadResult:
    intake, reading = interval.intake, interval.reading
    return LoadResult(
        commit=staged.commit,
        rows_read=intake.rows_read,
        rows_published=intake.rows_published,
        rows_quarantined=intake.rows_quarantined,
        rows_seen=intake.rows_seen,
        windows=intake.windows,
        seconds=seconds,
        position=reading.since if staged.held or reading.window else interval.extract.reached,
        run_key=interval.run_key,
        broken=intake.broken,
        findings=staged.findings,
        held=staged.held,
        bytes_read=interval.extract.expected_bytes,
        retries=intake.retries,
        lag=interval.extract.held_back,
        reread=reading.reread,
        rows_deleted=intake.rows_deleted,
        more=interval.extract.more,
        drift=interval.door.drift.differences,
    )


@contextmanager
def _room(state: Path) -> Iterator[None]:
    """Rejected and compared rows wait in the state folder, whose disk may be full."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise no_room(error, state) from error
