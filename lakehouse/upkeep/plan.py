"""What a table needs: which files are packed, what expires, and why. Pure, but for the look at the metadata.

How bins are filled is `packing.py`; carrying a plan out, `carry_out.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from lakehouse.iceberg import ExpiryPlan, Lake, LastReads, LiveFile
from lakehouse.tables import TableName
from lakehouse.upkeep.health import Look, look_at
from lakehouse.upkeep.packing import Group, plan_compaction
from lakehouse.upkeep.policy import Policy
from lakehouse.upkeep.told import counted


@dataclass(frozen=True)
class Plan:
    """What upkeep would do. `left`: live files that need nothing.

    In words: `reasons`, what is done, and `refused`, what would be worth doing and cannot be done.
    """

    table: TableName
    groups: tuple[Group, ...]
    left: int
    expiry: ExpiryPlan
    reasons: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to pack and nothing expires. Orphans are found by listing the storage only."""
        return not self.groups and self.expiry.nothing

    @property
    def files(self) -> int:
        """Files that would be packed."""
        return sum(len(group.files) for group in self.groups)

    @property
    def bytes(self) -> int:
        """Bytes of these files."""
        return sum(group.bytes for group in self.groups)


def plan_upkeep(lake: Lake, name: TableName, policy: Policy, *, now: datetime, reads: LastReads | None = None) -> Plan:
    """What a table needs now, from its metadata alone. `reads` as in `look_at`. Raises TableMissing, CatalogError."""
    return plan_of(look_at(lake, name, policy, now=now, reads=reads), policy)


def plan_of(look: Look, policy: Policy) -> Plan:
    """What follows from a look at a table."""
    groups = plan_compaction(look.files, policy)
    return Plan(
        table=look.health.table,
        groups=groups,
        left=len(look.files) - sum(len(group.files) for group in groups),
        expiry=look.expiry,
        reasons=(*_packed(groups), *_expired(look.expiry)),
        refused=tuple(_refused(look.files)),
    )


def _packed(groups: Sequence[Group]) -> Iterator[str]:
    by_reason = Counter(group.reason for group in groups)
    for reason, count in sorted(by_reason.items()):
        files = sum(len(group.files) for group in groups if group.reason is reason)
        yield f"{counted(files, 'file')} in {counted(count, 'group')} to rewrite: {reason}"


def _refused(files: Sequence[LiveFile]) -> Iterator[str]:
    if under := sum(file.equality_deletes for file in files):
        yield (
            f"{counted(under, 'file')} left alone: under equality deletes of another program, which has to compact them"
        )


def _expired(expiry: ExpiryPlan) -> Iterator[str]:
    if expiry.snapshots:
        yield f"{counted(len(expiry.snapshots), 'snapshot')} to expire"
    if expiry.refs:
        yield f"branches and tags to remove: {', '.join(ref.name for ref in expiry.refs)}"
    if expiry.unfinished:
        yield "files of an earlier expiry are still to be deleted"
