"""What starts work by itself: a job and a nightly schedule for each domain, and a sensor on landing folders.

All are switched on. What the work is belongs to the assets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.orchestration import s3
from lakehouse.orchestration.specs import table_key
from lakehouse.settings import FilesSource, Settings
from lakehouse.tables import Layer, Table

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

_LANDING_SECONDS = 30


def jobs(declarations: Declarations) -> list[dg.UnresolvedAssetJobDefinition]:
    """`<domain>_bronze`: load what is new from every source of the domain."""
    return [_bronze_job(domain) for domain in _domains(declarations)]


def schedules(declarations: Declarations) -> list[dg.ScheduleDefinition]:
    """Every night at 02:00 UTC, each domain's sources are loaded."""
    return [
        dg.ScheduleDefinition(
            name=f"{domain}_nightly",
            job_name=f"{domain}_bronze",
            cron_schedule="0 2 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Loads what is new into the bronze tables of {domain}.",
        )
        for domain in _domains(declarations)
    ]


def sensors(settings: Settings, declarations: Declarations) -> list[dg.SensorDefinition]:
    """One sensor a table that is loaded from files."""
    return [
        _landing_sensor(settings, table)
        for table in declarations.values()
        if table.load and isinstance(settings.sources.get(table.load.source), FilesSource)
    ]


def _bronze_job(domain: str) -> dg.UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        f"{domain}_bronze",
        selection=dg.AssetSelection.groups(f"{domain}_{Layer.BRONZE.value}"),
        description=f"Loads what is new into the bronze tables of {domain}.",
    )


def _domains(declarations: Declarations) -> list[str]:
    return sorted({table.domain for table in declarations.values() if table.name.layer is Layer.BRONZE})


def _landing_sensor(settings: Settings, table: Table) -> dg.SensorDefinition:
    needed = s3.resource_keys(settings, table)

    @dg.sensor(
        name=f"{table.name.table}_landing",
        asset_selection=dg.AssetSelection.assets(table_key(table.name)),
        minimum_interval_seconds=_LANDING_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=needed,
        description=f"Loads {table.name} when files arrive or change in the landing folder.",
    )
    def landing(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from lakehouse.sources import open_source

        client = s3.client(context) if needed else None
        arrived = open_source(settings, table, s3=client).read(None)
        listing = hashlib.sha256(repr(arrived and arrived.reached).encode()).hexdigest()[:16]
        if listing == context.cursor:
            yield dg.SkipReason("no file arrived or changed")
            return
        context.update_cursor(listing)
        # The key names the listing, so that a restarted daemon asks for no second run.
        yield dg.RunRequest(run_key=f"{table.name}:{listing}")

    return landing
