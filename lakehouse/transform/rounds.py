"""Build, audit and publish; and once more what could not be published because main moved meanwhile.

One build is `run.py`, which of it becomes visible `publish.py`. Who is told what, and how, is the caller's.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import structlog

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Commit, Lake
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.transform.events import Event
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.publish import decide, publish_models
from lakehouse.transform.run import build

_log = structlog.get_logger(__name__)

ROUNDS = 3
"""How often a table is built in one run before it is left on its branch because main keeps moving."""


class Rounds:
    """One run of models on a branch.

    After `run`: `published` by table; `held` on the branch, with the reason of each; `error` of the first model that
    failed. Models that do not depend on a broken one are published all the same.
    """

    def __init__(self, settings: Settings, lake: Lake, *, branch: str, run_key: str, window: Window | None) -> None:
        self._settings, self._lake = settings, lake
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
                    self._settings, select=select, window=self._window, branch=self._branch, run_key=self._run_key
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
        publication = publish_models(self._lake, decision.publish, self._branch)
        self.published.update(publication.commits)
        self.held.update({name: str(error) for name, error in publication.conflicts.items()})
        return tuple(publication.conflicts)
