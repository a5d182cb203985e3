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
from lakehouse.ingest.quarantine import Broken, Rejects, State, quarantine_table
from lakehouse.sources import Extract
from lakehouse.tables import Table, Window
from lakehouse.tables.window import spans
from lakehouse.telemetry import Meter

_log = structlog.get_logger(__name__)

_COUNTS = "lakehouse.rows-"
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
    ) -> None:
        self._lake, self._table, self._extract, self._door, self._rejects = lake, table, extract, door, rejects
        self._began_at, self._run_key = began_at, run_key
        self._days: set[date] = set()
        self.rows_read = self.rows_published = self.rows_quarantined = self.rows_seen = 0
        self.broken: Mapping[str, Broken] = rejects.by_rule
        # Filled at the end of `batches`; the commit reads it after that.
        self.summary: dict[str, str] = {"lakehouse.extracted-at": began_at.isoformat()}

    @property
    def windows(self) -> tuple[Window, ...]:
        """The days of the window column that the published rows touch."""
        return spans(self._days)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The accepted rows. Raises LoadRejected at the end, after which nothing may be committed."""
        meter = Meter(str(self._table.name), total=self._extract.expected_rows)
        for chunk in self._extract.chunks:
            parts = self._door.split(chunk, self._began_at, self._run_key)
            self.rows_read += chunk.count
            self.rows_published += parts.accepted.num_rows
            self._rejects.add(parts.rejected)
            self._days |= self._days_of(parts.accepted)
            meter.add(chunk.count)
            if self._rejects.count >= _GIVE_UP and self._too_many():
                raise self._refuse()
            yield from parts.accepted.to_batches()
        meter.finish()
        self._finish()

    def take_over(self, target: LakeTable, branch: str) -> None:
        """Take what the snapshot on the branch says, which this load made when it was run before: counts and days."""
        summary = next((one.summary for one in target.snapshots(branch) if one.run_key == self._run_key), {})
        for name in ("read", "published", "quarantined", "seen"):
            setattr(self, f"rows_{name}", int(summary.get(_COUNTS + name, 0)))
        self.broken = {rule: Broken(rows) for rule, rows in json.loads(summary.get(_BY_RULE, "{}")).items()}
        if self._table.window_column is not None:
            mine = f"_run_key = '{self._run_key}'"
            for batch in target.scan(columns=[self._table.window_column], where=mine, at=branch):
                self._days |= self._days_of(pa.Table.from_batches([batch]))

    def _finish(self) -> None:
        self._require_all()
        if self._too_many():
            raise self._refuse()
        stored = self._rejects.store(self._lake, self._table, State.OPEN, self._run_key)
        self.rows_quarantined, self.rows_seen = stored.added, stored.seen
        for name in ("read", "published", "quarantined", "seen"):
            self.summary[_COUNTS + name] = str(getattr(self, f"rows_{name}"))
        if self.broken:
            self.summary[_BY_RULE] = json.dumps({rule: broken.rows for rule, broken in sorted(self.broken.items())})

    def _require_all(self) -> None:
        split = self.rows_published + self._rejects.count
        expected = self.rows_read if self._extract.expected_rows is None else self._extract.expected_rows
        if not expected == self.rows_read == split:
            raise LoadRejected(
                f"the load of {self._table.name} does not add up, so nothing was published",
                expected=f"{expected} rows, as the source counted them",
                found=f"{self.rows_read} read, {self.rows_published} good, {self._rejects.count} rejected",
                remedy="Load again; if it happens again, report it.",
            )

    def _too_many(self) -> bool:
        policy = self._table.load
        if SCHEMA_DRIFT in self.broken:
            return True
        return policy is not None and self._rejects.count > policy.reject_limit * self.rows_read

    def _refuse(self) -> LoadRejected:
        limit = self._table.load.reject_limit if self._table.load is not None else 0.0
        stored = self._rejects.store(self._lake, self._table, State.HELD, self._run_key)
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
            expected=f"at most {limit:.2%} of the rows (rejectLimit)",
            found=f"{self._rejects.count} of {self.rows_read}",
            remedy=f"See {quarantine_table(self._table).name} for what is wrong; mend the source, or the contract.",
        )

    def _days_of(self, accepted: pa.Table) -> set[date]:
        if self._table.window_column is None:
            return set()
        days = pc.unique(accepted.column(self._table.window_column).cast(pa.date32()))
        return {day for day in days.to_pylist() if day is not None}
