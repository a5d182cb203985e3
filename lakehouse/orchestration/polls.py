"""Sensors that ask databases and APIs for something new, where the settings say how often (`automation.poll_seconds`).

What "new" is, a source answers to the table's own progress; files have a sensor of their own (`arrivals.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import dagster as dg

from lakehouse.orchestration.conditions import ASKED_BY, sensor_status
from lakehouse.orchestration.loads import reached, stated
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.under_way import Jobs, under_way
from lakehouse.settings import FilesSource, Settings
from lakehouse.tables import Table


def poll_sensors(settings: Settings, graph: ModelGraph, jobs: Jobs) -> list[dg.SensorDefinition]:
    """One sensor a source that is no folder: what is new of all tables that are loaded from it is loaded in one run."""
    if settings.automation.poll_seconds is None:
        return []
    tables: dict[str, list[Table]] = {}
    for table in graph.declarations.values():
        source = settings.sources.get(table.load.source) if table.load else None
        if table.load and source is not None and not isinstance(source, FilesSource):
            tables.setdefault(table.load.source, []).append(table)
    return [_poll_sensor(settings, graph, jobs, name, of) for name, of in sorted(tables.items())]


def _poll_sensor(
    settings: Settings, graph: ModelGraph, jobs: Jobs, source: str, tables: Sequence[Table]
) -> dg.SensorDefinition:
    every = graph.keys(graph.along_with(table.name for table in tables))

    @dg.sensor(
        name=f"{source}_poll",
        asset_selection=dg.AssetSelection.assets(*every),
        minimum_interval_seconds=settings.automation.poll_seconds,
        default_status=sensor_status(enabled=settings.automation.enabled),
        description=f"Loads the tables of the source {source} that have something new there.",
    )
    def poll(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from lakehouse.iceberg import Lake
        from lakehouse.sources import open_source

        busy = under_way(context.instance, jobs).tables
        if any(table.name in busy for table in tables):
            return dg.SkipReason(f"a load of {source} is under way")
        lake = Lake.open(settings)
        at = {table.name: reached(lake, table) for table in tables}
        new = [table for table in tables if open_source(settings, table).pending(at[table.name])]
        if not new:
            return dg.SkipReason(f"nothing new in {source}")
        # The same rows from the same place, under the same contract, are asked for once: a load that fails is tried
        # again at night.
        told = json.dumps({str(of.name): [at[of.name], stated(of)] for of in new}, sort_keys=True, default=str)
        return dg.RunRequest(
            run_key=f"{source}:{hashlib.sha256(told.encode()).hexdigest()[:16]}",
            asset_selection=list(graph.keys(graph.along_with(of.name for of in new))),
            tags={ASKED_BY: f"{source}_poll"},
        )

    return poll
