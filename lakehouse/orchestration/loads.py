"""What loads are told by: the balance of one, for its asset; for sensors how far a table has come, and its contract.

When sensors ask is told in `arrivals.py` and `polls.py`, what a load does in `ingest/`. What a run that loads begins
early for its models is here, too.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.orchestration.metadata import markdown_table
from lakehouse.settings import Profile, Settings
from lakehouse.tables import Layer, Position, Table

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import LoadResult


def reached(lake: Lake, table: Table) -> Position | None:
    """The position in its source that a table's main has reached; None before its first load. Raises CatalogError."""
    from lakehouse.errors import TableMissing
    from lakehouse.ledger import LOAD_SCOPE

    try:
        return lake.look(table.name).progress(LOAD_SCOPE)
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


_COUNTED = {
    "read": "by the source if it can",
    "published": "in bronze's manifests",
    "quarantined": "in the quarantine",
    "seen": "in either of them already",
    "difference": "must be 0",
}


def balance_metadata(result: LoadResult) -> dict[str, Any]:
    """The balance of a load as a table for people and as numbers to plot, with its retries and its lag."""
    counts = {
        "read": result.rows_read,
        "published": result.rows_published,
        "quarantined": result.rows_quarantined,
        "seen": result.rows_seen,
        "difference": result.difference,
    }
    rows = [{"rows": name, "number": f"{counts[name]:,}", "counted": how} for name, how in _COUNTED.items()]
    lag = {} if result.lag is None else {"lakehouse/lag_seconds": result.lag.total_seconds()}
    size = {} if result.bytes_read is None else {"lakehouse/bytes_read": result.bytes_read}
    gone = {"lakehouse/rows_deleted": result.rows_deleted} if result.rows_deleted else {}
    return {
        "lakehouse/balance": dg.MetadataValue.md(markdown_table(rows)),
        **{f"lakehouse/rows_{name}": count for name, count in counts.items()},
        **gone,
        "lakehouse/retries": result.retries,
        **size,
        **lag,
    }
