"""Iceberg: the lake's tables, and the only package that imports PyIceberg.

`Lake` and `LakeTable` are the door; `duck` is SQL over them. Contracts, sources and models are unknown here.
"""

import atexit
import gc

from lakehouse.iceberg.commits.outcome import Commit
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.commits.retry import Backoff
from lakehouse.iceberg.compaction.outcome import Compaction, CompactionStep, Phase
from lakehouse.iceberg.consumers import (
    LastReads,
    consumers,
    content_read_in,
    content_summary,
    downstream,
    held_for_consumers,
    read_by,
    read_in,
    read_summary,
    snapshots_read,
)
from lakehouse.iceberg.duck import connect, register
from lakehouse.iceberg.expiry.expire import Expiry
from lakehouse.iceberg.expiry.plan import ExpiryPlan, GoingRef, KeptFor
from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.merge.rules import Way
from lakehouse.iceberg.orphans.find import find_orphans
from lakehouse.iceberg.orphans.neighbours import Neighbours
from lakehouse.iceberg.orphans.sweep import Orphan, Removal, Sweep
from lakehouse.iceberg.reads.changed_days import ChangedDays
from lakehouse.iceberg.reads.changes import CHANGE, Changes
from lakehouse.iceberg.reads.holdings import Holdings
from lakehouse.iceberg.reads.live_files import LiveFile, ManifestStats
from lakehouse.iceberg.reads.stats import SnapshotInfo, TableStats
from lakehouse.iceberg.refs.at import At, parse_at
from lakehouse.iceberg.refs.branch_state import BranchState, BranchWindow
from lakehouse.iceberg.refs.restore import RestorePlan
from lakehouse.iceberg.refs.tag import Lease
from lakehouse.iceberg.schemas.schema import arrow_schema
from lakehouse.iceberg.table import LakeTable

__all__ = [
    "CHANGE",
    "MAIN",
    "At",
    "Backoff",
    "BranchState",
    "BranchWindow",
    "ChangedDays",
    "Changes",
    "Commit",
    "Compaction",
    "CompactionStep",
    "Expiry",
    "ExpiryPlan",
    "GoingRef",
    "Holdings",
    "KeptFor",
    "Lake",
    "LakeTable",
    "LastReads",
    "Lease",
    "LiveFile",
    "ManifestStats",
    "Neighbours",
    "Orphan",
    "Phase",
    "Removal",
    "RestorePlan",
    "SnapshotInfo",
    "Sweep",
    "TableStats",
    "Way",
    "arrow_schema",
    "connect",
    "consumers",
    "content_read_in",
    "content_summary",
    "downstream",
    "find_orphans",
    "held_for_consumers",
    "parse_at",
    "read_by",
    "read_in",
    "read_summary",
    "register",
    "snapshots_read",
]

# Half a million objects live as long as the process: looked through for garbage at its end, they hold it up for 0.4 s.
atexit.register(gc.freeze)
