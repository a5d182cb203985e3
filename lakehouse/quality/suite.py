"""Rules of contracts as expectations: a type and its arguments. Plain values, without Great Expectations.

A rule becomes an expectation of the library where that judges exactly as the contract's SQL does. Where it would not
(floats with NaN, decimals, several tables, figures with a bound) it becomes our own one, which runs that SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from lakehouse.contracts.failures import NOW, failures_query, figure_query
from lakehouse.tables import (
    Bound,
    Comparison,
    Rule,
    RuleKind,
    Severity,
    Table,
    TableName,
    TableRule,
    TableRuleKind,
)

OWN = "expect_rule_to_hold"
"""Arguments: `predicate`, true or NULL on good rows; or `query`, which finds what is wrong; or `figure`, a query of
one row with the columns `found` and `holds`."""

_INTEGERS = {"int", "long"}
_EXACT = 2**53
"""Great Expectations passes bounds as floats, which are exact up to here."""


@dataclass(frozen=True)
class Relations:
    """How SQL names what is judged: every table, the own one as it is published, and the time."""

    table: Callable[[TableName], str] = str
    published: str | None = None
    now: str = NOW


@dataclass(frozen=True)
class Expected:
    """One rule as an expectation."""

    rule: Rule | TableRule
    type: str
    kwargs: Mapping[str, object]

    @property
    def severity(self) -> str:
        """In Great Expectations' words."""
        return "critical" if self.rule.severity is Severity.ERROR else "warning"


def rules_of(table: Table) -> tuple[Rule | TableRule, ...]:
    """All rules of a table, in the contract's order."""
    return (*table.rules, *table.table_rules)


def expected(table: Table, rules: Sequence[Rule | TableRule], relations: Relations) -> tuple[Expected, ...]:
    """One expectation for each rule."""
    return tuple(Expected(rule, *_expectation(rule, table, relations)) for rule in rules)


def _expectation(rule: Rule | TableRule, table: Table, relations: Relations) -> tuple[str, dict[str, object]]:
    if isinstance(rule, Rule):
        return _of_row(rule, table) or (OWN, _own(rule, predicate=rule.predicate))
    if rule.kind is TableRuleKind.EXPECTATION:
        return str(rule.arguments["type"]), dict(cast("Mapping[str, object]", rule.arguments["kwargs"]))
    if (known := _of_table(rule)) is not None:
        return known
    asked = (rule, table.name, relations.table)
    figure = figure_query(*asked, published=relations.published, now=relations.now)
    if figure is not None:
        return OWN, _own(rule, figure=figure)
    return OWN, _own(rule, query=failures_query(*asked))


def _own(rule: Rule | TableRule, **sql: str) -> dict[str, object]:
    """Arguments of our expectation. Data docs show it with the column, if it is about one."""
    column = rule.column if isinstance(rule, Rule) else rule.columns[0] if len(rule.columns) == 1 else None
    return {"rule": rule.name, **sql, **({"column": column} if column else {})}


def _of_row(rule: Rule, table: Table) -> tuple[str, dict[str, object]] | None:
    """The library's expectation of a row rule; None where it would judge other than the predicate."""
    if rule.column is None:
        return None
    kind, told = table.column(rule.column).type, rule.arguments
    match rule.kind:
        case RuleKind.NOT_NULL:
            name, further = "not_be_null", dict[str, object]()
        case RuleKind.ACCEPTED_VALUES if _same(values := cast("Sequence[object]", told["values"]), kind):
            name, further = "be_in_set", {"value_set": list(values)}
        case RuleKind.LIMIT if kind in _INTEGERS and _whole(told["bound"]):
            name, further = "be_between", _side(str(told["sign"]), told["bound"])
        case RuleKind.LENGTH if kind == "string":
            sides = _side(str(told["sign"]), told["length"])
            return "expect_column_value_lengths_to_be_between", {"column": rule.column, **sides}
        case RuleKind.PATTERN if kind == "string":
            name, further = "match_regex", {"regex": told["pattern"]}
        case _:
            return None
    return f"expect_column_values_to_{name}", {"column": rule.column, **further}


def _of_table(rule: TableRule) -> tuple[str, dict[str, object]] | None:
    """The library's expectation of a table rule, where it has the same one."""
    if rule.kind is TableRuleKind.UNIQUE:
        # For several columns the library joins the table to its own groups: three times our query's time.
        several = len(rule.columns) > 1
        return None if several else ("expect_column_values_to_be_unique", {"column": rule.columns[0]})
    if rule.kind is not TableRuleKind.ROW_COUNT:
        return None
    bound = cast("Bound", rule.arguments["bound"])
    if not all(_whole(value) for value in bound.values):
        return None
    first, last = cast("int", bound.values[0]), cast("int", bound.values[-1])
    ends: Mapping[Comparison, dict[str, object]] = {
        Comparison.EQUAL: {"min_value": first, "max_value": first},
        Comparison.GREATER: {"min_value": first + 1},
        Comparison.GREATER_OR_EQUAL: {"min_value": first},
        Comparison.LESS: {"max_value": first - 1},
        Comparison.LESS_OR_EQUAL: {"max_value": first},
        Comparison.BETWEEN: {"min_value": first, "max_value": last},
    }
    if bound.comparison not in ends:
        return None
    return "expect_table_row_count_to_be_between", ends[bound.comparison]


def _side(sign: str, bound: object) -> dict[str, object]:
    side = "min" if sign.startswith(">") else "max"
    return {f"{side}_value": bound, **({} if sign.endswith("=") else {f"strict_{side}": True})}


def _same(values: Sequence[object], column_type: str) -> bool:
    """Whether the values need no cast to be compared with a column of that type."""
    if column_type == "string":
        return all(isinstance(value, str) for value in values)
    return column_type in _INTEGERS and all(map(_whole, values))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _EXACT
