"""When upkeep starts by itself: a schedule a group, whose tick asks for a run of each table that needs one.

A tick reads metadata only, and changes nothing. What a table needs is decided in `lakehouse/upkeep/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.errors import LakehouseError, SettingsError, TableMissing
from lakehouse.orchestration.upkeep_tables import Target, upkeep_groups
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Lake

TABLE_TAG = "lakehouse/table"
REASON_TAG = "lakehouse/upkeep"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LISTED_EVERY = timedelta(days=1)


def upkeep_schedules(settings: Settings, declarations: Declarations) -> list[dg.ScheduleDefinition]:
    """One schedule a group of tables, all on the clock `[tool.lakehouse.upkeep] schedule` (UTC), switched on."""
    return [_schedule(settings, group, targets) for group, targets in upkeep_groups(declarations).items()]


def _schedule(settings: Settings, group: str, targets: Sequence[Target]) -> dg.ScheduleDefinition:
    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        yield from _requests(settings, context, targets)

    try:
        return dg.ScheduleDefinition(
            name=group,
            job_name=group,
            cron_schedule=settings.upkeep.schedule,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Looks at each table's metadata, and asks for a run of upkeep for those that need one.",
            execution_fn=tick,
        )
    except dg.DagsterInvalidDefinitionError:
        raise SettingsError(
            "setting 'upkeep.schedule' is not a clock",
            expected="a cron expression of five fields, in UTC",
            found=settings.upkeep.schedule,
            remedy="Mend it in [tool.lakehouse.upkeep] or in the variable LAKEHOUSE_UPKEEP__SCHEDULE.",
        ) from None


def _requests(
    settings: Settings, context: dg.ScheduleEvaluationContext, targets: Sequence[Target]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A run for each table that needs one and has none under way, else why there is none.

    Raises CatalogError when the lake cannot be reached.
    """
    from lakehouse.iceberg import Lake

    lake = Lake.open(settings)
    known = set(lake.names())
    there = [target for target in targets if target.name in known]
    busy = _under_way(context.instance)
    idle = [target for target in there if str(target.name) not in busy]
    needs = _needs(settings, lake, idle)
    for target, reason in needs.items():
        yield dg.RunRequest(
            run_key=f"{target.name}:{context.scheduled_execution_time.isoformat()}",
            asset_selection=[target.key],
            tags={TABLE_TAG: str(target.name), REASON_TAG: reason},
        )
    if not needs:
        yield dg.SkipReason(
            _nothing(looked_at=len(idle), busy=len(there) - len(idle), missing=len(targets) - len(there))
        )


def _needs(settings: Settings, lake: Lake, targets: Sequence[Target]) -> dict[Target, str]:
    """Why a table needs upkeep, for those that do; what cannot be looked at is left to a run, which says why."""
    from lakehouse.ledger import last_done
    from lakehouse.upkeep import Action, policy_of
    from lakehouse.upkeep.health import look_at
    from lakehouse.upkeep.plan import plan_of

    now = datetime.now(UTC)
    listed = last_done(lake, Action.ORPHANS)
    found: dict[Target, str] = {}
    for target in targets:
        try:
            policy = policy_of(settings, lake, target.name)
            look = look_at(lake, target.name, policy, now=now)
        except TableMissing:
            continue
        except LakehouseError as error:
            # Raises when it is the catalog that does not answer, not the table that is broken.
            lake.exists(target.name)
            found[target] = f"it cannot be looked at: {error.what}"
            continue
        plan = plan_of(look, policy)
        reasons = [] if plan.nothing else list(plan.reasons)
        # A table that was never listed is given a day: no file is old enough before.
        since = listed.get(target.name, look.health.oldest_snapshot_at)
        if since is not None and now - since >= _LISTED_EVERY:
            reasons.append(f"orphaned files were not looked for since {since:%Y-%m-%d %H:%M}")
        if reasons:
            found[target] = "; ".join(reasons)
    return found


def _under_way(instance: dg.DagsterInstance) -> set[str]:
    """The tables whose upkeep was asked for and has not ended: on a short clock a tick may come before it."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    return {run.tags[TABLE_TAG] for run in runs if TABLE_TAG in run.tags}


def _nothing(*, looked_at: int, busy: int, missing: int) -> str:
    parts = [f"{looked_at} tables looked at, none has anything to do"]
    if busy:
        parts.append(f"upkeep of {busy} is under way")
    if missing:
        parts.append(f"{missing} are not there yet")
    return "; ".join(parts)
