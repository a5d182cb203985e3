"""What one load asks of its source: what is new, days once more, or everything; and how positions go on from there.

Days that are read again do not move the source's position, so that what they bring and no load has read yet comes a
second time with the next load. A scope of their own says since when, until a load has held its rows against theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lakehouse.errors import SourceError
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.sources import Compare, Extract, RangeReader, SourceReader
from lakehouse.tables import Position, Table, Window

REREAD_SCOPE = "reread"
"""The scope under which a bronze table says since when days were read again that its position knows nothing of: `since`
is when the first such load began, `last` the run key of the last one; or nothing."""

_EVER = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Reading:
    """What is asked, when, by whom, for the how manieth time, and the positions that main had then."""

    table: Table
    positions: Mapping[str, Position]
    began_at: datetime
    run_id: str
    tried: int = 0
    window: Window | None = None
    full: bool = False

    @property
    def since(self) -> Position | None:
        """The position that the last load of what was new has reached."""
        return self.positions.get(LOAD_SCOPE)

    @property
    def before(self) -> dict[str, Position | None]:
        """The positions that nobody may have moved when this load commits."""
        return {scope: self.positions.get(scope) for scope in (LOAD_SCOPE, REREAD_SCOPE)}

    @property
    def reread(self) -> str | None:
        """What is read again, in words."""
        if self.window is not None:
            return f"{self.window.start}..{self.window.end - timedelta(days=1)}"
        return "full" if self.full else None

    @property
    def compare(self) -> Compare | None:
        """How this load's rows are held against main's where the source does not say it: by content, or not at all."""
        if self.reread is not None:
            return Compare()
        return Compare(where=f"_extracted_at >= '{self._reread_since}'") if self._reread_since else None

    def extract(self, source: SourceReader) -> Extract | None:
        """What the source has. Raises SourceError for days of a source that knows none."""
        if self.window is None:
            return source.read(None if self.full else self.since)
        if not isinstance(source, RangeReader):
            raise SourceError(
                f"the source of {self.table.name} cannot be asked for days again",
                remedy=f"Read all of it again: lakehouse load run {self.table.name} --full.",
            )
        return source.between(self.window)

    def identity(self, reached: Position) -> tuple[object, ...]:
        """What the load is known by when it is tried again; what is read again is another load each time."""
        return (self.since, reached) if self.reread is None else (self.reread, self.began_at.isoformat())

    def after(self, extract: Extract, run_key: str) -> dict[str, Position]:
        """The positions that come with the rows."""
        if self.window is not None:
            return {REREAD_SCOPE: {"since": self._reread_since or self.began_at.isoformat(), "last": run_key}}
        moved: dict[str, Position] = {LOAD_SCOPE: extract.reached}
        if self.full and extract.more:
            # The parts to come are loads of what is new, and must know what bronze has from before.
            moved[REREAD_SCOPE] = {"since": _EVER, "last": run_key}
        elif self._reread_since and not extract.more:
            moved[REREAD_SCOPE] = {}
        return moved

    @property
    def _reread_since(self) -> object:
        return self.positions.get(REREAD_SCOPE, {}).get("since")
