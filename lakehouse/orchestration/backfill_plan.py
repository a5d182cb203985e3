"""What a backfill by hand would compute, and why, as a value. Carrying it out is `backfill.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from lakehouse.tables import TableName, Window

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Request:
    """What somebody wants computed: a table that is built by days, and which of its days.

    `window`: these; None: all that are out of date. `stale`: of the window only the days that are out of date.
    `upstream`: what it is computed from, too: tables with days for the same days, others where they are out of date.
    """

    table: TableName
    window: Window | None = None
    stale: bool = False
    upstream: bool = False


@dataclass(frozen=True)
class Part:
    """The days of one table that would be computed, each with why."""

    table: TableName
    days: Mapping[date, str]


@dataclass(frozen=True)
class Plan:
    """What a backfill would do as things are now, upstream first.

    `models`: tables without days, with why; they are built before any day is.
    """

    models: Mapping[TableName, str]
    parts: tuple[Part, ...]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not self.models and not self.days

    @property
    def days(self) -> tuple[date, ...]:
        """Every day of any part, in order."""
        return tuple(sorted({day for part in self.parts for day in part.days}))

    @property
    def runs(self) -> tuple[tuple[Window, tuple[TableName, ...]], ...]:
        """The runs after that of `models`: one a stretch of days without a gap, of the same tables."""
        found: list[tuple[Window, tuple[TableName, ...]]] = []
        for day in self.days:
            tables = tuple(part.table for part in self.parts if day in part.days)
            if found and found[-1] == (Window(found[-1][0].start, day), tables):
                found[-1] = (Window(found[-1][0].start, day + _DAY), tables)
            else:
                found.append((Window(day, day + _DAY), tables))
        return tuple(found)


def stretches(part: Part) -> Iterator[tuple[Window, str]]:
    """The days of a part in order, those that follow one another and have the same reason together."""
    days = sorted(part.days)
    for (_, why), group in groupby(enumerate(days), key=lambda item: (item[1] - _DAY * item[0], part.days[item[1]])):
        found = [day for _, day in group]
        yield Window.of_days(found[0], found[-1]), why
