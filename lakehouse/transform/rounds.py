"""Build, audit and publish; and once more what could not be published because main moved meanwhile.

One build is `run.py`, which of it becomes visible `publish.py`. Who is told what, and how, is the caller's.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import structlog

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Commit, Lake
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.transform.events import Event
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.publish import audited_snapshots, decide, publish_models
from lakehouse.transform.run import build

if TYPE_CHECKING:
    from lakehouse.quality.finding import Finding
    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)

ROUNDS = 3
"""How often a table is built in one run before it is left on its branch because main keeps moving."""


class Rounds:
    """One run of models on a branch, whose tables are judged by `gate` before they are published.

    After `run`: `published` by table; `held` on the branch, with the reason of each; `error` of the first model that
    failed. Models that do not depend on a broken one are published all the same.
    """

    def __init__(  # noqa: PLR0913  (each is a choice of the run's)
        self, settings: Settings, lake: Lake, *, branch: str, run_key: str, window: Window | None, gate: Gate
    ) -> None:
        self._settings, self._lake, self._gate = settings, lake, gate
        self._branch, self._run_key, self._window = branch, run_key, window
        self.published: dict[TableName, Commit] = {}
        self.held: dict[TableName, str] = {}
        self.error: LakehouseError | None = None

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
            select = sorted(map(str, again))
            _log.info("main moved, building again", tables=select, rounds_left=left)

    def _publish(self, events: Sequence[Event]) -> tuple[TableName, ...]:
        """Publish what the audit lets through; gives the tables whose main had moved."""
        decision = decide(events, Manifest.read(manifest_path(self._settings)))
        self.held.update(decision.hold)
        audited = audited_snapshots(events)
        publication = publish_models(self._lake, decision.publish, self._branch, audited, self._judge)
        self.published.update(publication.commits)
        for name, error in (*publication.conflicts.items(), *publication.refused.items()):
            self.held[name] = str(error)
        return tuple(publication.conflicts)

    def _judge(self, name: TableName) -> tuple[Finding, ...]:
        return self._gate.audit(name, at=self._branch)
