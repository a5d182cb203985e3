"""Sensors on landing folders and buckets: files become events of their own days, and ask for a load.

What files are there is told by `sources/`; what a load reads of them is its own progress' business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.orchestration import s3
from lakehouse.orchestration.conditions import ASKED_BY, LOOK_SECONDS, sensor_status
from lakehouse.orchestration.loads import reached, stated
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.specs import source_key
from lakehouse.orchestration.under_way import Jobs, under_way
from lakehouse.settings import FilesSource, Settings
from lakehouse.tables import Table

if TYPE_CHECKING:
    from lakehouse.sources import Arrival

_MOST_EVENTS = 400
"""Days that one tick tells of, the newest; more at once are a first look at an old folder."""
_MOST_PATHS = 20

_CONTRACT = "contract"
"""Beside the days: what the contract said."""

_Listing = Mapping[str, str]
"""By day (ISO), a digest of the day's files: all that is remembered of them, so that it stays small."""


def landing_sensors(settings: Settings, graph: ModelGraph, jobs: Jobs) -> list[dg.SensorDefinition]:
    """One sensor a table that is loaded from files."""
    return [
        _landing_sensor(settings, graph, jobs, table)
        for table in graph.declarations.values()
        if table.load and isinstance(settings.sources.get(table.load.source), FilesSource)
    ]


def _landing_sensor(settings: Settings, graph: ModelGraph, jobs: Jobs, table: Table) -> dg.SensorDefinition:
    needed = s3.resource_keys(settings, table)
    loaded = graph.keys(graph.along_with([table.name]))

    @dg.sensor(
        name=f"{table.name.table}_landing",
        asset_selection=dg.AssetSelection.assets(*loaded),
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=sensor_status(enabled=settings.automation.enabled),
        required_resource_keys=needed,
        description=f"Loads {table.name} when files arrive or change in the landing folder.",
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse.iceberg import Lake
        from lakehouse.sources import FilesReader

        source = settings.sources[table.load.source] if table.load else None
        if not isinstance(source, FilesSource):
            return dg.SkipReason(f"{table.name} is not loaded from files")
        reader = FilesReader(settings, source, table, s3.client(context) if needed else None)
        arrived = _by_day(reader.arrivals())
        listing = {day.isoformat(): _digest(files) for day, files in arrived.items()}
        known, said = _known(context.cursor)
        text = json.dumps({**listing, _CONTRACT: stated(table)})
        if listing == known:
            nothing = dg.SkipReason("no file arrived or changed")
            if said == stated(table):
                return nothing
            # What the contract held back may pass now that it says something else.
            if said is None or not reader.pending(reached(Lake.open(settings), table)):
                return dg.SensorResult(skip_reason=nothing, cursor=text)
        if table.name in under_way(context.instance, jobs).tables:
            # It may have listed the folder before; its successor loads all that came meanwhile.
            return dg.SkipReason(f"files arrived; a load of {table.name} is under way")
        changed = sorted(day for day in arrived if listing[day.isoformat()] != known.get(day.isoformat()))
        return dg.SensorResult(
            # The key names the listing and the contract, so that a restarted daemon asks for no second run.
            run_requests=[
                dg.RunRequest(
                    run_key=f"{table.name}:{hashlib.sha256(text.encode()).hexdigest()[:16]}",
                    asset_selection=list(loaded),
                    tags={ASKED_BY: f"{table.name.table}_landing"},
                )
            ],
            asset_events=[_event(table, day, arrived[day]) for day in changed[-_MOST_EVENTS:]],
            cursor=text,
        )

    return landing


def _by_day(arrivals: Iterable[Arrival]) -> dict[date, list[Arrival]]:
    found: dict[date, list[Arrival]] = {}
    for arrival in arrivals:
        found.setdefault(arrival.day, []).append(arrival)
    return found


def _digest(files: Sequence[Arrival]) -> str:
    told = "\n".join(f"{file.path} {file.size} {file.version}" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _known(cursor: str | None) -> tuple[_Listing, str | None]:
    """The days, and what the contract said; None: nobody knows."""
    try:
        known = json.loads(cursor or "{}")
    except ValueError:
        # Of a release that remembered something else: all files are told of once more, and nothing is loaded twice.
        return {}, None
    if not isinstance(known, dict):
        return {}, None
    said = known.pop(_CONTRACT, None)
    return known, said


def _event(table: Table, day: date, files: Sequence[Arrival]) -> dg.AssetMaterialization:
    """What there is of a day: its files, newest first, and how late the newest came.

    The files of a day are due until the next day (UTC) is over; one that comes on the day after is one day late.
    """
    newest = sorted(files, key=lambda file: (file.modified, file.path), reverse=True)
    late = max((newest[0].modified.astimezone(UTC).date() - day).days - 1, 0)
    return dg.AssetMaterialization(
        source_key(table),
        partition=day.isoformat(),
        description=f"{newest[0].path} arrived" + (f", {late} {'day' if late == 1 else 'days'} late" if late else ""),
        metadata={
            "lakehouse/files": len(files),
            "lakehouse/bytes": sum(file.size for file in files),
            "lakehouse/newest": newest[0].modified.isoformat(),
            "lakehouse/days_late": late,
            "lakehouse/paths": dg.MetadataValue.json([file.path for file in newest[:_MOST_PATHS]]),
        },
    )
