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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from lakehouse.errors import AuditFailed, LoadRejected
from lakehouse.iceberg import Commit, Lake
from lakehouse.ingest.door import Door
from lakehouse.ingest.interval import Interval, Told, run_key
from lakehouse.ingest.known import known_content
from lakehouse.ingest.reading import Reading
from lakehouse.ingest.rejects import Broken, collecting
from lakehouse.ingest.retries import with_retries
from lakehouse.ingest.staged import Staged, still_fresh, sweep, write_judged
from lakehouse.ingest.states import settle
from lakehouse.ledger import record_loads
from lakehouse.quality.finding import Finding
from lakehouse.settings import Settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.storage import UNWRITABLE, no_room
from lakehouse.tables import Position, Table, Window
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
    bytes_read: int | None = None
    retries: int = 0
    lag: timedelta | None = None
    reread: str | None = None

    @property
    def difference(self) -> int:
        """Rows read that are accounted for nowhere: 0, or the balance is out of true."""
        return self.rows_read - self.rows_published - self.rows_quarantined - self.rows_seen


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

    Both are told with all that was counted and found.
    """

    def attempt(tried: int) -> LoadResult:
        source, began_at = open_source(settings, table, s3=s3), datetime.now(UTC)
        target = lake.create(table)
        # What a load before this one was killed at.
        settle(settings, lake, table, run_id=run_id)
        positions = target.positions()
        reading = Reading(table, positions, began_at, run_id, tried=tried, window=window, full=full)
        with _room(settings.state):
            return _attempt(settings, lake, reading, source, on_progress=on_progress, gate=gate)

    return with_retries(attempt, table.name, settings.loads.retry_seconds)


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
    with ExitStack() as stack:
        door, known = stack.enter_context(Door(table)), None
        rejects = stack.enter_context(collecting(settings, reading.since, reading.run_id))
        if reading.compared is not None:
            stored = lake.table(table.name)
            known = stack.enter_context(known_content(settings, table, stored, where=reading.compared or None))
        interval = Interval(lake, table, reading, extract, door, rejects, known, on_progress)
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
