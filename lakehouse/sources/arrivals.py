"""Files as they arrive: the day that each belongs to. Listing them is the reader's (`files.py`), opening the store's.

A file's day is the last date in its path: `2026-01-31`, `20260131`, `2026/01/31`, `2026_01_31` or `2026.01.31`, also
before a time of day (`20260131T0200`, `20260131020000`); a file without one belongs to the day of its last change, in
UTC. So a file that is late, or was replaced, belongs to the day that it is about, whenever it comes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

# Of this century and its neighbours, so that numbers of orders and parts are rarely taken for days. The look-ahead
# finds a date inside another's match too: in 2026/01/31/2026-01-30 they share no digit, in 2026/01/2026/01/30 they may.
_DATE = re.compile(r"(?<!\d)(?=((?:19|20|21)\d\d)([-_./]?)(\d\d)\2(\d\d)(?:\d{6})?(?!\d))")


@dataclass(frozen=True, order=True)
class Arrival:
    """A file that is there now. `size` in bytes; `version` changes with its content; `modified` in UTC."""

    path: str
    size: int
    version: int | str
    day: date
    modified: datetime


def day_of(path: str, modified: datetime) -> date:
    """The day that a file belongs to: of the last date in its path, else of its last change (UTC)."""
    day = modified.astimezone(UTC).date()
    for year, _, month, of_month in _DATE.findall(path):
        with suppress(ValueError):
            day = date(int(year), int(month), int(of_month))
    return day
