"""What an expiry must keep, read off Iceberg's specification ("Snapshot Retention Policy") and this project's promises.

Written apart from `lakehouse/iceberg/expiry`, for it judges that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from lakehouse.iceberg import MAIN

AUDITS = timedelta(days=7)
AUDITED = ("run/", "load/", "rebase/")


def kept(metadata: TableMetadata, held: Collection[int], now: datetime) -> tuple[frozenset[int], frozenset[str]]:
    """The ids of the snapshots and the names of the refs that must still be there afterwards, and no others."""
    now_ms = int(now.timestamp() * 1000)
    longest = int(metadata.properties["history.expire.max-snapshot-age-ms"])
    least = int(metadata.properties["history.expire.min-snapshots-to-keep"])
    refs = {name: ref for name, ref in metadata.refs.items() if not _is_over(metadata, name, ref, now_ms)}
    keep, led_to = set[int](), set[int]()
    for name, ref in refs.items():
        if ref.snapshot_ref_type is SnapshotRefType.TAG:
            # What a branch that is gone left below a tag is nobody's, and as old as it is.
            led_to.add(ref.snapshot_id)
            keep |= _tagged(metadata, name, ref)
            continue
        past = list(_past(metadata, ref.snapshot_id))
        led_to |= {snapshot.snapshot_id for snapshot in past}
        if name.startswith(AUDITED):
            keep |= _to_be_published(metadata, ref)
        else:
            young = (now_ms - snapshot.timestamp_ms <= longest for snapshot in past)
            keep |= {one.snapshot_id for number, one in enumerate(past) if next(young) or number < least}
    keep |= {
        snapshot.snapshot_id
        for snapshot in metadata.snapshots
        if snapshot.snapshot_id not in led_to and now_ms - snapshot.timestamp_ms <= longest
    }
    for number in set(held) & {snapshot.snapshot_id for snapshot in metadata.snapshots}:
        keep |= {number, *_since(metadata, number)}
    return frozenset(keep), frozenset(refs)


def _tagged(metadata: TableMetadata, name: str, ref: SnapshotRef) -> set[int]:
    """What a tag names; and all that a restore has undone, so that it can be undone itself."""
    line = [snapshot.snapshot_id for snapshot in _past(metadata, ref.snapshot_id)]
    if name.startswith("restored/") and metadata.current_snapshot_id in line:
        return {ref.snapshot_id, *line[: line.index(metadata.current_snapshot_id)]}
    return {ref.snapshot_id}


def _to_be_published(metadata: TableMetadata, ref: SnapshotRef) -> set[int]:
    """A run's branch down to where it began, and main down to there: else it could not be put on top of main."""
    main = {snapshot.snapshot_id for snapshot in _past(metadata, metadata.current_snapshot_id)}
    shown = main | {entry.snapshot_id for entry in metadata.snapshot_log}
    line = [snapshot.snapshot_id for snapshot in _past(metadata, ref.snapshot_id)]
    fork = next((number for number in line if number in shown), None)
    return set(line) if fork is None else {*line[: line.index(fork) + 1], *_since(metadata, fork)}


def _since(metadata: TableMetadata, number: int) -> list[int]:
    """Main from its head down to one of its snapshots, if it is one."""
    main = [snapshot.snapshot_id for snapshot in _past(metadata, metadata.current_snapshot_id)]
    return main[: main.index(number) + 1] if number in main else []


def _is_over(metadata: TableMetadata, name: str, ref: SnapshotRef, now_ms: int) -> bool:
    """A ref beyond its own limit; a run's branch that nobody has worked on for long."""
    made = metadata.snapshot_by_id(ref.snapshot_id)
    if name == MAIN or made is None:
        return False
    if ref.max_ref_age_ms is not None and now_ms - made.timestamp_ms > ref.max_ref_age_ms:
        return True
    touched = made.timestamp_ms
    log = metadata.snapshot_log
    if last := [place for place, entry in enumerate(log, start=1) if entry.snapshot_id == ref.snapshot_id]:
        # It has nothing of its own: it may be as young as the moment at which main went on.
        touched = log[last[-1]].timestamp_ms if last[-1] < len(log) else now_ms
    branch = ref.snapshot_ref_type is SnapshotRefType.BRANCH and name.startswith(AUDITED)
    return branch and now_ms - touched > AUDITS // timedelta(milliseconds=1)


def _past(metadata: TableMetadata, head: int | None) -> Iterator[Snapshot]:
    while head is not None and (snapshot := metadata.snapshot_by_id(head)) is not None:
        yield snapshot
        head = snapshot.parent_snapshot_id
