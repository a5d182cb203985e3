"""Which days of a run's tables are bad: the days of the rows that broke a rule, and what is computed from them.

Rules are judged by `quality/`; that good days are published without the bad ones is `publish_days.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date
from typing import TYPE_CHECKING

import duckdb
import structlog

from lakehouse.contracts.failures import failures_query, figure_query, rows_rule
from lakehouse.iceberg import MAIN, Lake, register
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.tables import Bound, Comparison, Reach, Rule, Table, TableName, TableRule, TableRuleKind, Window
from lakehouse.tables.sql import quote
from lakehouse.transform.follow import edges_in
from lakehouse.transform.manifest import Manifest

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

_log = structlog.get_logger(__name__)

_BY_ROW = {TableRuleKind.UNIQUE, TableRuleKind.DUPLICATES, TableRuleKind.RELATIONSHIP, TableRuleKind.BAD_ROWS}
"""Kinds of table rules that rows break; the others are about a figure, and nobody knows which rows make it wrong."""

Days = Mapping[date, str]
"""Bad days, each with the reason."""


def bad_days(
    connection: duckdb.DuckDBPyConnection, lake: Lake, table: Table, finding: Finding, *, own: str | None = None
) -> frozenset[date] | None:
    """The days of the window column, in UTC, of the rows that broke a rule, on the branch where it was judged.

    `own`: the branch that the table itself is read at instead. None for a rule that cannot be blamed on days: a figure
    over the table, one that could not be judged, and rows without a day. Raises what the catalog raises.
    """
    rule = _rule_of(table, finding)
    if finding.outcome is not Outcome.FAILED or not table.window_column:
        return None
    if isinstance(rule, TableRule) and rule.kind not in _BY_ROW:
        return None
    sql = _days_of(table, rows_rule(rule), _relations(lake, table, finding, own))
    try:
        found = {day for (day,) in connection.execute(sql).fetchall()}
    except duckdb.Error as error:
        _log.warning("days of failing rows not found", table=str(table.name), rule=rule.name, reason=str(error))
        return None
    return None if not found or None in found else frozenset(found)


class Blame:
    """The bad days of one run of a window of several days, worked out while its tables are audited, parents first.

    A rule that names no days holds every day, unless other days are bad too: then what is left without these is judged
    once more before it is published. Nobody is held for what main shows already: neither for rows outside of the
    window, nor for a figure that was no better before.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
        lake: Lake,
        declarations: Declarations,
        window: Window,
    ) -> None:
        self._connect, self._lake, self._declarations = connect, lake, declarations
        self.window = window
        self._broken: dict[TableName, dict[str, tuple[Finding, frozenset[date] | None]]] = {}
        self._excused: dict[TableName, set[str]] = {}

    def take(self, name: TableName, findings: Iterable[Finding]) -> None:
        """Remember what an audit of a table found, instead of what was found of these rules before.

        Raises what the catalog raises.
        """
        broken, excused = self._broken.setdefault(name, {}), self._excused.setdefault(name, set())
        blocking = []
        for finding in findings:
            broken.pop(finding.rule, None)
            excused.discard(finding.rule)
            if finding.blocks:
                blocking.append(finding)
        for finding, days in self._at_fault(name, blocking):
            if days is not None and not days:
                excused.add(finding.rule)
            else:
                broken[finding.rule] = finding, days

    def forget(self, name: TableName) -> None:
        """A table is built again."""
        self._broken.pop(name, None)
        self._excused.pop(name, None)

    def excused(self, finding: Finding) -> bool:
        """Whether what a rule found is none of this run's doing. Raises what the catalog raises."""
        return any(days is not None and not days for _, days in self._at_fault(finding.table, [finding]))

    @property
    def not_at_fault(self) -> frozenset[tuple[TableName, str]]:
        """The rules that are broken, and were so before."""
        return frozenset((name, rule) for name, rules in self._excused.items() for rule in rules)

    def by_days(self, name: TableName) -> bool:
        """Whether a table is written by days, so that some of them can be published without the others."""
        return name in self._declarations and self._declarations[name].follows_by_days

    def own(self, name: TableName) -> Days:
        """The days that a table's own rules name."""
        found: dict[date, str] = {}
        for finding, days in self._broken.get(name, {}).values():
            for day in days or ():
                found[day] = f"{found[day]}; {finding}" if day in found else str(finding)
        return dict(sorted(found.items()))

    def inherited(self, name: TableName, manifest: Manifest) -> Days:
        """The days that are bad because of what a table reads: the same, or all where they reach others."""
        found: dict[date, str] = {}
        if not self.by_days(name):
            return found
        for edge in edges_in(manifest, self._declarations[name], self._declarations):
            if edge.reach is Reach.NONE or not self.by_days(edge.upstream) or edge.upstream not in manifest.by_table:
                continue
            held = self.days(edge.upstream, manifest)
            if edge.reach is not Reach.SAME_DAY:
                held = dict.fromkeys(self.window.days, next(iter(held.values()))) if held else {}
            for day, why in held.items():
                found.setdefault(day, why)
        return found

    def days(self, name: TableName, manifest: Manifest) -> Days:
        """All bad days of a table of the run; where what it reads is bad too, that is the reason."""
        return {**self.own(name), **self.inherited(name, manifest)}

    def excuses(self, name: TableName, manifest: Manifest) -> bool:
        """Whether a table that broke blocking rules has good days left to go on with."""
        asked, held = frozenset(self.window.days), self.days(name, manifest).keys()
        broken = bool(self._broken.get(name))
        return (bool(held) if broken else bool(self._excused.get(name))) and held < asked

    def remark(self, name: TableName) -> str:
        """Why every day of a table is held where not every day is bad; empty if there is nothing to say."""
        if len([*self.window.days]) == 1:
            return ""
        remarks: list[str] = []
        for finding, days in self._broken.get(name, {}).values():
            outside = sorted((days or frozenset()) - {*self.window.days})
            if days is None:
                remarks.append(f"{finding.rule} says nothing about single days: every day of {self.window} is held")
            elif outside:
                remarks.append(f"{finding.rule} is broken outside of {self.window} too, first on {outside[0]}")
        return "; ".join(remarks)

    def _at_fault(
        self, name: TableName, blocking: Iterable[Finding]
    ) -> Iterator[tuple[Finding, frozenset[date] | None]]:
        """Each finding with the days that this run is to blame for; None where it may be any."""
        found = list(blocking)
        if not found or not self.by_days(name):
            return
        table, window = self._declarations[name], {*self.window.days}
        with self._connect() as connection:
            # The SQL of a rule may name other tables: those that it was judged with. One audit is of one branch.
            register(connection, self._lake, at=found[0].branch)
            for finding in found:
                days = bad_days(connection, self._lake, table, finding)
                if days is None and _no_worse(connection, self._lake, table, finding):
                    days = frozenset()
                elif days is not None and days - window:
                    before = bad_days(connection, self._lake, table, finding, own=MAIN) or frozenset()
                    days -= before - window
                yield finding, days


def _no_worse(connection: duckdb.DuckDBPyConnection, lake: Lake, table: Table, finding: Finding) -> bool:
    """Whether the figure of a rule is out of its bound on main too, and as far at least."""
    rule = _rule_of(table, finding)
    bound = rule.arguments.get("bound") if isinstance(rule, TableRule) else None
    if finding.outcome is not Outcome.FAILED or not isinstance(rule, TableRule) or not isinstance(bound, Bound):
        return False
    try:
        now, before = (
            _figure(connection, rule, table.name, _relations(lake, table, finding, own)) for own in (None, MAIN)
        )
        limit = float(bound.values[0])
    except (duckdb.Error, ValueError) as error:
        _log.warning("figures not compared", table=str(table.name), rule=rule.name, reason=str(error))
        return False
    if now is None or before is None:
        return False
    improvement = {
        Comparison.EQUAL: abs(before - limit) - abs(now - limit),
        Comparison.LESS: before - now,
        Comparison.LESS_OR_EQUAL: before - now,
        Comparison.GREATER: now - before,
        Comparison.GREATER_OR_EQUAL: now - before,
    }
    return improvement.get(bound.comparison, -1.0) >= 0


def _figure(
    connection: duckdb.DuckDBPyConnection, rule: TableRule, name: TableName, relation: Callable[[TableName], str]
) -> float | None:
    """A figure that is out of its bound, else None. Raises duckdb.Error, and ValueError for what is no number."""
    sql = figure_query(rule, name, relation)
    row = connection.execute(sql).fetchone() if sql is not None else None
    return None if row is None or row[0] is None or row[1] else float(row[0])


def _rule_of(table: Table, finding: Finding) -> Rule | TableRule:
    rules: tuple[Rule | TableRule, ...] = (*table.rules, *table.table_rules)
    return next(one for one in rules if one.name == finding.rule)


def _relations(lake: Lake, table: Table, finding: Finding, own: str | None) -> Callable[[TableName], str]:
    return lambda name: lake.relation_sql(name, own if own is not None and name == table.name else finding.branch)


def _days_of(table: Table, rule: Rule | TableRule, relation: Callable[[TableName], str]) -> str:
    failures = failures_query(rule, table.name, relation)
    day = f"cast({quote(table.window_column or '')} as date)"
    if isinstance(rule, TableRule) and rule.kind is TableRuleKind.UNIQUE:
        keys = ", ".join(map(quote, rule.columns))
        return f"select distinct {day} from {relation(table.name)} semi join ({failures}) using ({keys})"
    return f"select distinct {day} from ({failures})"
