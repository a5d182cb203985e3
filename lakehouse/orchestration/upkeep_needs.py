"""Which tables need upkeep now, and why; and which are left for a day, because it has failed for them.

Metadata is read, and nothing is changed. When this is asked is `upkeep_schedule.py`; what a table needs, and what is
done about it, `lakehouse/upkeep/`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.errors import LakehouseError, TableMissing
from lakehouse.orchestration.upkeep_tables import Target
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake
    from lakehouse.ledger import LastTry
    from lakehouse.upkeep.health import Look

TABLE_TAG = "lakehouse/table"
_DAY = timedelta(hours=20)
"""A run begins some time after the tick that asked for it: a whole day later, tomorrow's tick is past."""


@dataclass
class Needs:
    """Reasons by table: for a run now, and for none before tomorrow."""

    now: dict[Target, str] = field(default_factory=dict)
    later: dict[Target, str] = field(default_factory=dict)


def needs(settings: Settings, lake: Lake, targets: Sequence[Target], instance: dg.DagsterInstance) -> Needs:
    """What tables need. One that cannot be looked at gets a run, which says why.

    Raises CatalogError when the lake cannot be reached.
    """
    from lakehouse.iceberg import LastReads
    from lakehouse.ledger import last_tries
    from lakehouse.upkeep import policy_of
    from lakehouse.upkeep.health import look_at
    from lakehouse.upkeep.plan import plan_of

    now, reads = datetime.now(UTC), LastReads(lake)
    by_table, found = last_tries(lake), Needs()
    for target in targets:
        tries = by_table.get(target.name, {})
        if lately := _failures(tries, after=now - _DAY):
            found.later[target] = "; ".join(lately)
            continue
        try:
            policy = policy_of(settings, lake, target.name)
            look = look_at(lake, target.name, policy, now=now, reads=reads)
        except TableMissing:
            continue
        except LakehouseError as error:
            # Raises when it is the catalog that does not answer, not the table that is broken.
            lake.exists(target.name)
            # Its run will fail before it can leave anything in `ops.upkeep`.
            which = found.later if _failed(instance, target, after=now - _DAY) else found.now
            which[target] = f"it cannot be looked at: {error.what}"
            continue
        plan = plan_of(look, policy)
        reasons = [*(() if plan.nothing else plan.reasons), *_listing(tries, look, now)]
        if reasons:
            found.now[target] = "; ".join([*reasons, *_failures(tries)])
    return found


def tables_of(instance: dg.DagsterInstance, statuses: Collection[dg.DagsterRunStatus]) -> set[str]:
    """The tables whose upkeep a tick asked for by a run that is in one of these states."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=list(statuses)))
    return {run.tags[TABLE_TAG] for run in runs if TABLE_TAG in run.tags}


def _listing(tries: Mapping[str, LastTry], look: Look, now: datetime) -> Iterator[str]:
    """Why the table's folders are to be listed, if they are."""
    last = tries.get("orphans")
    # A table that was never listed is given a day: no file is old enough before.
    since = last.at if last else look.health.oldest_snapshot_at
    if since is None or now - since < _DAY:
        return
    if last is not None and last.failure is not None:
        yield "orphaned files are to be looked for again"
    else:
        yield f"orphaned files were not looked for since {since:%Y-%m-%d %H:%M}"


def _failures(tries: Mapping[str, LastTry], *, after: datetime | None = None) -> list[str]:
    """What went wrong at the last try of each action."""
    return [
        f"{action} failed at {last.at:%Y-%m-%d %H:%M}: {last.failure}"
        for action, last in sorted(tries.items())
        if last.failure is not None and (after is None or last.at > after)
    ]


def _failed(instance: dg.DagsterInstance, target: Target, *, after: datetime) -> bool:
    """Whether a run that a tick asked for has failed since."""
    failed = [dg.DagsterRunStatus.FAILURE]
    runs = dg.RunsFilter(statuses=failed, tags={TABLE_TAG: str(target.name)}, created_after=after)
    return bool(instance.get_runs(filters=runs, limit=1))
