"""Snapshots and refs of a table that go when they are old enough, and their files with them.

What is done, and in which order, is `expiry/`; when it is done, upkeep's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from lakehouse.iceberg.expiry.delete import Progress
from lakehouse.iceberg.expiry.expire import Expiry, expire
from lakehouse.iceberg.expiry.plan import AUDITS_KEPT_FOR, ExpiryPlan, plan_expiry
from lakehouse.iceberg.opened import Opened
from lakehouse.storage import Store


class Expiring(Opened):
    """What upkeep may do to a table's past.

    How long snapshots and refs are kept stands in the table's properties `history.expire.*` and at each ref. `held` are
    snapshots of main whose readers have to see all that came after them; branches that runs work on go when nobody has
    written to them for `audits_kept_for`. `now` is an aware time, this machine's if not given.
    """

    def plan_expiry(
        self,
        *,
        now: datetime | None = None,
        held: Collection[int] = (),
        audits_kept_for: timedelta = AUDITS_KEPT_FOR,
    ) -> ExpiryPlan:
        """What an expiry would do, from metadata alone; nothing is changed. Raises CatalogError."""
        metadata = self._load().metadata
        return plan_expiry(
            metadata, self.name, now=now or datetime.now(UTC), held=held, audits_kept_for=audits_kept_for
        )

    def expire_snapshots(
        self,
        store: Store,
        *,
        now: datetime | None = None,
        held: Collection[int] = (),
        audits_kept_for: timedelta = AUDITS_KEPT_FOR,
        progress: Progress | None = None,
    ) -> Expiry:
        """Remove what a plan for the newest metadata says, in one commit, and then the files that nothing else names.

        `store` is the warehouse, whose files alone are deleted. An expiry that was stopped is finished by the next one.
        Raises CommitConflict, CatalogError, StateError; nothing was removed then.
        """
        return expire(
            self._load(),
            self.name,
            store,
            now=now or datetime.now(UTC),
            held=held,
            audits_kept_for=audits_kept_for,
            progress=progress,
        )
