"""What a run of Dagster's is about: the tables that it was to write, and their days, out of its events and tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg

from lakehouse.orchestration.upkeep_tables import UPKEEP
from lakehouse.tables import TableName, Window

_PARTITION, _FIRST, _LAST = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


@dataclass(frozen=True)
class Planned:
    """What a run was to write, of the tables asked about: the step of each; and those whose upkeep it is."""

    steps: Mapping[TableName, str]
    kept_up: tuple[TableName, ...]

    @classmethod
    def of(cls, instance: dg.DagsterInstance, run_id: str, chain: Sequence[TableName]) -> Planned:
        """Out of the events that a run begins with; they are there while it waits in the queue."""
        planned = {
            tuple(event.asset_key.path): event.step_key or ""
            for event in events_of(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
            if event.asset_key is not None
        }
        return cls(
            {name: planned[name.key] for name in chain if name.key in planned},
            tuple(name for name in chain if (UPKEEP, *name.key) in planned),
        )


def events_of(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> Iterator[dg.DagsterEvent]:
    """The events of a kind that a run has told."""
    for entry in instance.all_logs(run_id, of_type=kind):
        if entry.dagster_event is not None:
            yield entry.dagster_event


def days_of(tags: Mapping[str, str]) -> tuple[Window, ...]:
    """The days that a run is about: one, a range, or none."""
    first, last = tags.get(_FIRST, tags.get(_PARTITION)), tags.get(_LAST, tags.get(_PARTITION))
    try:
        return (Window.of_days(date.fromisoformat(first), date.fromisoformat(last)),) if first and last else ()
    except ValueError:
        # Partitions of an asset that somebody added, and that are no days.
        return ()


def time_of(seconds: float | None) -> datetime | None:
    """A moment as Dagster keeps it, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
