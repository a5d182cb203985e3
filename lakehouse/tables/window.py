"""A half-open range of days, [start, end): the unit that chained tables are rebuilt, audited and published by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Window:
    """The days from `start` (inclusive) to `end` (exclusive). Never empty."""

    start: date
    end: date

    def __post_init__(self) -> None:
        """Refuse an empty or reversed window at the place that made it."""
        if self.end <= self.start:
            message = f"a window holds at least one day: [{self.start}, {self.end})"
            raise ValueError(message)

    def __str__(self) -> str:
        """As logs and errors show it."""
        return f"[{self.start}, {self.end})"

    @classmethod
    def of_days(cls, first: date, last: date) -> Window:
        """The days `first` to `last`, both inclusive."""
        return cls(first, last + _DAY)

    @property
    def days(self) -> Iterator[date]:
        """Each day of the window, in order."""
        return (self.start + _DAY * n for n in range((self.end - self.start).days))


def spans(days: Iterable[date]) -> tuple[Window, ...]:
    """Group days into the fewest contiguous windows, in order."""
    found: list[Window] = []
    for day in sorted(set(days)):
        if found and found[-1].end == day:
            found[-1] = Window(found[-1].start, day + _DAY)
        else:
            found.append(Window(day, day + _DAY))
    return tuple(found)
