"""The refs of a table: branches beside main, tags, and main itself going back.

How each is moved stands in a module of its own; what is written to a branch, in `effects.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

from lakehouse.iceberg.commits.outcome import Commit
from lakehouse.iceberg.commits.progress import MAIN, Progress
from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.refs import branch as refs
from lakehouse.iceberg.refs.at import At
from lakehouse.iceberg.refs.branch_state import BranchState, state_of
from lakehouse.iceberg.refs.publish import Audit, publish
from lakehouse.iceberg.refs.publish_windows import Said, publish_windows
from lakehouse.iceberg.refs.rebase import rebase
from lakehouse.iceberg.refs.restore import RestorePlan, plan_restore, restore
from lakehouse.iceberg.refs.tag import Lease, add_tag, held, remove_tag, tags
from lakehouse.tables import Position, Window


class References(Opened):
    """What an auditor and a restorer may do."""

    def create_branch(self, branch: str) -> None:
        """Make a branch at main's head; one that is there stays as it is. Raises CommitConflict, BranchMissing."""
        refs.create_branch(self._load(), self.name, branch)

    def publish(self, branch: str, *, audit: Audit | None = None, judged: int | None = None) -> Commit:
        """Bring a branch to main and drop it.

        It must have been audited, as it was at the snapshot `judged` (default: as it is now). If main moved since it
        was made, appends are put on top of main and `audit`, which reads the branch and raises what it finds, is called
        again; three times at most. Raises PublishConflict (the branch is kept), BranchMissing, CommitError.
        """
        return publish(self._load(), self.name, branch, audit, judged)

    def publish_windows(  # noqa: PLR0913  (what is published, where to, and what is said of it)
        self,
        branch: str,
        windows: Sequence[Window],
        *,
        onto: str = MAIN,
        progress: Progress | None = None,
        expected_progress: Mapping[str, Position | None] | None = None,
        summary: Mapping[str, str] | None = None,
    ) -> Commit:
        """Bring these windows of a branch to main, or onto another branch, where they can be audited without the rest.

        The branch goes once main has all of it. The snapshot carries `progress`, if `expected_progress` is still so,
        and `summary`; they are about these windows alone. Nothing happens where all of it is there already. Raises
        PublishConflict (the branch is kept), BranchMissing, Fenced, CommitError.
        """
        said = Said(progress or {}, expected_progress or {}, summary or {})
        return publish_windows(self._load(), self.name, branch, windows, onto, said)

    def rebase(self, branch: str) -> Commit:
        """Put a branch's appends on top of main's head. It has to be audited again. Raises PublishConflict."""
        return rebase(self._load(), self.name, branch)

    def discard(self, branch: str) -> None:
        """Drop a branch; nothing happens if it is not there. Raises CommitConflict."""
        refs.discard(self._load(), self.name, branch)

    def branches(self) -> tuple[str, ...]:
        """The branches beside main, by name."""
        return refs.branches(self._load().metadata)

    def branch_state(self, branch: str) -> BranchState:
        """What a branch holds that main has not, and the reverse. Raises BranchMissing."""
        return state_of(self._load(), self.name, branch)

    def tag(self, name: str, at: At = MAIN, *, max_age: timedelta | None = None) -> None:
        """Name a snapshot, which expiry then keeps; for `max_age` from now, None for ever.

        Raises CommitError when the name is taken, SnapshotMissing, BranchMissing.
        """
        add_tag(self._load(), self.name, name, at, max_age=max_age)

    def untag(self, name: str) -> None:
        """Take a tag away; nothing happens if it is not there. Raises CommitError for a branch."""
        remove_tag(self._load(), self.name, name)

    def tags(self) -> Mapping[str, int]:
        """Snapshot id by tag, leases too; those that have outlived their age are left out."""
        return tags(self._load().metadata)

    def lease(self, at: At = MAIN, *, max_age: timedelta) -> AbstractContextManager[Lease]:
        """Keep a snapshot from expiry while the block runs, and no longer than `max_age` should the process die.

        Read by the lease's `snapshot_id` or `tag`. Raises SnapshotMissing, BranchMissing.
        """
        return held(self._load(), self.name, at, max_age=max_age)

    def plan_restore(self, *, to: At | None = None, before_run: str | None = None) -> RestorePlan:
        """What it takes to bring main back to a snapshot, a time or a tag, or to before a run; nothing is changed.

        Raises SnapshotMissing, BranchMissing, QueryError, and CommitError for what main may not go to.
        """
        return plan_restore(self._load(), self.name, to=to, before_run=before_run)

    def restore(self, plan: RestorePlan) -> Commit:
        """Carry out a plan in one commit; the head that is left stays restorable for a week.

        Raises CommitConflict when main moved since the plan was made.
        """
        return restore(self._load(), self.name, plan)
