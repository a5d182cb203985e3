"""Build, audit and publish; and once more what could not be published because main moved meanwhile.

One build is `run.py`, which of it becomes visible `publish.py`. Who is told what, and how, is the caller's.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cached_property, partial
from typing import TYPE_CHECKING

import duckdb
import structlog

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Commit, Lake, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.tables.window import spans
from lakehouse.transform.attribution import Blame, Days
from lakehouse.transform.events import Event
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.follow import edges_in
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.publish import audited_snapshots, decide, publish_models
from lakehouse.transform.publish_days import DayPublisher
from lakehouse.transform.run import build

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.quality.finding import Finding
    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)

ROUNDS = 3
"""How often a table is built in one run before it is left on its branch because main keeps moving."""


class Rounds:
    """One run of models on a branch, whose tables are judged by `gate` before they are published.

    After `run`: `published` by table, and in `windows` what of the asked days became visible of daily tables; `bad` are
    the days that did not, with the reason of each; `held` is what stays on the branch, wholly or these days of it, with
    the reason; `error` of the first model that failed. Models that do not depend on a broken one are published all the
    same, and days that do not depend on a bad one.
    """

    def __init__(  # noqa: PLR0913  (each is a choice of the run's)
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
        self._branch, self._run_key, self._window = branch, run_key, window
        self.published: dict[TableName, Commit] = {}
        self.windows: dict[TableName, tuple[Window, ...]] = {}
        self.bad: dict[TableName, dict[date, str]] = {}
        self.held: dict[TableName, str] = {}
        self.error: LakehouseError | None = None

    @property
    def not_at_fault(self) -> frozenset[tuple[TableName, str]]:
        """The blocking rules that main breaks no less: they hold nothing of this run."""
        return frozenset() if self._blame is None else self._blame.not_at_fault

    def run(self, select: Sequence[str]) -> Generator[Event, None, None]:
        """Build what is selected and publish it, at most three times; yields the events of every build."""
        for left in reversed(range(ROUNDS)):
            events: list[Event] = []
            try:
                for event in build(
                    self._settings,
                    select=select,
                    window=self._window,
                    branch=self._branch,
                    run_key=self._run_key,
                    gate=self._gate,
                    blame=self._blame,
                ):
                    events.append(event)
                    yield event
            except LakehouseError as error:
                self.error = self.error or error
            again = self._publish(events)
            if not again or not left:
                return
            for name in again:
                # Computed from what is not main any more; the same run key writes anew once its snapshot is gone.
                self._lake.table(name).discard(self._branch)
                del self.held[name]
                self.bad.pop(name, None)
                if self._blame is not None:
                    self._blame.forget(name)
            select = sorted(map(str, again))
            _log.info("main moved, building again", tables=select, rounds_left=left)

    def _publish(self, events: Sequence[Event]) -> tuple[TableName, ...]:
        """Publish what the audit lets through; gives the tables whose main had moved."""
        manifest = Manifest.read(manifest_path(self._settings))
        decision = decide(events, manifest, self._blame)

        by_days = {name: partial(self._publish_days, name, bad, manifest) for name, bad in decision.days.items()}
        publication = publish_models(
            self._lake, decision.publish, self._branch, audited_snapshots(events), self._judge, by_days
        )
        self.published.update(publication.commits)
        self._hold(decision.hold)
        self._hold({name: str(error) for name, error in {**publication.conflicts, **publication.refused}.items()})
        for name in publication.commits:
            self._show(name, decision.days.get(name, {}))
        return tuple(publication.conflicts)

    def _publish_days(
        self, name: TableName, bad: Days, manifest: Manifest, commits: Mapping[TableName, Commit]
    ) -> Commit:
        table = self._declarations[name]
        edges = edges_in(manifest, table, self._declarations)
        return self._days.publish(table, edges, bad, {**self.published, **commits})

    def _hold(self, reasons: Mapping[TableName, str]) -> None:
        """Tables that stay on their branch as a whole."""
        for name, reason in reasons.items():
            self.held[name] = reason
            if self._window is not None and self._declarations[name].windowed:
                self.bad[name] = dict.fromkeys(self._window.days, reason)

    def _show(self, name: TableName, bad: Days) -> None:
        """Tables that became visible, but for some days."""
        if self._window is None or not self._declarations[name].windowed:
            return
        self.windows[name] = spans(day for day in self._window.days if day not in bad)
        if bad:
            self.bad[name] = dict(sorted(bad.items()))
            days = ", ".join(map(str, spans(bad)))
            self.held[name] = f"of {days}: {'; '.join(dict.fromkeys(bad.values()))}"

    @cached_property
    def _blame(self) -> Blame | None:
        if self._window is None:
            return None
        return Blame(lambda: connect(self._settings), self._lake, self._declarations, self._window)

    @cached_property
    def _days(self) -> DayPublisher:
        blame = self._blame
        if blame is None:
            message = "days are published of a run without days"
            raise RuntimeError(message)
        return DayPublisher(self._lake, self._branch, blame.window, self._judge_days, self._as_on_main, blame.excused)

    @contextmanager
    def _as_on_main(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with connect(self._settings) as connection:
            register(connection, self._lake)
            yield connection

    def _judge(self, name: TableName) -> tuple[Finding, ...]:
        return self._gate.audit(name, at=self._branch)

    def _judge_days(self, name: TableName, branch: str) -> tuple[Finding, ...]:
        """By a gate of its own: what this run's gate found of all days is what the run has to tell."""
        from lakehouse.quality.gate import Gate  # noqa: PLC0415  (its engine takes seconds, and few runs have bad days)

        return Gate(self._settings, self._lake, self._declarations).audit(name, at=branch)
