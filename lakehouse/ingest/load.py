"""One load of one bronze table: read from the last position, split, quarantine, publish.

Rejected records are committed first, then the good rows, together with the position reached and all counts, in one
snapshot. Whatever dies in between is done again by the next load: it starts from the same position, and finds the
rejected records by their ids. What a row must be is `door.py`'s business; how rows wait for their audit, `staged.py`;
what was loaded so far is told by `ledger/`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from lakehouse.errors import AuditFailed
from lakehouse.iceberg import Commit, Lake
from lakehouse.ingest.door import Door
from lakehouse.ingest.interval import SCOPE, Interval, Told, run_key
from lakehouse.ingest.quarantine import Broken, collecting
from lakehouse.ingest.seen import comparing
from lakehouse.ingest.staged import Staged, still_fresh, sweep, write_judged
from lakehouse.ledger import LoadRecord, record_load
from lakehouse.quality.finding import Finding
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Position, Table, Window
from lakehouse.tables.window import spans
from lakehouse.telemetry import bound

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LoadResult:
    """What a load did. rows_read = rows_published + rows_quarantined + rows_seen (rejected before, or twice).

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
    rows_deleted: int = 0
    """Rows added beside those read: each says that the source no longer has a key."""
    more: bool = False
    """The source has more: this was a part of its first load."""

    def then(self, later: LoadResult) -> LoadResult:
        """This and the part that came after it as one."""
        broken = {**self.broken, **later.broken}
        for rule in self.broken.keys() & later.broken.keys():
            first, second = self.broken[rule], later.broken[rule]
            broken[rule] = Broken(first.rows + second.rows, [*first.examples, *second.examples][:10])
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
        )


def load(  # noqa: PLR0913  (the last three are by name and rarely given)
    settings: Settings,
    lake: Lake,
    table: Table,
    *,
    run_id: str,
    on_progress: Told | None = None,
    s3: S3Client | None = None,
    gate: Gate | None = None,
) -> LoadResult:
    """Load what is new. Safe to call again after any failure; a load beside it makes one of the two Fenced.

    `on_progress` is told rows read so far and of what; `s3` reads files on S3 (default: made from the settings). The
    `gate` judges warnings and rules of the whole table; without one nobody does. With a blocking rule of the whole
    table, rows are staged on the branch `load/<run key>` and published when it holds. Raises SourceError,
    ContractError, LoadRejected (too many rows broke the contract, nothing is published, the rejected are held),
    AuditFailed (a blocking rule failed, main is unchanged), SchemaMismatch, CommitError, CatalogError.
    """
    result = attempt_load(settings, lake, table, run_id=run_id, on_progress=on_progress, s3=s3, gate=gate)
    if result.held is not None:
        raise result.held
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
) -> LoadResult:
    """As `load`, but a failed blocking rule is told as `held` with all that was counted and found, not raised.

    A source that comes in parts is loaded to its end, each part in a commit of its own.
    """
    result = _load_part(settings, lake, table, run_id, on_progress, s3, gate)
    while result.more and result.held is None:
        result = result.then(_load_part(settings, lake, table, run_id, on_progress, s3, gate))
    return result


def _load_part(  # noqa: PLR0913, PLR0917  (as `attempt_load`)
    settings: Settings,
    lake: Lake,
    table: Table,
    run_id: str,
    on_progress: Told | None,
    s3: S3Client | None,
    gate: Gate | None,
) -> LoadResult:
    started, began_at = time.monotonic(), datetime.now(UTC)
    source = open_source(settings, table, s3=s3)
    target = lake.create(table)
    since = target.progress(SCOPE)
    extract = source.read(since)
    if extract is None:
        _log.info("nothing new", table=str(table.name))
        findings, held = still_fresh(table, gate)
        key, seconds = run_key(table, since, since), time.monotonic() - started
        return LoadResult(None, 0, 0, 0, 0, (), seconds, since, key, findings=findings, held=held)
    temporary = settings.state / "tmp"
    with (
        closing(extract),
        Door(table) as door,
        collecting(temporary) as rejects,
        comparing(target, table, extract.compare, temporary) as seen,
    ):
        interval = Interval(lake, table, extract, since, door, rejects, began_at, on_progress, seen)
        with bound(run_key=interval.run_key):
            staged = write_judged(interval, gate)
            result = _result(interval, staged, time.monotonic() - started)
            sweep(target, keep=staged.commit.branch if staged.held else None)
            if staged.held is None:
                record_load(lake, _record(table, result, run_id, began_at, since))
                _log.info("loaded", table=str(table.name), read=result.rows_read, published=result.rows_published)
    return result


def _result(interval: Interval, staged: Staged, seconds: float) -> LoadResult:
    intake = interval.intake
    return LoadResult(
        commit=staged.commit,
        rows_read=intake.rows_read,
        rows_published=intake.rows_published,
        rows_quarantined=intake.rows_quarantined,
        rows_seen=intake.rows_seen,
        windows=intake.windows,
        seconds=seconds,
        position=interval.since if staged.held else interval.extract.reached,
        run_key=interval.run_key,
        broken=intake.broken,
        findings=staged.findings,
        held=staged.held,
        rows_deleted=intake.rows_deleted,
        more=interval.extract.more,
    )


def _record(table: Table, result: LoadResult, run_id: str, began_at: datetime, since: Position | None) -> LoadRecord:
    commit = result.commit
    return LoadRecord(
        table=table.name,
        run_key=result.run_key,
        run_id=run_id,
        started_at=began_at,
        seconds=result.seconds,
        rows_read=result.rows_read,
        rows_published=result.rows_published,
        rows_quarantined=result.rows_quarantined,
        rows_seen=result.rows_seen,
        bytes=commit.bytes_added if commit else 0,
        position_from=since,
        position_to=result.position,
        snapshot_id=commit.snapshot_id if commit else None,
    )
