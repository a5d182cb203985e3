"""What is seen of a rule once it is judged: how many rows broke it, some of them, and a figure in words.

Whether it holds is Great Expectations' word (`engine.py`); SQL for it is `sample.py`, the words are `observed.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import duckdb

from lakehouse.contracts import Declarations
from lakehouse.contracts.failures import tables_read
from lakehouse.quality import observed
from lakehouse.quality.finding import Sample
from lakehouse.quality.masking import MASK, personal_figure, without_quotes, without_values
from lakehouse.quality.sample import broken_counts, key_count, masked, row_count, sample
from lakehouse.quality.scope import Scope
from lakehouse.quality.suite import Expected
from lakehouse.quality.views import first_line
from lakehouse.tables import Bound, Rule, TableRule, TableRuleKind

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

    from lakehouse.quality.engine import Engine

_KEYS = {TableRuleKind.UNIQUE, TableRuleKind.RELATIONSHIP}
"""Kinds that find rows, not a figure."""
_COUNTED = {TableRuleKind.BAD_ROWS, TableRuleKind.DUPLICATES}
"""Kinds whose figure is a number of rows, or a share of them."""


@dataclass(frozen=True)
class Seen:
    """What was seen of one rule; fields as in Finding. `result` is what data docs show of it."""

    observed: str
    failed: int | None
    sample: tuple[Sample, ...]
    result: Mapping[str, Any]


class Witness:
    """Looks at the rows of a scope, after its rules were judged and these found `broken`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scope: Scope,
        declarations: Declarations,
        broken: Iterable[Rule | TableRule],
        *,
        sample_rows: int,
    ) -> None:
        self._connection, self._scope = connection, scope
        self._declarations, self._limit = declarations, sample_rows
        own = scope.relations.table(scope.table.name)
        self.rows = row_count(connection, own)
        # One scan for all of them, and none for a table whose rows are all good.
        predicates = {rule.name: rule.predicate for rule in broken if isinstance(rule, Rule)}
        self._counts = broken_counts(connection, own, predicates)

    def see(self, engine: Engine, one: Expected, result: ExpectationValidationResult) -> Seen:
        """What is to be said of a rule that was judged."""
        rule, passed, found = one.rule, bool(result.success), dict(result.result or {})
        try:
            if isinstance(rule, TableRule) and rule.kind is TableRuleKind.EXPECTATION:
                return self._expectation(engine, one, rule, found, passed=passed)
            if isinstance(rule, TableRule) and rule.kind not in _KEYS:
                return self._figure(rule, found.get("observed_value"), passed=passed)
            return self._rows_of(rule, 0 if passed else self._failed(rule))
        except duckdb.Error as error:
            why = without_quotes(first_line(error))
            return Seen(f"does not hold; its rows cannot be shown: {why}", None, (), {})

    def _rows_of(self, rule: Rule | TableRule, failed: int, said: str | None = None, **found: object) -> Seen:
        """A rule that some rows break."""
        shown = sample(self._connection, self._scope.table, rule, self._failures(rule), self._limit) if failed else ()
        column = rule.column if isinstance(rule, Rule) else None
        return Seen(
            said or observed.share(failed, self.rows),
            failed,
            shown,
            {**found, **_counts(self.rows, failed), "partial_unexpected_list": [_listed(row, column) for row in shown]},
        )

    def _figure(self, rule: TableRule, found: object, *, passed: bool) -> Seen:
        personal = self._personal(rule, found)
        said = observed.figure(rule, MASK if personal else found, passed=passed, rows=self.rows, now=self._scope.now)
        value = {"observed_value": MASK if personal else observed.plain(found)}
        if rule.kind not in _COUNTED or not isinstance(found, int | float):
            return Seen(said, None, (), value)
        bound = cast("Bound", rule.arguments["bound"])
        failed = round(found * self.rows / 100) if bound.percent else int(found)
        if passed:
            return Seen(said, failed, (), {**value, **_counts(self.rows, failed)})
        return self._rows_of(rule, failed, said, **value)

    def _expectation(
        self, engine: Engine, one: Expected, rule: TableRule, found: dict[str, Any], *, passed: bool
    ) -> Seen:
        """A rule in the library's own words. Rows are listed by the library, too."""
        by_row, personal = engine.by_row(one), self._personal(rule, found)
        listed: Sequence[object] = ()
        if by_row and not passed:
            found = dict(engine.unexpected(one, self._limit))
            listed = found.get("partial_unexpected_list") or ()
        failed = int(found.get("unexpected_count", 0)) if by_row else None
        said = observed.expectation(found, failed, passed=passed, rows=self.rows)
        if personal and failed is None:
            said = f"found {MASK}"
        shown = masked(self._scope.table, rule.columns, listed)
        kept = {key: observed.plain(value) for key, value in found.items() if not key.startswith("partial_")}
        lines = {"partial_unexpected_list": [_listed(row, None) for row in shown]} if by_row else {}
        return Seen(said, failed, shown, {**(without_values(kept) if personal else kept), **lines})

    def _failed(self, rule: Rule | TableRule) -> int:
        if isinstance(rule, Rule):
            return self._counts[rule.name]
        if rule.kind is TableRuleKind.UNIQUE:
            return key_count(self._connection, self._failures(rule))
        return row_count(self._connection, f"({self._failures(rule)})")

    def _failures(self, rule: Rule | TableRule) -> str:
        """A query of the rows or keys, also where the rule itself is about how many there are."""
        return self._scope.rows_query(rule)

    def _personal(self, rule: TableRule, found: object) -> bool:
        others = [self._declarations[name] for name in tables_read(rule) if name in self._declarations]
        return personal_figure(rule, [self._scope.table, *others], found)


def _counts(rows: int, failed: int) -> dict[str, object]:
    """In the words of Great Expectations."""
    percent = 100 * failed / rows if rows else 0.0
    return {"element_count": rows, "unexpected_count": failed, "unexpected_percent": percent}


def _listed(row: Sample, column: str | None) -> str | None:
    """A failing row on one line: the rule's value, else every column."""
    if column is not None:
        return row[column]
    return ", ".join(f"{name}: {'NULL' if value is None else value}" for name, value in row.items())
