"""Which snapshots and refs go: the rules of Iceberg's spec ("Snapshot Retention Policy"), and what this project holds.

Pure: metadata and a time in, a plan out. Carrying it out is `remove.py`; which files go with it, `reachable.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from lakehouse.iceberg.commits.progress import MAIN, history
from lakehouse.iceberg.expiry.retention import Retention
from lakehouse.iceberg.expiry.unfinished import unfinished
from lakehouse.iceberg.refs.branch import SCRATCH
from lakehouse.iceberg.refs.restore import RESTORED
from lakehouse.iceberg.refs.tag import LEASE
from lakehouse.tables import TableName

AUDITED = ("run/", "load/", SCRATCH)
"""Prefixes of the branches that runs and loads work on until they are published."""
AUDITS_KEPT_FOR = timedelta(days=7)
_MS = timedelta(milliseconds=1)


class KeptFor(StrEnum):
    """Why a snapshot stays. Where there are several reasons, the first of these counts."""

    AGE = "age"
    COUNT = "count"
    BRANCH = "branch"
    TAG = "tag"
    LEASE = "lease"
    CONSUMER = "consumer"
    SHARED = "shared"


@dataclass(frozen=True)
class GoingRef:
    """A branch or tag that goes. `age` of what it names, or of a branch's last change, is above `limit`."""

    name: str
    kind: str
    age: timedelta
    limit: timedelta


@dataclass(frozen=True)
class ExpiryPlan:
    """What an expiry at a time would do. `snapshots` are ids, oldest first; `kept` counts those that stay, by reason.

    `unfinished`: files of an earlier expiry still have to be deleted.
    """

    table: TableName
    planned_at: datetime
    snapshots: tuple[int, ...]
    refs: tuple[GoingRef, ...]
    kept: Mapping[KeptFor, int]
    unfinished: bool

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.snapshots or self.refs or self.unfinished)


def plan_expiry(
    metadata: TableMetadata,
    name: TableName,
    *,
    now: datetime,
    held: Collection[int] = (),
    audits_kept_for: timedelta = AUDITS_KEPT_FOR,
) -> ExpiryPlan:
    """What goes at `now` (aware), and why the rest stays. Raises CatalogError for a property that cannot be used.

    `held`: snapshots of main whose readers have to see all that came after them. Of branches that runs work on, the
    way down to main stays, and main down to where they began: else they could not be published.
    """
    rules = Retention.of(name, metadata)
    view = _View(metadata, rules, int(now.timestamp() * 1000), audits_kept_for)
    refs = view.going() if rules.collects else ()
    kept = view.kept({ref.name for ref in refs}, frozenset(held))
    ordered = sorted(metadata.snapshots, key=lambda snapshot: (snapshot.sequence_number or 0, snapshot.timestamp_ms))
    return ExpiryPlan(
        table=name,
        planned_at=now,
        snapshots=tuple(snapshot.snapshot_id for snapshot in ordered if snapshot.snapshot_id not in kept),
        refs=refs,
        kept=dict(Counter(kept.values())),
        unfinished=bool(unfinished(metadata)),
    )


class _View:
    """A table at a time."""

    def __init__(self, metadata: TableMetadata, rules: Retention, now_ms: int, audits_kept_for: timedelta) -> None:
        self._metadata, self._rules, self._now_ms = metadata, rules, now_ms
        self._audits_ms = audits_kept_for // _MS
        self._known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
        self._main = list(history(metadata, metadata.current_snapshot()))

    def going(self) -> tuple[GoingRef, ...]:
        """The refs that go. Main never does; nor does one whose snapshot is not there, for it keeps nothing."""
        found = ((name, ref) for name, ref in sorted(self._metadata.refs.items()) if name != MAIN)
        return tuple(
            GoingRef(name, ref.snapshot_ref_type.value, age * _MS, limit * _MS)
            for name, ref in found
            if ref.snapshot_id in self._known
            for age, limit in self._ages(name, ref)
            if age > limit
        )

    def kept(self, without: Collection[str], held: Collection[int]) -> dict[int, KeptFor]:
        """The reason for each snapshot that stays, once some refs are gone."""
        if not self._rules.collects:
            return dict.fromkeys(self._known, KeptFor.SHARED)
        refs = {
            name: ref
            for name, ref in self._metadata.refs.items()
            if name not in without and ref.snapshot_id in self._known
        }
        kept: dict[int, KeptFor] = {}
        for why, snapshots in (*self._by_branches(refs), *self._by_tags(refs), (KeptFor.CONSUMER, self._since(held))):
            for snapshot in snapshots:
                kept.setdefault(snapshot.snapshot_id, why)
        branches = [ref for ref in refs.values() if ref.snapshot_ref_type is SnapshotRefType.BRANCH]
        led_to = {snapshot.snapshot_id for ref in branches for snapshot in self._below(ref)}
        for snapshot in self._metadata.snapshots:
            if snapshot.snapshot_id not in led_to and self._age(snapshot) <= self._rules.max_snapshot_age_ms:
                # No branch's (yet): staged by another program, or what a branch that is gone left behind.
                kept.setdefault(snapshot.snapshot_id, KeptFor.AGE)
        return kept

    def _by_branches(self, refs: Mapping[str, SnapshotRef]) -> Iterator[tuple[KeptFor, Iterable[Snapshot]]]:
        branches = {name: ref for name, ref in refs.items() if ref.snapshot_ref_type is SnapshotRefType.BRANCH}
        if MAIN in branches:
            yield from self._by_policy(branches.pop(MAIN))
        for name, ref in branches.items():
            if name.startswith(AUDITED):
                yield KeptFor.BRANCH, self._work_of(ref)
            else:
                for _, snapshots in self._by_policy(ref):
                    yield KeptFor.BRANCH, snapshots

    def _by_policy(self, ref: SnapshotRef) -> Iterator[tuple[KeptFor, Iterable[Snapshot]]]:
        """A branch's snapshots from its head on, until one is neither young enough nor among the first ones."""
        most_ms = ref.max_snapshot_age_ms or self._rules.max_snapshot_age_ms
        least = ref.min_snapshots_to_keep or self._rules.min_snapshots
        for number, snapshot in enumerate(self._below(ref)):
            if self._age(snapshot) <= most_ms:
                yield KeptFor.AGE, (snapshot,)
            elif number < least:
                yield KeptFor.COUNT, (snapshot,)
            else:
                return

    def _by_tags(self, refs: Mapping[str, SnapshotRef]) -> Iterator[tuple[KeptFor, Iterable[Snapshot]]]:
        for name, ref in refs.items():
            if ref.snapshot_ref_type is SnapshotRefType.TAG:
                yield KeptFor.LEASE if name.startswith(LEASE) else KeptFor.TAG, (self._known[ref.snapshot_id],)
                if name.startswith(RESTORED):
                    yield KeptFor.TAG, self._undone(ref)

    def _undone(self, ref: SnapshotRef) -> list[Snapshot]:
        """What a restore has undone, down to main's head: it takes all of it to undo the restore."""
        line: list[Snapshot] = []
        for snapshot in self._below(ref):
            if snapshot.snapshot_id == self._metadata.current_snapshot_id:
                return line
            line.append(snapshot)
        return []

    def _work_of(self, ref: SnapshotRef) -> list[Snapshot]:
        """A branch's own snapshots, the one of main that it began at, and main's since then."""
        shown = {entry.snapshot_id for entry in self._metadata.snapshot_log}
        shown |= {snapshot.snapshot_id for snapshot in self._main}
        line: list[Snapshot] = []
        for snapshot in self._below(ref):
            line.append(snapshot)
            if snapshot.snapshot_id in shown:
                return line + self._since([snapshot.snapshot_id])
        # The beginning is gone already, and the history ends there.
        return line

    def _since(self, held: Collection[int]) -> list[Snapshot]:
        """Main from its head down to the oldest of some snapshots that is on it, and those that are elsewhere."""
        places = [number for number, snapshot in enumerate(self._main) if snapshot.snapshot_id in held]
        on_main = self._main[: max(places, default=-1) + 1]
        return on_main + [self._known[one] for one in held if one in self._known]

    def _below(self, ref: SnapshotRef) -> Iterator[Snapshot]:
        """What a ref leads to, newest first."""
        head = self._known.get(ref.snapshot_id)
        while head is not None:
            yield head
            head = self._known.get(head.parent_snapshot_id) if head.parent_snapshot_id is not None else None

    def _ages(self, name: str, ref: SnapshotRef) -> Iterator[tuple[int, int]]:
        """The age of a ref with each limit that it has, in milliseconds."""
        audited = ref.snapshot_ref_type is SnapshotRefType.BRANCH and name.startswith(AUDITED)
        if audited:
            yield self._untouched_ms(ref), self._audits_ms
        limit = ref.max_ref_age_ms or (None if audited else self._rules.max_ref_age_ms)
        if limit is not None:
            yield self._age(self._known[ref.snapshot_id]), limit

    def _untouched_ms(self, ref: SnapshotRef) -> int:
        """At least how long nobody has worked on a branch.

        One that holds nothing of its own may have been made a moment ago, at a main that nobody wrote to for months:
        it is as old as the moment at which main went on.
        """
        log = self._metadata.snapshot_log
        last = max((number for number, entry in enumerate(log) if entry.snapshot_id == ref.snapshot_id), default=None)
        if last is None:
            return self._age(self._known[ref.snapshot_id])
        return max(0, self._now_ms - log[last + 1].timestamp_ms) if last + 1 < len(log) else 0

    def _age(self, snapshot: Snapshot) -> int:
        return self._now_ms - snapshot.timestamp_ms
