"""Carrying upkeep out on one table: compact, then expire, then clear orphans; and what came of it, in `ops.upkeep`.

What is worth doing is `plan.py`; how each effect keeps its promises, `iceberg/` and `orphans.py`. When it is done is
decided above.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import structlog

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Compaction, Expiry, Lake, Neighbours, held_for_consumers
from lakehouse.settings import Settings
from lakehouse.storage import Store
from lakehouse.storage.open import open_store
from lakehouse.tables import TableName
from lakehouse.upkeep.engine import engine
from lakehouse.upkeep.health import look_at
from lakehouse.upkeep.orphans import OrphanSweep, sweep_orphans
from lakehouse.upkeep.plan import Plan, plan_of
from lakehouse.upkeep.policy import Policy, policy_of
from lakehouse.upkeep.report import ALL, Action, UpkeepReport, record_report
from lakehouse.upkeep.told import CompactionPace, NowAndThen, Say, counted, size

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_log = structlog.get_logger(__name__)


def keep_up(  # noqa: PLR0913  (where, on what, and how it is told)
    settings: Settings,
    lake: Lake,
    name: TableName,
    *,
    run_id: str,
    actions: Collection[Action] = ALL,
    dry_run: bool = False,
    now: datetime | None = None,
    s3: S3Client | None = None,
    progress: Say | None = None,
) -> UpkeepReport:
    """Do what a table needs, and record it in `ops.upkeep`. A dry run changes nothing, and records nothing.

    An action that fails is a sentence in `troubles`; the others are carried out all the same. `now` (aware; default:
    the clock) is what ages are counted from, `s3` a client for a warehouse on S3 (default: one of the settings).
    Raises TableMissing, and what else is wrong before and after the actions: CatalogError, StateError.
    """
    started = now or datetime.now(UTC)
    say = progress or (lambda _line: None)
    policy = policy_of(settings, lake, name)
    look = look_at(lake, name, policy, now=started)
    work = _Work(settings, lake, name, run_id, policy, plan_of(look, policy), say, now, s3, dry_run)
    seen = look.health
    say(f"{name}: {counted(seen.files, 'file')} of {size(seen.bytes)}, {counted(seen.snapshots, 'snapshot')}")
    for reason in (*work.plan.reasons, *work.plan.refused):
        say(f"{name}: {reason}")
    for action, carry_out in (
        (Action.COMPACT, work.compact),
        (Action.EXPIRE, work.expire),
        (Action.ORPHANS, work.clear),
    ):
        if action in actions:
            work.attempt(action, carry_out)
    report = UpkeepReport(
        table=name,
        run_id=run_id,
        started_at=started,
        dry_run=dry_run,
        plan=work.plan,
        before=look.health,
        after=look.health if dry_run else look_at(lake, name, policy, now=work.time).health,
        compaction=work.compaction,
        expiry=work.expired,
        orphans=work.orphans,
        failed=work.failed,
        seconds=work.seconds,
    )
    if not dry_run:
        record_report(lake, report)
    return report


@dataclass
class _Work:
    """The actions on one table, and what has come of them so far."""

    settings: Settings
    lake: Lake
    name: TableName
    run_id: str
    policy: Policy
    plan: Plan
    say: Say
    now: datetime | None
    s3: S3Client | None
    dry_run: bool
    compaction: Compaction | None = None
    expired: Expiry | None = None
    orphans: OrphanSweep | None = None
    failed: dict[Action, str] = field(default_factory=dict)
    seconds: dict[Action, float] = field(default_factory=dict)

    @property
    def time(self) -> datetime:
        """The given time, else the clock's: a rewrite may have taken hours."""
        return self.now or datetime.now(UTC)

    @cached_property
    def store(self) -> Store:
        """The warehouse."""
        return open_store(self.settings, self.settings.warehouse, self.s3)

    def attempt(self, action: Action, carry_out: Callable[[], None]) -> None:
        """Carry an action out. What is wrong with it is remembered: the others do not need it."""
        begun = time.monotonic()
        try:
            carry_out()
        except LakehouseError as error:
            _log.warning("upkeep could not be finished", table=str(self.name), action=action.value, reason=str(error))
            self.say(f"{self.name}: {action.value} failed: {error}")
            self.failed[action] = str(error)
        self.seconds[action] = time.monotonic() - begun

    def compact(self) -> None:
        """Pack what the plan says."""
        groups = self.plan.groups
        if self.dry_run or not groups:
            return
        pace = CompactionPace(self.say, self.plan.bytes)
        with engine(self.settings) as duck:
            done = self.compaction = self.lake.table(self.name).compact(
                [group.files for group in groups], connection=duck, progress=pace, so_far=self.compacted
            )
        self.say(
            f"{self.name}: {counted(done.files_before, 'file')} of {size(done.bytes_before)} became "
            f"{done.files_after:,} of {size(done.bytes_after)}, {counted(done.rows, 'row')} proved equal"
        )

    def compacted(self, so_far: Compaction) -> None:
        """Remember what is committed: should the rest fail, it stays."""
        self.compaction = so_far

    def expire(self) -> None:
        """Remove snapshots and refs that are old enough, and the files that only they named."""
        if self.dry_run:
            return
        # Asked anew: models may have read on while files were packed.
        now, policy = self.time, self.policy
        held = held_for_consumers(self.lake, self.name, now=now, at_most=policy.consumers_wait)
        done = self.expired = self.lake.table(self.name).expire_snapshots(
            self.store,
            now=now,
            held=frozenset(held.values()),
            audits_kept_for=policy.audits_kept_for,
            progress=NowAndThen(lambda line: self.say(f"{self.name}: {line}")),
        )
        files = done.data_files_deleted + done.metadata_files_deleted
        self.say(
            f"{self.name}: {counted(done.snapshots_removed, 'snapshot')} expired, {done.snapshots_kept:,} stay; "
            f"{counted(files, 'file')} of {size(done.bytes_deleted)} deleted"
        )

    def clear(self) -> None:
        """Remove files that no snapshot names, once they have been seen for long enough."""
        found = self.orphans = sweep_orphans(
            self.lake,
            self.name,
            self.store,
            safe_age=self.policy.orphan_age,
            now=self.time,
            run_id=self.run_id,
            dry_run=self.dry_run,
            neighbours=Neighbours(self.settings.state / "upkeep" / "places.json"),
            so_far=self.swept,
        )
        self.say(
            f"{self.name}: {counted(found.found, 'orphaned file')} of {size(found.bytes_found)}, "
            f"{found.sighted_new:,} seen for the first time, {found.removed:,} removed, "
            f"{found.named:,} committed meanwhile, {found.doubtful:,} doubtful"
        )

    def swept(self, so_far: OrphanSweep) -> None:
        """Remember what is removed, though the rest failed."""
        self.orphans = so_far
