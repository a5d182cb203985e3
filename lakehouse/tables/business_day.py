"""The day of a moment as the clocks of one place show it. Computing it does not belong here (`ingest/casts.py`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BusinessDay:
    """The day that a timestamp falls on in a time zone.

    `column` is a required timestamp with time zone of the same table; `zone` a name of the IANA time zone database,
    such as Europe/Berlin.
    """

    column: str
    zone: str

    def __str__(self) -> str:
        """As people read it."""
        return f"day of {self.column} in {self.zone}"
