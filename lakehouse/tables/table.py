"""One table, with everything its contract declares. The value that every other layer works from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from lakehouse.tables.business_day import BusinessDay
from lakehouse.tables.column import DELETED, EXTRA, METADATA_COLUMNS, Column
from lakehouse.tables.follow import Follow
from lakehouse.tables.name import Layer, TableName
from lakehouse.tables.policy import Evolution, HistoryPolicy, LoadPolicy, MergePolicy, Strategy, Upkeep
from lakehouse.tables.rule import Rule, TableRule


@dataclass(frozen=True)
class PartitionField:
    """A partition field: an Iceberg transform ("day", "identity", "bucket[16]", ...) of a column."""

    column: str
    transform: str


@dataclass(frozen=True)
class Table:
    """A declared table.

    `window_column` is the date or timestamp column of a daily chain: the event day, fixed at a row's birth, that the
    table is partitioned by (as an Iceberg day partition and as a Dagster daily partition from `window_start`).
    `business_day` says how a load computes it, where it is not the source's: only of a bronze table.
    `file` is the contract it was compiled from. `drop` names columns to remove from the Iceberg table; a column that
    the contract merely lost stays there, NULL in new rows.
    """

    name: TableName
    domain: str
    description: str
    columns: tuple[Column, ...]
    file: Path
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    partition_by: tuple[PartitionField, ...] = ()
    sort_by: tuple[str, ...] = ()
    window_column: str | None = None
    window_start: date | None = None
    business_day: BusinessDay | None = None
    follows: tuple[Follow, ...] = ()
    """Of a windowed table: which of its days a change in another table touches, where that is not plain."""
    load: LoadPolicy | None = None
    strategy: Strategy = Strategy.REPLACE
    merge: MergePolicy | None = None
    """Of a table with the strategy `merge` or `delete+insert`."""
    history: HistoryPolicy | None = None
    """Of a table with the strategy `scd2`."""
    rules: tuple[Rule, ...] = ()
    table_rules: tuple[TableRule, ...] = ()
    fresh_within: timedelta | None = None
    upkeep: Upkeep = field(default_factory=Upkeep)
    evolution: Evolution = Evolution.EVOLVE
    drop: frozenset[str] = frozenset()
    version: str = "1.0.0"

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns of the Iceberg table: those declared, and in bronze the metadata columns behind them."""
        if self.name.layer is not Layer.BRONZE:
            return self.columns
        # Nobody knows what the source adds to rows about people.
        personal = any(column.personal for column in self.columns)
        extra = (replace(column, personal=personal and column.name == EXTRA) for column in METADATA_COLUMNS)
        whole = self.load is not None and self.load.options.get("watermark") == "full"
        return (*self.columns, *extra, *([DELETED] if whole else []))

    @property
    def source_columns(self) -> tuple[Column, ...]:
        """The columns that a load asks its source for: those declared, but the one that it computes itself."""
        derived = self.window_column if self.business_day is not None else None
        return tuple(column for column in self.columns if column.name != derived)

    @property
    def personal_columns(self) -> frozenset[str]:
        """Names of the columns that previews mask."""
        return frozenset(column.name for column in self.stored_columns if column.personal)

    @property
    def windowed(self) -> bool:
        """Whether the table belongs to a daily chain in Dagster (bronze tables are unpartitioned there)."""
        return self.window_column is not None and self.name.layer in {Layer.SILVER, Layer.GOLD}

    @property
    def follows_by_days(self) -> bool:
        """Whether its days are computed anew when what it reads changes: a table that appends would hold them twice."""
        return self.windowed and self.strategy is Strategy.OVERWRITE

    def column(self, name: str) -> Column:
        """The stored column of that name. Raises KeyError."""
        for column in self.stored_columns:
            if column.name == name:
                return column
        raise KeyError(name)
