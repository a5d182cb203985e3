"""What one audit judges: the rules, the snapshots that they read, and the time. How it is judged is `audit.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lakehouse.contracts.expressions import PUBLISHED
from lakehouse.contracts.failures import failures_query, rows_rule, tables_named, tables_read
from lakehouse.errors import SettingsError
from lakehouse.iceberg import MAIN
from lakehouse.quality import clock
from lakehouse.quality.suite import Relations
from lakehouse.quality.views import Views, relation
from lakehouse.settings import Settings
from lakehouse.tables import Rule, Table, TableName, TableRule, TableRuleKind


@dataclass(frozen=True)
class Scope:
    """One moment of the lake, as one table's rules see it."""

    table: Table
    rules: tuple[Rule | TableRule, ...]
    branch: str
    snapshot_id: int | None
    relations: Relations
    now: datetime
    unreadable: Mapping[str, str]
    """Why a rule cannot even be asked, by name."""

    def rows_query(self, rule: Rule | TableRule) -> str:
        """The rows or keys that a rule is about, on the views of this audit."""
        return self._query(rows_rule(rule), self.relations.table, self.relations.published)

    def shown_query(self, rule: Rule | TableRule) -> str:
        """The same on the lake's own names, for people to run; none for an expectation."""
        if isinstance(rule, TableRule) and rule.kind is TableRuleKind.EXPECTATION:
            return ""
        return self._query(rows_rule(rule), str, f"{self.table.name} /* as published */")

    def _query(self, rule: Rule | TableRule, table: Callable[[TableName], str], published: str | None) -> str:
        return failures_query(rule, self.table.name, table, published=published, now=self.relations.now)


def scope_of(  # noqa: PLR0913, PLR0917  (each is a part of the moment)
    settings: Settings,
    views: Views,
    declared: Collection[TableName],
    table: Table,
    at: str,
    rules: Sequence[Rule | TableRule],
) -> Scope:
    """Pin what the rules read. Raises what the catalog raises for the table itself; what else is missing is noted."""
    snapshot_id = views.of(table.name, at)
    branch = at if views.has_branch(table.name, at) else MAIN
    unreadable: dict[str, str] = {}
    for rule in rules:
        missing = [other for other in tables_read(rule) if other != table.name and not views.has(other, at)]
        if missing:
            unreadable[rule.name] = f"it reads {', '.join(map(str, missing))}, which is not there"
    compares = any(PUBLISHED in str(rule.arguments.get("query", "")) for rule in rules)
    published = views.published(table.name) if compares else None
    now = datetime.now(UTC)
    timed = [rule for rule in rules if rule.kind is TableRuleKind.FRESH]
    if timed:
        try:
            now = _now(settings, views, declared, at)
        except SettingsError as error:
            unreadable |= {rule.name: str(error) for rule in timed}
    return Scope(
        table, tuple(rules), branch, snapshot_id, Relations(relation, published, clock.timestamp(now)), now, unreadable
    )


def _now(settings: Settings, views: Views, declared: Collection[TableName], at: str) -> datetime:
    asked = tables_named(settings.quality.clock or "select 1")
    missing = [name for name in asked if not views.has(name, at)]
    if missing and all(name in declared for name in missing):
        # The clock stands in tables that a first load has not made yet, so nothing can be late.
        return clock.BEGINNING
    return clock.now(settings, views.connection)
