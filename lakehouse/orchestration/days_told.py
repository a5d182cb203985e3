"""What a run tells Dagster of days: each one that became visible, and how far a build of many days has come.

What became of a build is `build.py`, how a build of many days goes on `transform/slices.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.iceberg import Lake
from lakehouse.orchestration.metadata import rows_by_day
from lakehouse.orchestration.specs import table_key
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.telemetry import Meter
from lakehouse.transform.slices import Slice

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

ROWS = "dagster/partition_row_count"
"""The key under which Dagster's UI shows the rows of a partition."""


@dataclass(frozen=True)
class DaysTold:
    """Makes an event of each day that a slice made visible of a table; `metadata` is for the newest of them."""

    settings: Settings
    declarations: Declarations
    lake: Lake
    metadata: Callable[[TableName, int | None], Mapping[str, Any]]

    def of(self, made: Slice, *, only: Collection[TableName] | None = None) -> Iterator[dg.AssetMaterialization]:
        """The events, in the order of days, of all tables or of `only` these."""
        for name, snapshot_id in made.published.items():
            if name not in made.windows or (only is not None and name not in only):
                continue
            rows = self.rows(name, [made])
            for day, count in rows.items():
                last = day == max(rows)
                yield dg.AssetMaterialization(
                    table_key(name),
                    partition=day.isoformat(),
                    metadata={ROWS: count, **(self.metadata(name, snapshot_id) if last else {})},
                )

    def rows(self, name: TableName, made: Iterable[Slice]) -> dict[date, int]:
        """Rows of each day of a table that became visible; nothing of a table that has no days."""
        windows = [window for one in made for window in one.windows.get(name, ())]
        if not windows:
            return {}
        hull = Window(min(window.start for window in windows), max(window.end for window in windows))
        counted = rows_by_day(self.settings, self.declarations[name], self.lake.table(name), hull)
        return {day: counted[day] for window in windows for day in window.days}


class Pace:
    """Says after each slice how many are done, and when the last will be; nothing of a build that has but one."""

    def __init__(self, windows: Sequence[Window | None], say: Callable[[str], object]) -> None:
        self._windows, self._say = windows, say
        self._days = [_days(window) for window in windows]
        self._meter = Meter("days", total=sum(self._days), unit="days", every=0)
        self._begun, self._done, self._built = time.monotonic(), 0, 0

    def add(self, made: Slice) -> None:
        """One more slice has ended."""
        if len(self._windows) == 1:
            return
        days, total = self._days[self._done], sum(self._days)
        self._done += 1
        self._meter.add(days)
        # What an earlier attempt had done says nothing about how long the rest takes.
        self._built += 0 if made.found_done else days
        left = total - self._meter.done
        seconds = (time.monotonic() - self._begun) * left / self._built if self._built else None
        eta = f", about {timedelta(seconds=round(seconds))} left" if seconds is not None and left else ""
        held = {day for days in made.bad.values() for day in days}
        state = "done before" if made.found_done else f"{len(held)} of its days held" if held else "done"
        self._say(
            f"{made.window}: {state}. {self._done} of {len(self._days)} slices, {self._meter.done} of {total} days{eta}"
        )
        if not left:
            self._meter.finish()


def _days(window: Window | None) -> int:
    return 0 if window is None else (window.end - window.start).days
