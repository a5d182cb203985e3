"""What the sensors that ask for loads have in common: how far a table has come, and what its contract says.

When they ask is told in `arrivals.py` and `polls.py`. What a run of theirs begins early for its models is here, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse.settings import Profile, Settings
from lakehouse.tables import Layer, Position, Table

if TYPE_CHECKING:
    import dagster as dg

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


def warm_for_models(settings: Settings, run: dg.DagsterRun) -> None:
    """Begin the imports of dbt in a process beside this one, when models follow in this very process."""
    follow = {key.path[0] for key in run.asset_selection or ()} - {Layer.BRONZE.value}
    if follow and settings.profile is Profile.EMBEDDED:
        from lakehouse.transform.dbt_process import warm

        warm(settings)
