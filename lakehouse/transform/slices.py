"""A build of many days in slices, one after the other: each is built, audited and published before the next begins.

So memory is bounded, what is done stays done when the process dies, and the same run finds it done. One slice is
`rounds.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import structlog

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.transform.events import Event
from lakehouse.transform.rounds import Rounds

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Slice:
    """What became of one slice of a build; the fields of `Rounds`, with the snapshots that main has of what it shows.

    `window` is None for a build without days. `found_done`: an earlier attempt at the same run had published all of it,
    and nothing was built.
    """

    branch: str
    window: Window | None
    published: dict[TableName, int | None] = field(default_factory=dict)
    windows: dict[TableName, tuple[Window, ...]] = field(default_factory=dict)
    bad: dict[TableName, dict[date, str]] = field(default_factory=dict)
    held: dict[TableName, str] = field(default_factory=dict)
    error: LakehouseError | None = None
    found_done: bool = False
    not_at_fault: frozenset[tuple[TableName, str]] = frozenset()


class Slices:
    """One run of models for a window of any length; without a window it is one slice.

    `branch` and `run_key` are those of the only slice; of several, each has its own, named after its first day.
    """

    def __init__(  # noqa: PLR0913  (as `Rounds`)
        self,
        settings: Settings,
        lake: Lake,
        declarations: Declarations,
        *,
        branch: str,
        run_key: str,
        window: Window | None,
        gate: Gate,
    ) -> None:
        self._settings, self._lake, self._declarations, self._gate = settings, lake, declarations, gate
        self._branch, self._run_key = branch, run_key
        self.windows: tuple[Window | None, ...] = (
            (None,) if window is None else tuple(slices_of(window, settings.transform.days_at_once))
        )

    def run(self, select: Sequence[str]) -> Generator[Event | Slice, None, None]:
        """Build what is selected, slice by slice; yields the events of each, and then the slice.

        Days that are held do not keep later slices from being built; a model that fails does.
        """
        for window in self.windows:
            made = yield from self._slice(select, window)
            yield made
            if made.error is not None:
                return

    def _slice(self, select: Sequence[str], window: Window | None) -> Generator[Event, None, Slice]:
        branch, run_key = self._branch, self._run_key
        if window is not None and len(self.windows) > 1:
            branch, run_key = f"{branch}-{window.start}", f"{run_key}:{window.start}..{window.end}"
            done = self._found_done(select, run_key)
            if done:
                _log.info("done by an earlier attempt", days=str(window), run_key=run_key)
                return Slice(branch, window, done, dict.fromkeys(done, (window,)), found_done=True)
        rounds = Rounds(
            self._settings,
            self._lake,
            self._declarations,
            branch=branch,
            run_key=run_key,
            window=window,
            gate=self._gate,
        )
        yield from rounds.run(select)
        published = {name: commit.snapshot_id for name, commit in rounds.published.items()}
        return Slice(
            branch,
            window,
            published,
            rounds.windows,
            rounds.bad,
            rounds.held,
            rounds.error,
            not_at_fault=rounds.not_at_fault,
        )

    def _found_done(self, select: Sequence[str], run_key: str) -> dict[TableName, int | None]:
        """The heads of all tables that are selected, if main has what this run key wrote to each; else nothing."""
        names = [name for name in self._declarations if str(name) in select]
        heads: dict[TableName, int | None] = {}
        for name in names:
            if not self._declarations[name].follows_by_days or not self._lake.exists(name):
                return {}
            snapshots = self._lake.look(name).snapshots()
            if all(snapshot.run_key != run_key for snapshot in snapshots):
                return {}
            heads[name] = snapshots[0].id
        return heads


def slices_of(window: Window, days: int) -> Iterator[Window]:
    """The days of a window in order, so many at a time."""
    start = window.start
    while start < window.end:
        end = min(start + timedelta(days=days), window.end)
        yield Window(start, end)
        start = end
