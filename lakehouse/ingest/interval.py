"""The rows of one interval of a source, from one position to the next, as one commit on a branch of their table.

Where they are written first and what they are judged by is `staged.py`; what passes the door is counted by `intake.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from lakehouse.errors import LoadRejected
from lakehouse.iceberg import MAIN, Commit, Lake, LakeTable, arrow_schema
from lakehouse.ingest.door import Door
from lakehouse.ingest.intake import Intake
from lakehouse.ingest.reading import Reading
from lakehouse.ingest.rejects import Rejects
from lakehouse.ingest.seen import Seen
from lakehouse.ingest.states import REPLAYS, replays
from lakehouse.sources import Extract
from lakehouse.tables import Position, Table

Told = Callable[[int, str], None]
"""Is told rows read so far, and of what."""


def run_key(table: Table, *what: object) -> str:
    """Key of what is read of a source: the same interval, tried again, has the same key."""
    text = json.dumps([str(table.name), *what], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Interval:
    """What a source has of what was asked. Written once; a second `write` is for a branch whose rows will not do.

    `intake` has the counts of the last write, or those of an earlier load that had written the same.
    """

    lake: Lake
    table: Table
    reading: Reading
    extract: Extract
    door: Door
    rejects: Rejects
    on_progress: Told | None = None
    seen: Seen | None = None

    def __post_init__(self) -> None:
        self.target: LakeTable = self.lake.table(self.table.name)
        self.run_key = run_key(self.table, *self.reading.identity(self.extract.reached))
        self.intake = self._start()

    @property
    def expected(self) -> Mapping[str, Position | None]:
        """The positions that must be main's when the rows become visible."""
        return self.reading.before | ({} if self.seen is None else {REPLAYS: self.reading.positions.get(REPLAYS)})

    @property
    def overtaken(self) -> bool:
        """Whether another load has moved a position on main."""
        now = self.target.positions()
        return any(now.get(scope) != position for scope, position in self.expected.items())

    def is_on(self, branch: str) -> bool:
        """Whether a branch has these rows already."""
        return any(snapshot.run_key == self.run_key for snapshot in self.target.snapshots(branch))

    def write(self, branch: str) -> Commit:
        """Append what the door lets through, with the position reached; nothing where the branch has it already.

        Raises Fenced when the branch is not where this load began, LoadRejected when a branch beside main does not
        hold what was loaded, and what `Intake.batches` and LakeTable.append raise.
        """
        # Counts begin anew: an intake that took over those of an earlier load is full of them.
        self.intake = self._start()
        commit = self.target.append(
            pa.RecordBatchReader.from_batches(arrow_schema(self.table.stored_columns), self._rows()),
            run_key=self.run_key,
            branch=branch,
            progress=self._reached(),
            expected_progress=self.expected,
            summary=self.intake.summary,
        )
        meant = self.intake.rows_published
        if commit.already_done:
            self.intake.take_over(self.target, branch)
        elif commit.snapshot_id is not None:
            self.intake.rows_published = self.target.rows_added(commit.snapshot_id) - self.intake.rows_deleted
            if branch != MAIN and self.intake.rows_published != meant:
                raise self._unbalanced(branch, meant)
        return commit

    def _reached(self) -> dict[str, Position]:
        """The positions that come with the rows. Rows that were held against bronze's leave no replay unnoticed."""
        moved = self.reading.after(self.extract, self.run_key)
        if self.seen is not None:
            moved[REPLAYS] = {"count": replays(self.target), "last": self.run_key}
        return moved

    def _start(self) -> Intake:
        return Intake(
            self.lake,
            self.table,
            self.extract,
            self.door,
            self.rejects,
            began_at=self.reading.began_at,
            run_key=self.run_key,
            run_id=self.reading.run_id,
            seen=self.seen,
            tried=self.reading.tried,
            reread=self.reading.reread,
        )

    def _rows(self) -> Iterator[pa.RecordBatch]:
        for batch in self.intake.batches():
            if self.on_progress is not None:
                self.on_progress(self.intake.rows_read, str(self.table.name))
            yield batch

    def _unbalanced(self, branch: str, meant: int) -> LoadRejected:
        """The last look while nothing is visible; on main, the check of the balance says it."""
        return LoadRejected(
            f"branch {branch!r} of {self.table.name} does not hold what was loaded, so nothing was published",
            expected=f"{meant} rows",
            found=f"{self.intake.rows_published}",
            remedy="Load again; if it happens again, report it.",
        )
