"""How a table is filled, written and kept in shape, as its contract declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

FEW_KEYS = 100
"""A table of fewer keys may lose all of them: see `LoadPolicy.deletes_limit`."""


class Strategy(StrEnum):
    """How a model's result enters its table."""

    REPLACE = "replace"
    """The result is the table."""
    APPEND = "append"
    """The result is added."""
    OVERWRITE = "overwrite"
    """The result replaces the days of the window that was asked for."""
    MERGE = "merge"
    """Each row of the result replaces the row with its key, or is added. See MergePolicy."""
    DELETE_INSERT = "delete+insert"
    """The result replaces all rows that have a key of one of its rows; several rows may have the same key."""
    SCD2 = "scd2"
    """The result tells what keys are like from a moment on; the table has a row for each version. See HistoryPolicy."""


@dataclass(frozen=True)
class MergePolicy:
    """How the rows of a result find those that they replace, for the strategies `merge` and `delete+insert`.

    `key`: columns of the table, its primary key unless the contract says otherwise. For `merge` alone: `sequence`, a
    column of the table, of which an older value never replaces a newer one; `deleted`, a boolean column of the result
    that the table does not have: where it is true, the key goes; `late`: for how long a deleted key is remembered.
    """

    key: tuple[str, ...]
    sequence: str | None = None
    deleted: str | None = None
    late: timedelta = timedelta(days=30)


@dataclass(frozen=True)
class HistoryPolicy:
    """How the versions of a slowly changing dimension follow from the rows of a result, for the strategy `scd2`.

    The result has the column `valid_from`, the moment from which on a row tells what its key is like, and all columns
    of the table but `valid_to`, `current` and `surrogate`, which are computed. `tracked`: the attributes whose change
    begins a version, all of them if empty. `deleted`: as in MergePolicy. `complete`: the result has all that is known
    of each of its keys; otherwise it adds to what the table holds, and `late` says for how long repeats are remembered.
    """

    key: tuple[str, ...]
    tracked: tuple[str, ...] = ()
    deleted: str | None = None
    complete: bool = True
    valid_from: str = "valid_from"
    valid_to: str = "valid_to"
    current: str | None = "is_current"
    surrogate: str | None = None
    late: timedelta = timedelta(days=30)

    @property
    def computed(self) -> Mapping[str, tuple[str, ...]]:
        """The columns that a result does not have: by name, those that each is computed from."""
        origins = {
            self.valid_to: (self.valid_from,),
            self.current: (self.valid_from,),
            self.surrogate: (*self.key, self.valid_from),
        }
        return {name: columns for name, columns in origins.items() if name is not None}


class Drift(StrEnum):
    """What a load does when its source has other columns, or columns of other types, than the contract says."""

    EVOLVE = "evolve"
    """It goes on: columns that the contract does not name are kept in `_extra`, and the check shows the difference."""
    FREEZE = "freeze"
    """It stops before it reads."""
    QUARANTINE = "quarantine"
    """It rejects every row and publishes nothing; the rows are held."""


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
    reject_rows: int | None = None
    """How many of them may be, whatever their share; None: their share alone counts."""

    deletes_limit: float = 0.5
    """The share of a table's keys that a load may find gone from its source before it fails and publishes nothing."""
    drift: Drift = Drift.EVOLVE

    @property
    def limit(self) -> str:
        """How many rows may be quarantined, in words."""
        shares = [f"{self.reject_limit:.2%} of the rows"] if self.reject_limit < 1 or self.reject_rows is None else []
        return ", and ".join([*shares, *([] if self.reject_rows is None else [f"{self.reject_rows:,} rows"])])

    def too_many(self, rejected: int, read: int) -> bool:
        """Whether a load that read and rejected so many rows must not go on."""
        most = self.reject_limit * read
        return rejected > (most if self.reject_rows is None else min(most, self.reject_rows))

    def too_many_gone(self, gone: int, keys: int) -> bool:
        """Whether a load that found so many of its table's keys gone must not go on; a small table may lose all."""
        return keys >= FEW_KEYS and gone > self.deletes_limit * keys

    @property
    def ignored(self) -> frozenset[str]:
        """Columns of the source that are not kept, and columns of the contract whose type is not compared.

        The load option `ignore`, which every kind of source has; that it is a list of text, the contract's reader says.
        """
        names = self.options.get("ignore")
        return frozenset(map(str, names)) if isinstance(names, list | tuple) else frozenset()


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
