"""What the sensors that ask for loads have in common: how far a table has come, and what its contract says.

When they ask is told in `arrivals.py` and `polls.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse.tables import Position, Table

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake


def reached(lake: Lake, table: Table) -> Position | None:
    """The position in its source that a table's main has reached; None before its first load. Raises CatalogError."""
    from lakehouse.errors import TableMissing
    from lakehouse.ingest.interval import SCOPE

    try:
        return lake.look(table.name).progress(SCOPE)
    except TableMissing:
        return None


def stated(table: Table) -> str:
    """A digest of what a contract says: a load that it held back may pass once it says something else."""
    # The order of a set is another one in every process.
    text = f"{replace(table, drop=frozenset())} {sorted(table.drop)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
