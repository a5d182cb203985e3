"""Iceberg: the lake's tables, and the only package that imports PyIceberg.

`Lake` and `LakeTable` are the door; `duck` is SQL over them. Contracts, sources and models are unknown here.
"""

from lakehouse.iceberg.at import At, parse_at
from lakehouse.iceberg.branch_state import BranchState, BranchWindow
from lakehouse.iceberg.changed_days import ChangedDays
from lakehouse.iceberg.changes import CHANGE, Changes
from lakehouse.iceberg.consumers import consumers, downstream, read_by, read_summary, snapshots_read
from lakehouse.iceberg.duck import connect, register
from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.outcome import Commit
from lakehouse.iceberg.progress import MAIN
from lakehouse.iceberg.restore import RestorePlan
from lakehouse.iceberg.schema import arrow_schema
from lakehouse.iceberg.stats import SnapshotInfo, TableStats
from lakehouse.iceberg.table import LakeTable
from lakehouse.iceberg.tag import Lease

__all__ = [
    "CHANGE",
    "MAIN",
    "At",
    "BranchState",
    "BranchWindow",
    "ChangedDays",
    "Changes",
    "Commit",
    "Lake",
    "LakeTable",
    "Lease",
    "RestorePlan",
    "SnapshotInfo",
    "TableStats",
    "arrow_schema",
    "connect",
    "consumers",
    "downstream",
    "parse_at",
    "read_by",
    "read_summary",
    "register",
    "snapshots_read",
]
