"""When something is worth doing for a table: limits out of the settings, and the size that its writers aim at.

What they are compared with is `health.py`; what follows from them, `packing.py` and `plan.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from lakehouse.iceberg import Lake
from lakehouse.settings import Settings
from lakehouse.tables import TableName


@dataclass(frozen=True)
class Policy:
    """The limits for one table.

    A file below `small` of `target_bytes` is small. `min_files` small files of a partition are worth a rewrite; two are
    when they fill `small` of a target. A file is rewritten for its deletes when `deleted_share` of its rows are hidden,
    or `most_delete_files` lie on it. A file that a rewrite made is rewritten again once what is new beside it is at
    least `growth` of it: so a row is written a few times in its life, however often little comes.

    `orphan_age`: how long a file must have been seen to be nobody's. `audits_kept_for`: of branches not published.
    `consumers_wait`: how long snapshots wait for models that have not read them.
    """

    target_bytes: int
    min_files: int = 5
    small: float = 0.75
    growth: float = 0.5
    deleted_share: float = 0.1
    most_delete_files: int = 5
    orphan_age: timedelta = timedelta(hours=72)
    audits_kept_for: timedelta = timedelta(days=7)
    consumers_wait: timedelta = timedelta(days=30)

    @property
    def small_below(self) -> float:
        """Bytes below which a file is small."""
        return self.small * self.target_bytes


def policy_of(settings: Settings, lake: Lake, name: TableName) -> Policy:
    """The limits for a table of the lake. Raises TableMissing."""
    chosen = settings.upkeep
    return Policy(
        # The table's own property, which follows the contract: it holds for tables that no contract declares, too.
        target_bytes=lake.look(name).holdings().target_file_bytes,
        min_files=chosen.min_files,
        orphan_age=timedelta(hours=chosen.orphan_age_hours),
        audits_kept_for=timedelta(days=chosen.audits_kept_days),
        consumers_wait=timedelta(days=chosen.consumers_wait_days),
    )
