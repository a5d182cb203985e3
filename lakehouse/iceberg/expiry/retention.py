"""How long a table keeps its snapshots and refs: its properties, as Iceberg names them.

What follows for each snapshot is `plan.py`; where the properties come from is `schemas/evolve.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.table import TableProperties
from pyiceberg.table.metadata import TableMetadata

from lakehouse.errors import CatalogError
from lakehouse.tables import TableName

MAX_SNAPSHOT_AGE_MS = TableProperties.MAX_SNAPSHOT_AGE_MS
MIN_SNAPSHOTS_TO_KEEP = TableProperties.MIN_SNAPSHOTS_TO_KEEP
MAX_REF_AGE_MS = "history.expire.max-ref-age-ms"
GC_ENABLED = "gc.enabled"


@dataclass(frozen=True)
class Retention:
    """What a table's properties say; the defaults are those of Iceberg's Java library. `max_ref_age_ms` None: for ever.

    `collects` is False for a table whose files belong to somebody else too (`gc.enabled`): nothing of it may go.
    """

    max_snapshot_age_ms: int = TableProperties.MAX_SNAPSHOT_AGE_MS_DEFAULT
    min_snapshots: int = TableProperties.MIN_SNAPSHOTS_TO_KEEP_DEFAULT
    max_ref_age_ms: int | None = None
    collects: bool = True

    @classmethod
    def of(cls, name: TableName, metadata: TableMetadata) -> Retention:
        """The rules of a table. Raises CatalogError for a property that is no number of 1 or more."""

        def number(key: str, default: int) -> int:
            text = metadata.properties.get(key)
            if text is None:
                return default
            if not text.isdecimal() or int(text) < 1:
                raise CatalogError(
                    f"the property {key} of {name} cannot be used",
                    expected="a whole number, 1 or more",
                    found=text[:50],
                    remedy="Set it to a number, or remove it.",
                )
            return int(text)

        return cls(
            number(MAX_SNAPSHOT_AGE_MS, cls.max_snapshot_age_ms),
            number(MIN_SNAPSHOTS_TO_KEEP, cls.min_snapshots),
            number(MAX_REF_AGE_MS, 0) or None,
            metadata.properties.get(GC_ENABLED, "true").lower() != "false",
        )
