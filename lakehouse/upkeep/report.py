"""What upkeep did to a table, as a value and as rows of `ops.upkeep`. How it is shown is decided above."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict

from lakehouse.iceberg import Compaction, Expiry, Lake
from lakehouse.ledger import UpkeepRecord, record_upkeep
from lakehouse.tables import TableName
from lakehouse.upkeep.health import Health
from lakehouse.upkeep.orphans import OrphanSweep
from lakehouse.upkeep.plan import Plan
from lakehouse.upkeep.told import counted


class Action(StrEnum):
    """What upkeep does, in this order: what a compaction replaces, a later expiry removes."""

    COMPACT = "compact"
    EXPIRE = "expire"
    ORPHANS = "orphans"


ALL = tuple(Action)


class Outcome(StrEnum):
    """How an action ended."""

    DONE = "done"
    NOTHING = "nothing"
    """There was no need."""
    REFUSED = "refused"
    """A part could not be done, and is left as it was."""
    FAILED = "failed"


@dataclass(frozen=True)
class UpkeepReport:
    """What one upkeep of one table did; None for what was not done. `seconds` of the clock, by action carried out.

    `failed`: actions that did not come to their end, each with what went wrong.
    """

    table: TableName
    run_id: str
    started_at: datetime
    dry_run: bool
    plan: Plan
    before: Health
    after: Health
    compaction: Compaction | None
    expiry: Expiry | None
    orphans: OrphanSweep | None
    failed: Mapping[Action, str]
    seconds: Mapping[Action, float]

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong, a sentence an action, after what was done before."""
        return tuple(f"{action.value}: {_did(self, action)['detail']}" for action in self.failed)

    @property
    def refused(self) -> tuple[str, ...]:
        """What could not be done and is left as it was, though nothing went wrong."""
        return tuple(
            f"{action.value}: {_did(self, action)['detail']}"
            for action in self.seconds
            if self.outcome(action) is Outcome.REFUSED
        )

    @property
    def files_deleted(self) -> int:
        """Files removed from storage, of expired snapshots and orphans."""
        return sum(_did(self, action).get("files_deleted", 0) for action in self.seconds)

    @property
    def bytes_deleted(self) -> int:
        """Bytes of these files."""
        return sum(_did(self, action).get("bytes_deleted", 0) for action in self.seconds)

    def outcome(self, action: Action) -> Outcome:
        """How an action that was carried out ended."""
        return _did(self, action)["outcome"]


class _Did(TypedDict, total=False):
    """What an action says of itself, as columns of `ops.upkeep`."""

    outcome: Outcome
    detail: str
    groups: int
    rows_proved: int
    row_hash: str
    files_deleted: int
    bytes_deleted: int


def record_report(lake: Lake, report: UpkeepReport) -> None:
    """Add a row an action to `ops.upkeep`, in one snapshot."""
    rows = [_row(report, action) for action in report.seconds]
    record_upkeep(lake, rows, run_key=f"upkeep-{report.table}-{report.run_id}-{report.started_at.isoformat()}")


def _row(report: UpkeepReport, action: Action) -> UpkeepRecord:
    before, after = report.before, report.after
    return UpkeepRecord(
        table=report.table,
        action=action.value,
        files_before=before.files,
        files_after=after.files,
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        rows=after.rows,
        delete_files_before=before.delete_files,
        delete_files_after=after.delete_files,
        snapshots_before=before.snapshots,
        snapshots_after=after.snapshots,
        seconds=report.seconds[action],
        run_id=report.run_id,
        started_at=report.started_at,
        **_did(report, action),
    )


def _did(report: UpkeepReport, action: Action) -> _Did:
    did = _DID[action](report)
    if action in report.failed:
        # What was committed or removed before it failed stays so.
        done = f"{did['detail']}; then: " if did.get("groups") or did.get("files_deleted") else ""
        did |= {"outcome": Outcome.FAILED, "detail": f"{done}{report.failed[action]}"}
    return did


def _compacted(report: UpkeepReport) -> _Did:
    done, left_alone = report.compaction, report.plan.refused
    if done is None:
        outcome = Outcome.REFUSED if left_alone else Outcome.NOTHING
        return {"outcome": outcome, "detail": "; ".join(left_alone) or "no files to pack"}
    overtaken = [f"other writers changed {counted(done.overtaken, 'group')} meanwhile"] if done.overtaken else []
    why_not = [*left_alone, *done.refused, *overtaken]
    packed = f"{counted(done.files_before, 'file')} became {done.files_after:,}"
    return {
        "outcome": Outcome.REFUSED if why_not else Outcome.DONE,
        "detail": "; ".join([packed, *why_not]),
        "groups": done.groups,
        "rows_proved": done.rows,
        "row_hash": done.row_hash,
    }


def _expired(report: UpkeepReport) -> _Did:
    done = report.expiry
    if done is None:
        return {"outcome": Outcome.NOTHING, "detail": "nothing expired"}
    files = done.data_files_deleted + done.metadata_files_deleted
    gone = f"{counted(done.snapshots_removed, 'snapshot')} and {counted(len(done.refs_removed), 'ref')} removed"
    left = [f"{counted(len(done.left), 'file')} could not be deleted, e.g. {done.left[0]}"] if done.left else []
    waiting = ["the rest of their files waits for the next expiry"] if done.unfinished else []
    any_at_all = done.snapshots_removed or done.refs_removed or files
    return {
        "outcome": Outcome.REFUSED if left or waiting else Outcome.DONE if any_at_all else Outcome.NOTHING,
        "detail": "; ".join([f"{gone}, {counted(files, 'file')} deleted", *left, *waiting]),
        "files_deleted": files,
        "bytes_deleted": done.bytes_deleted,
    }


def _cleared(report: UpkeepReport) -> _Did:
    done = report.orphans
    if done is None:
        return {"outcome": Outcome.NOTHING, "detail": "not listed"}
    why_not = [f"{counted(len(done.left), 'file')} could not be removed, e.g. {done.left[0]}"] if done.left else []
    if done.doubtful:
        why_not.append(
            f"{counted(done.doubtful, 'file')} kept for good: metadata names such a file in a folder that is spelled "
            "otherwise"
        )
    kept = [f"{counted(done.named, 'file')} kept: committed meanwhile"] if done.named else []
    found = f"{counted(done.found, 'orphaned file')}, {done.sighted_new:,} new, {done.removed:,} removed"
    return {
        "outcome": Outcome.REFUSED if why_not else Outcome.DONE if done.removed else Outcome.NOTHING,
        "detail": "; ".join([found, *kept, *why_not]),
        "files_deleted": done.removed,
        "bytes_deleted": done.bytes_removed,
    }


_DID: Mapping[Action, Callable[[UpkeepReport], _Did]] = {
    Action.COMPACT: _compacted,
    Action.EXPIRE: _expired,
    Action.ORPHANS: _cleared,
}
