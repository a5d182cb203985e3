"""One load of one bronze table: read from the last position, split, quarantine, publish.

Rejected records are committed first, then the good rows, together with the position reached and all counts, in one
snapshot. Whatever dies in between is done again by the next load: it starts from the same position, and finds the
rejected records by their ids. What a row must be is `door.py`'s business; what was loaded so far is told by `ledger/`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import structlog

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Commit, Lake, arrow_schema
from lakehouse.ingest.door import Door
from lakehouse.ingest.intake import Intake
from lakehouse.ingest.quarantine import collecting
from lakehouse.ledger import LoadRecord, record_load
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Position, Table, Window
from lakehouse.telemetry import bound

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_log = structlog.get_logger(__name__)

SCOPE = "load"
"""The scope under which a bronze table keeps its source's position."""


@dataclass(frozen=True)
class LoadResult:
    """What a load did. rows_read = rows_published + rows_quarantined + rows_seen (rejected before, or twice).

    `commit` is None when the source had nothing new. `windows` are the days, by the table's window column, of the rows
    published. `position` is where the next load begins.
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


def load(  # noqa: PLR0913  (the last two are by name and rarely given)
    settings: Settings,
    lake: Lake,
    table: Table,
    *,
    run_id: str,
    on_progress: Callable[[int, str], None] | None = None,
    s3: S3Client | None = None,
) -> LoadResult:
    """Load what is new. Safe to call again after any failure; a load beside it makes one of the two Fenced.

    `on_progress` is told rows read so far and of what; `s3` reads files on S3 (default: made from the settings). Raises
    SourceError, ContractError, LoadRejected (too many rows broke the contract, nothing is published, the rejected are
    held), SchemaMismatch, CommitError, CatalogError.
    """
    started, began_at = time.monotonic(), datetime.now(UTC)
    source = open_source(settings, table, s3=s3)
    target = lake.create(table)
    since = target.progress(SCOPE)
    extract = source.read(since)
    if extract is None:
        _log.info("nothing new", table=str(table.name))
        return LoadResult(None, 0, 0, 0, 0, (), time.monotonic() - started, since, _run_key(table, since, since))
    run_key = _run_key(table, since, extract.reached)
    with bound(run_key=run_key), Door(table) as door, collecting(settings.state / "tmp") as rejects:
        intake = Intake(lake, table, extract, door, rejects, began_at=began_at, run_key=run_key)
        rows = _watched(intake.batches(), intake, table, on_progress)
        commit = target.append(
            pa.RecordBatchReader.from_batches(arrow_schema(table.stored_columns), rows),
            run_key=run_key,
            progress={SCOPE: extract.reached},
            expected_progress={SCOPE: since},
            summary=intake.summary,
        )
        if commit.already_done:
            intake.take_over(target.snapshots())
        _require_balance(table, intake, commit)
        result = LoadResult(
            commit=commit,
            rows_read=intake.rows_read,
            rows_published=intake.rows_published,
            rows_quarantined=intake.rows_quarantined,
            rows_seen=intake.rows_seen,
            windows=intake.windows,
            seconds=time.monotonic() - started,
            position=extract.reached,
            run_key=run_key,
        )
        record_load(lake, _record(table, result, run_id, began_at, since))
        _log.info("loaded", table=str(table.name), read=result.rows_read, published=result.rows_published)
    return result


def _run_key(table: Table, low: Position | None, high: Position | None) -> str:
    """Key of the interval: the same load, tried again, has the same key."""
    text = json.dumps([str(table.name), low, high], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _watched(
    rows: Iterator[pa.RecordBatch], intake: Intake, table: Table, on_progress: Callable[[int, str], None] | None
) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        if on_progress is not None:
            on_progress(intake.rows_read, str(table.name))
        yield batch


def _require_balance(table: Table, intake: Intake, commit: Commit) -> None:
    """The last look: what the committed files hold is what went through the door."""
    if commit.rows_added != intake.rows_published:
        raise LakehouseError(
            f"snapshot {commit.snapshot_id} of {table.name} does not hold what was loaded",
            expected=f"{intake.rows_published} rows",
            found=f"{commit.rows_added}",
            remedy="Roll the table back to the snapshot before, and report this.",
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
