"""A table rule as SQL: a query whose rows say what is wrong, and that has none when the rule holds.

So it serves as a dbt test as it stands. Expectations are Great Expectations' to run (`quality/`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from lakehouse.contracts.expressions import OBJECT
from lakehouse.tables import Bound, Comparison, TableName, TableRule, TableRuleKind
from lakehouse.tables.sql import literal, quote

_SIGNS = {
    Comparison.EQUAL: "=",
    Comparison.NOT_EQUAL: "<>",
    Comparison.GREATER: ">",
    Comparison.GREATER_OR_EQUAL: ">=",
    Comparison.LESS: "<",
    Comparison.LESS_OR_EQUAL: "<=",
}


def failures_query(rule: TableRule, own: TableName, relation: Callable[[TableName], str]) -> str:
    """A DuckDB query of what breaks a rule of the table `own`; `relation` says how SQL names a table.

    Keys and orphans come one row each; a figure out of its bound is one row with the figure as `found`. Raises
    ValueError for an expectation.
    """
    table = relation(own)
    columns = ", ".join(map(quote, rule.columns))
    match rule.kind:
        case TableRuleKind.UNIQUE:
            present = _present(rule.columns)
            repeated = f"group by {columns} having count(*) > 1"
            return f"select {columns}, count(*) as found from {table} where {present} {repeated}"
        case TableRuleKind.DUPLICATES:
            groups = f"select count(*) as n from {table} where {_present(rule.columns)} group by {columns}"
            return _figure(f"(select coalesce(sum(n - 1), 0)::bigint from ({groups}))", rule, table)
        case TableRuleKind.RELATIONSHIP:
            return _orphans(rule, table, relation)
        case TableRuleKind.ROW_COUNT:
            return _figure(f"(select count(*) from {table})", rule, table)
        case TableRuleKind.BAD_ROWS:
            predicate = rule.arguments["predicate"]
            return _figure(f"(select count(*) from {table} where not ({predicate}))", rule, table)
        case TableRuleKind.SQL:
            return _figure(f"({str(rule.arguments['query']).replace(OBJECT, table)})", rule, table)
        case TableRuleKind.EXPECTATION:
            message = f"{rule.name} is an expectation, which is not run as SQL"
            raise ValueError(message)


def _present(columns: tuple[str, ...]) -> str:
    return " and ".join(f"{quote(column)} is not null" for column in columns)


def _orphans(rule: TableRule, table: str, relation: Callable[[TableName], str]) -> str:
    other = relation(cast("TableName", rule.arguments["to"]))
    pairs = zip(rule.columns, cast("tuple[str, ...]", rule.arguments["to_columns"]), strict=True)
    same = " and ".join(f"one.{quote(mine)} = other.{quote(theirs)}" for mine, theirs in pairs)
    present = " and ".join(f"one.{quote(column)} is not null" for column in rule.columns)
    columns = ", ".join(f"one.{quote(column)}" for column in rule.columns)
    partner = f"select 1 from {other} as other where {same}"
    return f"select {columns} from {table} as one where {present} and not exists ({partner})"


def _figure(figure: str, rule: TableRule, table: str) -> str:
    bound = cast("Bound", rule.arguments["bound"])
    if bound.percent:
        # An empty table has no bad rows, so the share of them is 0 and not NULL.
        figure = f"coalesce(100.0 * {figure} / nullif((select count(*) from {table}), 0), 0)"
    values = [literal(value) if isinstance(value, str) else str(value).lower() for value in bound.values]
    if bound.comparison in {Comparison.BETWEEN, Comparison.NOT_BETWEEN}:
        holds = f"found between {values[0]} and {values[1]}"
        holds = f"not ({holds})" if bound.comparison is Comparison.NOT_BETWEEN else holds
    else:
        holds = f"found {_SIGNS[bound.comparison]} {values[0]}"
    # A query that answers NULL has not shown that the rule holds.
    return f"select found from (select {figure} as found) where ({holds}) is not true"
