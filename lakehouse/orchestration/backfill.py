"""A backfill by hand: planned from what the data says is out of date, and carried out run by run.

What a run does is `runs.py`; a long window is cut into slices by the build itself. How it looks is `cli/backfill.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from lakehouse.changes import edges_of, stale_days, stale_models
from lakehouse.errors import SettingsError
from lakehouse.iceberg import Lake
from lakehouse.orchestration.backfill_plan import Part, Plan, Request
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.runs import RunReport
from lakehouse.orchestration.specs import days_from
from lakehouse.orchestration.upstream import of_chain, require_declared, upstream_first
from lakehouse.settings import Settings
from lakehouse.tables import Reach, Table, TableName, Window

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

Run = Callable[[Sequence[TableName], Window | None], RunReport]
"""Builds tables in one run of the instance, those that are built by days for a window."""

Done = Mapping[TableName, Collection[date]]
_ASKED = "asked for"


class Backfill:
    """Plans a backfill and carries it out."""

    def __init__(self, settings: Settings, declarations: Declarations, request: Request) -> None:
        """Raises TableMissing, SettingsError (no days, or days it cannot have), TransformError, CatalogError."""
        require_days(declarations, request)
        self._settings, self._declarations, self._request = settings, declarations, request
        parents = ModelGraph.read(settings, declarations).parents
        chain = upstream_first(parents, request.table) if request.upstream else (request.table,)
        self._chain = tuple(name for name in chain if name in parents)
        self._parents = of_chain(parents, self._chain)
        self._lake = Lake.open(settings)

    @property
    def tables(self) -> tuple[TableName, ...]:
        """All that it may compute, upstream first."""
        return self._chain

    def plan(self, done: Done | None = None) -> Plan:
        """What is to be done as things are now; nothing that is `done` (by table: its days). Raises CatalogError."""
        stale = stale_days(self._settings, self._lake, self._declarations, self._parents)
        why: dict[TableName, dict[date, str]] = {}
        for name in self._chain:
            table = self._declarations[name]
            if table.follows_by_days:
                causes = stale[name].days if name in stale else {}
                own = {day: _changed(one.upstream for one in found) for day, found in causes.items()}
                why[name] = self._wanted({**self._drawn_in(table, why), **own})
        left = {
            name: {day: days[day] for day in sorted(days) if day not in (done or {}).get(name, ())}
            for name, days in why.items()
        }
        models = self._models(done or {}) if self._request.upstream else {}
        return Plan(models, tuple(Part(name, days) for name, days in left.items() if days))

    def carry_out(self, run: Run) -> Iterator[tuple[Window | None, RunReport]]:
        """Run by run, telling of each when it has ended: its days, None for the tables without days.

        A run that finds a broken rule holds no other run back; one that ends in an error is the last, for the next
        would meet the same. What was built may put further days out of date: those that were asked for follow, and
        none is computed twice.
        """
        done: dict[TableName, set[date]] = {}
        while not (plan := self.plan(done)).nothing:
            # Whose days are out of date is known only when the tables without days are built.
            runs = plan.runs if not plan.models else ((None, tuple(plan.models)),)
            for window, tables in runs:
                report = run(tables, window)
                yield window, report
                if any(not failure.finding for failure in report.failures):
                    return
                for name in tables:
                    done.setdefault(name, set()).update(window.days if window is not None else ())

    def _wanted(self, stale: Mapping[date, str]) -> dict[date, str]:
        """Of a table: the days that are asked for, with why."""
        window = self._request.window
        if window is None:
            return dict(stale)
        days = [day for day in window.days if day in stale or not self._request.stale]
        return {day: stale.get(day, _ASKED) for day in days}

    def _drawn_in(self, table: Table, planned: Mapping[TableName, Mapping[date, str]]) -> dict[date, str]:
        """The days on which a table that it reads is computed by this very backfill."""
        found: dict[date, list[TableName]] = {}
        for edge in edges_of(table, self._parents[table.name], self._declarations):
            for day in planned.get(edge.upstream, ()) if edge.reach is Reach.SAME_DAY else ():
                found.setdefault(day, []).append(edge.upstream)
        return {day: f"{', '.join(map(str, names))} computed anew" for day, names in found.items()}

    def _models(self, done: Done) -> dict[TableName, str]:
        """The tables without days that are out of date or were never built; each is built once."""
        stale = stale_models(self._lake, self._declarations, self._parents)
        found: dict[TableName, str] = {}
        for name in self._chain:
            if self._declarations[name].windowed or name in done:
                continue
            if not self._lake.exists(name):
                found[name] = "never built"
            elif name in stale:
                found[name] = _changed(stale[name])
        return found


def require_days(declarations: Declarations, request: Request) -> None:
    """Raises TableMissing, and SettingsError for a table without days, and for days that it cannot have."""
    require_declared(declarations, request.table)
    table, window = declarations[request.table], request.window
    if not table.windowed or table.window_start is None:
        raise SettingsError(
            f"{table.name} is not built by days", remedy=f"Build all of it: lakehouse run {table.name}."
        )
    if not table.follows_by_days:
        raise SettingsError(
            f"the days of {table.name} cannot be computed anew",
            expected="strategy overwrite",
            found=table.strategy.value,
            remedy="Change its strategy, or build days that it has not: `lakehouse run`.",
        )
    if window is None:
        return
    # The days that the UI offers too: today's, which has not ended, is one of them.
    today = date.fromisoformat(days_from(table.window_start).get_last_partition_key() or str(table.window_start))
    *_, last = window.days
    if window.start < table.window_start or last > today:
        raise SettingsError(
            f"{table.name} has no such days",
            expected=f"days from {table.window_start}, its first, to {today}, today (UTC)",
            found=f"{window.start} to {last}",
            remedy="Ask for days within.",
        )


def _changed(upstreams: Iterator[TableName] | Sequence[TableName]) -> str:
    return f"{', '.join(dict.fromkeys(map(str, upstreams)))} changed"
