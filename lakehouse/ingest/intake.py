"""The rows of one load on their way through the door, counted; and the decisions at their end.

`batches` is what the bronze table's writer reads. Its end is reached after the last row is written to a file and
before the files are committed: there the counts are compared, the limit is held, and the rejected records are stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.errors import LoadRejected
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest.door import Door
from lakehouse.ingest.drift import SCHEMA_DRIFT
from lakehouse.ingest.quarantine import quarantine_table
from lakehouse.ingest.rejects import Broken, Rejects
from lakehouse.ingest.seen import Seen
from lakehouse.ingest.states import ATTEMPT
from lakehouse.ledger import LoadCounts, load_of
from lakehouse.sources import Extract
from lakehouse.tables import Table, Window
from lakehouse.tables.window import spans
from lakehouse.telemetry import Meter

_log = structlog.get_logger(__name__)

_BY_RULE = "lakehouse.rejected-by-rule"
_GIVE_UP = 100_000
"""So many rejected records, if they are more than the limit allows so far, end a load that would fail anyway."""


class Intake:
    """Counts of one load; complete when `batches` is exhausted. `summary` is for the snapshot that publishes it."""

    def __init__(  # noqa: PLR0913  (it joins the parts of a load)
        self,
        lake: Lake,
        table: Table,
        extract: Extract,
        door: Door,
        rejects: Rejects,
        *,
        began_at: datetime,
        run_key: str,
        run_id: str,
        seen: Seen | None = None,
        tried: int = 0,
        reread: str | None = None,
    ) -> None:
        self._lake, self._table, self._extract, self._door, self._rejects = lake, table, extract, door, rejects
        self._began_at, self._run_key, self._run_id = began_at, run_key, run_id
        self._seen, self._tried, self._reread = seen, tried, reread
        self._days: set[date] = set()
        self._accepted = 0
        self.rows_read = self.rows_published = self.rows_quarantined = self.rows_seen = 0
        self.rows_deleted = self.retries = 0
        self.broken: Mapping[str, Broken] = rejects.by_rule
        # Filled at the end of `batches`; the commit reads it after that.
        self.summary: dict[str, str] = {}

    @property
    def windows(self) -> tuple[Window, ...]:
        """The days of the window column that the published rows touch."""
        return spans(self._days)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The accepted rows. Raises LoadRejected at the end, after which nothing may be committed."""
        passed = self._passed()
        for rows in passed if self._seen is None else self._seen.fresh(passed):
            self.rows_published += rows.num_rows
            self._days |= self._days_of(rows)
            yield from rows.to_batches()
        for gone in self._gone():
            self.rows_deleted += gone.num_rows
            self._days |= self._days_of(gone)
            yield from gone.to_batches()
        self._finish()

    def _gone(self) -> Iterator[pa.Table]:
        """Marks of keys that the source lost. Raises LoadRejected for too many, unless somebody asked for all of it."""
        seen, policy = self._seen, self._table.load
        if seen is None:
            return
        if self._reread is None and policy is not None and policy.too_many_gone(seen.gone, seen.keys):
            raise LoadRejected(
                f"too many keys of {self._table.name} are gone from its source, so nothing was published",
                expected=f"at most {policy.deletes_limit:.2%} of the keys (deletesLimit)",
                found=f"{seen.gone:,} of {seen.keys:,}",
                remedy=f"See whether the source has all its rows. If they were deleted, `lakehouse load run"
                f" {self._table.name} --full` marks them so; or raise deletesLimit in {self._table.file}.",
            )
        yield from seen.deleted(self._began_at, self._run_key)

    def _passed(self) -> Iterator[pa.Table]:
        """What the door lets through, chunk by chunk."""
        meter = Meter(str(self._table.name), total=self._extract.expected_rows)
        for chunk in self._extract.chunks:
            parts = self._door.split(chunk, self._began_at, self._run_key)
            self.rows_read += chunk.count
            self._accepted += parts.accepted.num_rows
            if self._seen is not None:
                self._seen.keep_keys(chunk)
            self._rejects.add(parts.rejected)
            meter.add(chunk.count)
            if self._rejects.count >= _GIVE_UP and self._too_many():
                raise self._refuse()
            yield parts.accepted
        meter.finish()

    def take_over(self, target: LakeTable, branch: str) -> None:
        """Take what the snapshot on the branch says, which this load made when it was run before: counts and days."""
        mine = next((one for one in target.snapshots(branch) if one.run_key == self._run_key), None)
        made = None if mine is None else load_of(target, mine, None)
        for name in ("rows_read", "rows_published", "rows_quarantined", "rows_seen", "rows_deleted"):
            setattr(self, name, getattr(made, name, 0))
        summary = {} if mine is None else mine.summary
        self.broken = {rule: Broken(rows) for rule, rows in json.loads(summary.get(_BY_RULE, "{}")).items()}
        if self._table.window_column is not None:
            where = f"_run_key = '{self._run_key}'"
            for batch in target.scan(columns=[self._table.window_column], where=where, at=branch):
                self._days |= self._days_of(pa.Table.from_batches([batch]))

    def _finish(self) -> None:
        seen = 0 if self._seen is None else self._seen.count
        self._require_all(seen)
        if self._too_many():
            raise self._refuse()
        stored = self._rejects.store(self._lake, self._table, self._run_key)
        if stored.attempt is not None:
            self.summary[ATTEMPT] = stored.attempt
        self.rows_quarantined, self.rows_seen = stored.added, stored.seen + seen
        self.retries = self._tried + self._extract.retries()
        counts = LoadCounts(
            rows_read=self.rows_read,
            rows_published=self.rows_published,
            rows_quarantined=self.rows_quarantined,
            rows_seen=self.rows_seen,
            rows_deleted=self.rows_deleted,
            bytes_read=self._extract.expected_bytes,
            retries=self.retries,
            lag=self._extract.held_back,
            reread=self._reread,
        )
        self.summary |= counts.summary(started_at=self._began_at, run_id=self._run_id)
        if self.broken:
            self.summary[_BY_RULE] = json.dumps({rule: broken.rows for rule, broken in sorted(self.broken.items())})

    def _require_all(self, seen: int) -> None:
        """Before anything is committed: each step handed on all that the one before had counted."""
        expected = self.rows_read if self._extract.expected_rows is None else self._extract.expected_rows
        good = self.rows_published + seen
        if not expected == self.rows_read == self._accepted + self._rejects.count or good != self._accepted:
            raise LoadRejected(
                f"the load of {self._table.name} does not add up, so nothing was published",
                expected=f"{expected} rows, as the source counted them",
                found=f"{self.rows_read} read, {self._accepted} good, {self._rejects.count} rejected"
                + (f"; of the good ones {self.rows_published} new, {seen} known" if good != self._accepted else ""),
                remedy="Load again; if it happens again, report it.",
            )

    def _too_many(self) -> bool:
        policy = self._table.load
        if SCHEMA_DRIFT in self.broken:
            return True
        return policy is not None and policy.too_many(self._rejects.count, self.rows_read)

    def _refuse(self) -> LoadRejected:
        stored = self._rejects.store(self._lake, self._table, self._run_key)
        _log.warning("load rejected", table=str(self._table.name), rejected=self._rejects.count, held=stored.added)
        if SCHEMA_DRIFT in self.broken:
            return LoadRejected(
                f"the source of {self._table.name} is not what its contract says, so nothing was published",
                expected=f"the columns of {self._table.file} (drift: quarantine)",
                found="; ".join(map(str, self._door.drift.differences)),
                remedy=f"Bring the contract up to date and load again; see {quarantine_table(self._table).name}.",
            )
        return LoadRejected(
            f"too many rows for {self._table.name} break its contract, so nothing was published",
            expected=f"at most {self._table.load.limit if self._table.load is not None else 0} (rejectLimit)",
            found=f"{self._rejects.count} of {self.rows_read}",
            remedy=f"`lakehouse reject show {self._table.name}` says what is wrong. Mend the source or the contract,"
            " and load again.",
        )

    def _days_of(self, accepted: pa.Table) -> set[date]:
        if self._table.window_column is None:
            return set()
        days = pc.unique(accepted.column(self._table.window_column).cast(pa.date32()))
        return {day for day in days.to_pylist() if day is not None}
