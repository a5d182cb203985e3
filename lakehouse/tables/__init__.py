"""Plain values that describe a table: what it is called, holds, loads from and how it is written.

No I/O, no YAML (that is `contracts/`), no Iceberg classes (that is `iceberg/`). All of it is frozen and comparable.
"""

from lakehouse.tables.business_day import BusinessDay
from lakehouse.tables.column import DELETED, EXTRA, METADATA_COLUMNS, Column
from lakehouse.tables.follow import Follow, Reach
from lakehouse.tables.name import Layer, TableName
from lakehouse.tables.policy import Drift, Evolution, HistoryPolicy, LoadPolicy, MergePolicy, Strategy, Upkeep
from lakehouse.tables.progress import Position
from lakehouse.tables.rule import Bound, Comparison, Rule, RuleKind, Severity, TableRule, TableRuleKind
from lakehouse.tables.table import PartitionField, Table
from lakehouse.tables.window import Window

__all__ = [
    "DELETED",
    "EXTRA",
    "METADATA_COLUMNS",
    "Bound",
    "BusinessDay",
    "Column",
    "Comparison",
    "Drift",
    "Evolution",
    "Follow",
    "HistoryPolicy",
    "Layer",
    "LoadPolicy",
    "MergePolicy",
    "PartitionField",
    "Position",
    "Reach",
    "Rule",
    "RuleKind",
    "Severity",
    "Strategy",
    "Table",
    "TableName",
    "TableRule",
    "TableRuleKind",
    "Upkeep",
    "Window",
]
