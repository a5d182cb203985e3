"""A reason why a table is not newer, as a value. Who finds which is `why_lake.py` and `why_runs.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lakehouse.tables import TableName, Window


class Kind(StrEnum):
    """What a reason is about, in the order in which a table's reasons are told."""

    SOURCE = "source"
    """The source has something that was not loaded, or cannot be asked."""
    RUN = "run"
    """A run is at it, or waits for its turn."""
    LOCK = "lock"
    """Upkeep of the table is under way: whoever writes it waits."""
    FAILED = "failed"
    """The last run that was to write it did not."""
    CHECK = "check"
    """A blocking rule was broken when it was judged last, or by what is kept beside main."""
    BRANCH = "branch"
    """Work of it is kept beside main."""
    MISSING = "missing"
    """It was never built."""
    BEHIND = "behind"
    """A table without days: what it reads has moved since."""
    DAYS = "days"
    """A table that is built by days: some of them are out of date."""
    QUARANTINE = "quarantine"
    """Rows were refused at the door and wait."""


STATE = frozenset({Kind.SOURCE, Kind.MISSING, Kind.BEHIND, Kind.DAYS})
"""What the data itself says. Any of these, and a table is not up to date; all other kinds explain."""

_ORDER = list(Kind)


@dataclass(frozen=True)
class Reason:
    """One reason, about one table. `days` (UTC) are those it is about, empty for none or all; `at` (UTC): since when.

    `finding`: of a failed run, that it found what it is there to find, e.g. a broken rule; not an error. `remedy`: what
    to do, where an error says it. `beside`: worth knowing, but no reason of what is out of date now.
    """

    table: TableName
    kind: Kind
    what: str
    days: tuple[Window, ...] = ()
    at: datetime | None = None
    run_id: str | None = None
    branch: str | None = None
    finding: bool = False
    remedy: str = ""
    beside: bool = False

    @property
    def rank(self) -> int:
        """Its place among the reasons of its table."""
        return _ORDER.index(self.kind)
