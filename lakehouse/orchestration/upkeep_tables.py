"""Which tables are kept up, and where: declared ones, what is quarantined from them, and the lake's own.

All follows from the contracts, so that nothing is asked of the lake: a table need not be there yet. What upkeep does
is `lakehouse/upkeep/`; its assets are `upkeep_assets.py`, when they run is `upkeep_schedule.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.orchestration.specs import pool_of, table_key
from lakehouse.tables import Layer, Table, TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

UPKEEP = "upkeep"
"""First part of the asset keys; also `lakehouse.upkeep`."""

LEDGERS = tuple(TableName(Layer.OPS, name) for name in ("checks", "loads", "orphans", "upkeep"))
"""The tables of `ledger/`, known by name: to import them would bring in all of the lake."""

_OWN = "lakehouse"


@dataclass(frozen=True)
class Target:
    """A table that is kept up.

    `pool` is the one of the step that writes the table, so that upkeep never runs beside it. `written_by` is that
    step's asset. `group` is also the name of a job and of a schedule.
    """

    name: TableName
    group: str
    pool: str
    written_by: dg.AssetKey | None = None
    owners: tuple[str, ...] = ()

    @property
    def key(self) -> dg.AssetKey:
        """`upkeep/silver/orders`."""
        return dg.AssetKey([UPKEEP, *self.name.key])

    @property
    def op(self) -> str:
        """The name of its step."""
        return "__".join(self.key.path)


def upkeep_targets(declarations: Declarations) -> tuple[Target, ...]:
    """Every table of the project, in the order of the contracts, the lake's own last."""
    return (
        *(_declared(table) for table in declarations.values()),
        *(_quarantine(table) for table in declarations.values() if table.load),
        *(Target(name, _group(_OWN), pool=str(name)) for name in LEDGERS),
    )


def upkeep_groups(declarations: Declarations) -> dict[str, tuple[Target, ...]]:
    """The tables by group: `<domain>_upkeep`, and `lakehouse_upkeep` for what no contract declares."""
    found: dict[str, list[Target]] = {}
    for target in upkeep_targets(declarations):
        found.setdefault(target.group, []).append(target)
    return {group: tuple(tables) for group, tables in sorted(found.items())}


def upkeep_jobs(declarations: Declarations) -> Iterator[dg.UnresolvedAssetJobDefinition]:
    """One job a group: upkeep of all its tables, whether they need it or not."""
    for group in upkeep_groups(declarations):
        yield dg.define_asset_job(
            group,
            selection=dg.AssetSelection.groups(group),
            description=f"Compacts, expires and clears {_whose(group)}.",
        )


def _declared(table: Table) -> Target:
    return Target(table.name, _group(table.domain), pool_of(table), table_key(table.name), table.owners)


def _quarantine(table: Table) -> Target:
    """What `ingest/quarantine.py` calls the table: the step that loads the bronze table writes it."""
    name = TableName(Layer.QUARANTINE, f"{table.domain}_{table.name.table}")
    return Target(name, _group(_OWN), pool_of(table), table_key(table.name), table.owners)


def _group(domain: str) -> str:
    return f"{domain}_{UPKEEP}"


def _whose(group: str) -> str:
    domain = group.removesuffix(f"_{UPKEEP}")
    return "the lake's own tables and quarantines" if domain == _OWN else f"the tables of {domain}"
