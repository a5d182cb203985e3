"""The refs of a table: branches beside main, made, published and given up.

How a ref is moved is `branch.py`; what is written to it, `effects.py`.
"""

from __future__ import annotations

from lakehouse.iceberg import branch as refs
from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.outcome import Commit


class References(Opened):
    """What an auditor may do."""

    def create_branch(self, branch: str) -> None:
        """Make a branch at main's head; one that is there stays as it is. Raises CommitConflict, BranchMissing."""
        refs.create_branch(self._load(), self.name, branch)

    def publish(self, branch: str) -> Commit:
        """Bring a branch to main and drop it. Raises PublishConflict (the branch is kept), BranchMissing."""
        return refs.publish(self._load(), self.name, branch)

    def discard(self, branch: str) -> None:
        """Drop a branch; nothing happens if it is not there. Raises CommitConflict."""
        refs.discard(self._load(), self.name, branch)

    def branches(self) -> tuple[str, ...]:
        """The branches beside main, by name."""
        return refs.branches(self._load().metadata)
