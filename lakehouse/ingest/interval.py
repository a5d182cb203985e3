"""The rows of one interval of a source, from one position to the next, as one commit on a branch of their table.

Where they are written first and what they are judged by is `staged.py`; what passes the door is counted by `intake.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Commit, Lake, LakeTable, arrow_schema
from lakehouse.ingest.door import Door
from lakehouse.ingest.intake import Intake
from lakehouse.ingest.quarantine import Rejects
from lakehouse.ingest.seen import Seen
from lakehouse.sources import Extract
from lakehouse.tables import Position, Table

SCOPE = "load"
"""The scope under which a bronze table keeps its source's position."""

Told = Callable[[int, str], None]
"""Is told rows read so far, and of what."""


def run_key(table: Table, low: Position | None, high: Position | None) -> str:
    """Key of the interval: the same load, tried again, has the same key."""
    text = json.dumps([str(table.name), low, high], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Interval:
    """What a source has after `since`. Written once; a second `write` is for a branch whose rows will not do.

    `intake` has the counts of the last write, or those of an earlier load that had written the same.
    """

    lake: Lake
    table: Table
    extract: Extract
    since: Position | None
    door: Door
    rejects: Rejects
    began_at: datetime
    on_progress: Told | None = None
    seen: Seen | None = None

    def __post_init__(self) -> None:
        self.target: LakeTable = self.lake.table(self.table.name)
        self.run_key = run_key(self.table, self.since, self.extract.reached)
        self.intake = self._start()

    @property
    def overtaken(self) -> bool:
        """Whether another load has moved the source's position on main."""
        return self.target.progress(SCOPE) != self.since

    def is_on(self, branch: str) -> bool:
        """Whether a branch has these rows already."""
        return any(snapshot.run_key == self.run_key for snapshot in self.target.snapshots(branch))

    def write(self, branch: str) -> Commit:
        """Append what the door lets through, with the position reached; nothing where the branch has it already.

        Raises Fenced when the branch is not at `since`, and what `Intake.batches` and LakeTable.append raise.
        """
        # Counts begin anew: an intake that took over those of an earlier load is full of them.
        self.intake = self._start()
        commit = self.target.append(
            pa.RecordBatchReader.from_batches(arrow_schema(self.table.stored_columns), self._rows()),
            run_key=self.run_key,
            branch=branch,
            progress={SCOPE: self.extract.reached},
            expected_progress={SCOPE: self.since},
            summary=self.intake.summary,
        )
        if commit.already_done:
            self.intake.take_over(self.target, branch)
        self._require_balance(commit)
        return commit

    def _start(self) -> Intake:
        return Intake(
            self.lake,
            self.table,
            self.extract,
            self.door,
            self.rejects,
            began_at=self.began_at,
            run_key=self.run_key,
            seen=self.seen,
        )

    def _rows(self) -> Iterator[pa.RecordBatch]:
        for batch in self.intake.batches():
            if self.on_progress is not None:
                self.on_progress(self.intake.rows_read, str(self.table.name))
            yield batch

    def _require_balance(self, commit: Commit) -> None:
        """The last look: what the committed files hold is what went through the door."""
        expected = self.intake.rows_published + self.intake.rows_deleted
        if commit.rows_added != expected:
            raise LakehouseError(
                f"snapshot {commit.snapshot_id} of {self.table.name} does not hold what was loaded",
                expected=f"{expected} rows",
                found=f"{commit.rows_added}",
                remedy="Roll the table back to the snapshot before, and report this.",
            )
