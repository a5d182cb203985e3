"""When upkeep starts by itself: a schedule a group, whose tick asks for a run of each table that needs one.

A tick reads metadata only, and changes nothing. Which tables need one is `upkeep_needs.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.errors import SettingsError
from lakehouse.orchestration.under_way import UNFINISHED
from lakehouse.orchestration.upkeep_needs import TABLE_TAG, needs, tables_of
from lakehouse.orchestration.upkeep_tables import Target, upkeep_groups
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

REASON_TAG = "lakehouse/upkeep"


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
    busy = tables_of(context.instance, UNFINISHED)
    idle = [target for target in there if str(target.name) not in busy]
    found = needs(settings, lake, idle, context.instance)
    for target, reason in found.now.items():
        yield dg.RunRequest(
            run_key=f"{target.name}:{context.scheduled_execution_time.isoformat()}",
            asset_selection=[target.key],
            tags={TABLE_TAG: str(target.name), REASON_TAG: reason},
        )
    if not found.now:
        yield dg.SkipReason(
            _nothing(
                looked_at=len(idle) - len(found.later),
                busy=len(there) - len(idle),
                missing=len(targets) - len(there),
                later=found.later,
            )
        )


def _nothing(*, looked_at: int, busy: int, missing: int, later: Mapping[Target, str]) -> str:
    parts = [f"{looked_at} tables looked at, none has anything to do"]
    if busy:
        parts.append(f"upkeep of {busy} is under way")
    if missing:
        parts.append(f"{missing} are not there yet")
    parts += (f"{target.name} is left for a day: {reason}" for target, reason in later.items())
    return "; ".join(parts)
