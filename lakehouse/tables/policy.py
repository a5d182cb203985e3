"""How a table is filled, written and kept in shape, as its contract declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Strategy(StrEnum):
    """How a model's result enters its table. `merge` takes its place beside these when the merge effect lands."""

    REPLACE = "replace"
    """The result is the table."""
    APPEND = "append"
    """The result is added."""
    OVERWRITE = "overwrite"
    """The result replaces the days of the window that was asked for."""


@dataclass(frozen=True)
class LoadPolicy:
    """Where a bronze table's rows come from.

    `source` names a connection of the settings (`sources.<name>`); `options` are those of that kind of source (see
    `sources/`), e.g. `{"table": "public.orders", "watermark": "updated_at"}`.
    """

    source: str
    options: Mapping[str, object] = field(default_factory=dict)
    reject_limit: float = 0.05
    """The share of a load's rows that may be quarantined before the load fails and publishes nothing."""


class Evolution(StrEnum):
    """Whether a table follows its contract when the contract changes."""

    EVOLVE = "evolve"
    """Columns, partitions and sort order follow the contract as far as the rows that are there allow."""
    FREEZE = "freeze"
    """Any difference is an error."""


@dataclass(frozen=True)
class Upkeep:
    """What upkeep may do with a table."""

    target_file_mb: int = 128
    keep_snapshots: timedelta = timedelta(days=7)
