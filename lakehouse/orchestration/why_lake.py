"""Whether a table is up to date, as the data says: what was not loaded, never built, or not followed.

What is kept beside main and may explain it is `why_held.py`; what Dagster knows of it, `why_runs.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lakehouse.changes import stale_days, stale_models
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Lake
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.orchestration.upstream import Parents, of_chain, upstream_first
from lakehouse.orchestration.why_reasons import Kind, Reason
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import TableName, Window
from lakehouse.tables.window import spans

if TYPE_CHECKING:
    from lakehouse.changes import Stale
    from lakehouse.contracts import Declarations

_NAMED = 3


class State:
    """The reasons of some tables, which stand upstream first."""

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        declarations: Declarations,
        chain: tuple[TableName, ...],
        parents: Parents,
    ) -> None:
        self._settings, self._lake, self._declarations = settings, lake, declarations
        self._chain, self._parents = chain, of_chain(parents, chain)

    def find(self) -> list[Reason]:
        """All of them. Raises CatalogError and StateError when the lake cannot be read."""
        days = stale_days(self._settings, self._lake, self._declarations, self._parents)
        models = stale_models(self._lake, self._declarations, self._parents)
        return [*self._of_sources(), *self._of_models(days, models)]

    def _of_sources(self) -> Iterator[Reason]:
        """Whether a source has something new. Of one that cannot be asked nobody knows: that is a reason, too."""
        for name in self._chain:
            table = self._declarations.get(name)
            if table is None or table.load is None:
                continue
            stored = self._lake.table(name) if self._lake.exists(name) else None
            since = stored.progress(LOAD_SCOPE) if stored is not None else None
            if since is None:
                yield Reason(name, Kind.MISSING, "was never loaded")
                continue
            try:
                pending = open_source(self._settings, table).pending(since)
            except LakehouseError as error:
                yield Reason(name, Kind.SOURCE, f"its source cannot be asked: {error.what}", remedy=error.remedy)
                continue
            if pending:
                yield Reason(name, Kind.SOURCE, f"source {table.load.source} has something that is not loaded")

    def _of_models(
        self, days: Mapping[TableName, Stale], models: Mapping[TableName, tuple[TableName, ...]]
    ) -> Iterator[Reason]:
        for name in self._chain:
            if name not in self._parents:
                continue
            if not self._lake.exists(name) or not self._lake.table(name).snapshots():
                yield Reason(name, Kind.MISSING, "was never built", days=self._days_to_build(name))
            elif name in days and days[name].days:
                found = days[name].days
                moved = dict.fromkeys(cause.upstream for causes in found.values() for cause in causes)
                yield Reason(name, Kind.DAYS, f"{_listed(moved)} changed there", days=spans(found))
            elif name in models:
                yield Reason(name, Kind.BEHIND, f"{_listed(models[name])} changed since it was built")

    def _days_to_build(self, name: TableName) -> tuple[Window, ...]:
        """From the first to the last day that what it is computed from holds; none for a table without days."""
        table = self._declarations.get(name)
        if table is None or not table.windowed or table.window_start is None:
            return ()
        there = [one for one in upstream_first(self._parents, name) if one != name and self._lake.exists(one)]
        windowed = [one for one in there if one in self._declarations and self._declarations[one].window_column]
        days = {day for one in windowed for day in self._lake.table(one).days() if day >= table.window_start}
        return (Window.of_days(min(days, default=table.window_start), max(days, default=table.window_start)),)


def _listed(names: Iterable[TableName]) -> str:
    """At most three, in words."""
    found = [str(name) for name in names]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
