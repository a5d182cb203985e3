"""What starts work by itself: a job and a nightly schedule for each domain, and the sensors, in one place.

What the sensors look at is told in their own modules, what the work is by the assets.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from lakehouse.orchestration.arrivals import landing_sensors
from lakehouse.orchestration.changes import changes_sensor
from lakehouse.orchestration.conditions import repairs
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.polls import poll_sensors
from lakehouse.orchestration.rejects import DISCARD, REPLAY
from lakehouse.orchestration.specs import table_key
from lakehouse.orchestration.upkeep_tables import upkeep_groups
from lakehouse.settings import Settings
from lakehouse.tables import Layer, TableName


def jobs(graph: ModelGraph) -> list[dg.UnresolvedAssetJobDefinition]:
    """`<domain>_bronze`: load what is new from every source of the domain, and rebuild the undated models below."""
    return [
        dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*graph.keys(tables)),
            description="Loads what is new from every source, and rebuilds the models without days that read it.",
        )
        for name, tables in _loads(graph).items()
    ]


def schedules(graph: ModelGraph) -> list[dg.ScheduleDefinition]:
    """Every night at 02:00 UTC, each domain's sources are loaded."""
    return [
        dg.ScheduleDefinition(
            name=f"{domain}_nightly",
            job_name=f"{domain}_bronze",
            cron_schedule="0 2 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Loads what is new into the bronze tables of {domain}.",
        )
        for domain in _domains(graph)
    ]


def sensors(settings: Settings, graph: ModelGraph) -> list[dg.SensorDefinition]:
    """Of arriving files, of sources that are polled, and of changes with what answers them."""
    known = _known_jobs(graph)
    found = [*landing_sensors(settings, graph, known), *poll_sensors(settings, graph, known)]
    if graph.parents:
        found.append(changes_sensor(settings, graph, known))
    if graph.daily:
        daily = dg.AssetSelection.assets(*map(table_key, sorted(graph.daily)))
        found.append(repairs(enabled=settings.automation.enabled, tables=daily))
    return found


def _loads(graph: ModelGraph) -> dict[str, frozenset[TableName]]:
    """The tables of each load job, by its name."""
    return {f"{domain}_bronze": graph.along_with(_bronze(graph, domain)) for domain in _domains(graph)}


def _known_jobs(graph: ModelGraph) -> Mapping[str, frozenset[TableName]]:
    """What a run of a whole job makes. Upkeep makes nothing; what a replay brings is loaded already."""
    nothing = (*upkeep_groups(graph.declarations), REPLAY, DISCARD)
    return {**dict.fromkeys(nothing, frozenset[TableName]()), **_loads(graph)}


def _domains(graph: ModelGraph) -> list[str]:
    return sorted({table.domain for table in graph.declarations.values() if table.name.layer is Layer.BRONZE})


def _bronze(graph: ModelGraph, domain: str) -> list[TableName]:
    return [name for name, table in graph.declarations.items() if name.layer is Layer.BRONZE and table.domain == domain]
