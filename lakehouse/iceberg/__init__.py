"""Iceberg: the lake's tables, and the only package that imports PyIceberg.

`Lake` and `LakeTable` are the door; `duck` is SQL over them. Contracts, sources and models are unknown here.
"""

from lakehouse.iceberg.duck import connect, register
from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.outcome import Commit
from lakehouse.iceberg.schema import arrow_schema, duckdb_type
from lakehouse.iceberg.stats import SnapshotInfo, TableStats
from lakehouse.iceberg.table import LakeTable

__all__ = [
    "Commit",
    "Lake",
    "LakeTable",
    "SnapshotInfo",
    "TableStats",
    "arrow_schema",
    "connect",
    "duckdb_type",
    "register",
]
