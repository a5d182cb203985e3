"""Which snapshot a reader means: by ref, by id, or by the time at which main showed it.

What is read there is `scan.py` and `changes.py`; moving refs is `branch.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import BranchMissing, QueryError, SnapshotMissing
from lakehouse.iceberg.commits.progress import MAIN, head_of
from lakehouse.iceberg.refs.branch import outlived
from lakehouse.tables import TableName

At: TypeAlias = str | int | datetime
"""The name of a branch or tag; a snapshot id; or an aware time: what main showed then, at most milliseconds exact."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_REMEDY = "Choose one of `lakehouse table show`."


def snapshot_at(name: TableName, metadata: TableMetadata, at: At = MAIN) -> Snapshot | None:
    """The snapshot that `at` means; None only for main of a table that was never written to.

    A time is looked up in the log of main's heads (Iceberg spec, "snapshot-log"), so a restore is seen from the moment
    it was made, and what it took back is what main showed before. Raises BranchMissing for a ref that is unknown or has
    outlived its age, SnapshotMissing for a snapshot that is not there (any more), QueryError for a time without a zone.
    """
    match at:
        case str():
            _check_age(name, metadata, at)
            return head_of(metadata, at)
        case datetime():
            return _at_time(name, metadata, at)
    snapshot = metadata.snapshot_by_id(at)
    if snapshot is None:
        raise SnapshotMissing(f"{name} has no snapshot {at} (any more)", remedy=_REMEDY)
    return snapshot


def parse_at(text: str) -> At:
    """What people write: a snapshot id, a time as ISO 8601 has it with its zone, else the name of a ref.

    Raises QueryError for a time without a zone.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return _aware(time)


def _check_age(name: TableName, metadata: TableMetadata, ref: str) -> None:
    """A ref that expiry may drop at any moment counts as absent, so that no reader comes to rely on it."""
    found = metadata.refs.get(ref)
    if ref != MAIN and found is not None and outlived(metadata, found):
        raise BranchMissing(
            f"the {found.snapshot_ref_type.value} {ref!r} of {name} has expired",
            found=f"it was to last until its snapshot is {timedelta(milliseconds=found.max_ref_age_ms or 0)} old",
            remedy="Read its snapshot by id while that is there, or make the tag again with a longer age.",
        )


def _at_time(name: TableName, metadata: TableMetadata, time: datetime) -> Snapshot:
    until = (_aware(time) - _EPOCH) // _MILLISECOND
    # In the order of the log, not of its times: clocks of two writers may differ.
    shown = [entry for entry in metadata.snapshot_log if entry.timestamp_ms <= until]
    if not shown:
        first = min((entry.timestamp_ms for entry in metadata.snapshot_log), default=None)
        raise SnapshotMissing(
            f"{name} was not there yet, or is not remembered, at {time.isoformat()}",
            expected=None if first is None else f"a time from {(_EPOCH + first * _MILLISECOND).isoformat()} on",
            found="no snapshot on main" if first is None else None,
            remedy="Choose a later time; `lakehouse table show` lists the snapshots.",
        )
    snapshot = metadata.snapshot_by_id(shown[-1].snapshot_id)
    if snapshot is None:
        raise SnapshotMissing(
            f"what {name} showed at {time.isoformat()} is gone: snapshot {shown[-1].snapshot_id} has expired",
            remedy=_REMEDY,
        )
    return snapshot


def _aware(time: datetime) -> datetime:
    if time.utcoffset() is None:
        raise QueryError(
            f"the time {time.isoformat()} has no zone", expected="a time such as 2026-01-31T03:00Z", remedy="Add one."
        )
    return time
