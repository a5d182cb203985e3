"""A rule as SQL: a query whose rows say what is wrong, and that has none when the rule holds.

So it serves as a dbt test as it stands. Expectations are Great Expectations' to run (`quality/`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import cast

import sqlglot
from sqlglot import exp

from lakehouse.contracts.expressions import OBJECT, PUBLISHED
from lakehouse.tables import Bound, Comparison, Layer, Rule, TableName, TableRule, TableRuleKind
from lakehouse.tables.sql import literal, quote

NOW = "now()"
"""What time it is, as SQL of type TIMESTAMP WITH TIME ZONE."""

_SIGNS = {
    Comparison.EQUAL: "=",
    Comparison.NOT_EQUAL: "<>",
    Comparison.GREATER: ">",
    Comparison.GREATER_OR_EQUAL: ">=",
    Comparison.LESS: "<",
    Comparison.LESS_OR_EQUAL: "<=",
}


def failures_query(
    rule: Rule | TableRule,
    own: TableName,
    relation: Callable[[TableName], str],
    *,
    published: str | None = None,
    now: str = NOW,
) -> str:
    """A DuckDB query of what breaks a rule of the table `own`; `relation` says how SQL names a table.

    Rows, keys and orphans come one row each; a figure out of its bound is one row with the figure as `found`.
    `published` names the table as it is on main (default: as `own`). Raises ValueError for an expectation.
    """
    table = relation(own)
    if isinstance(rule, Rule):
        return f"select * from {table} where not ({rule.predicate})"
    match rule.kind:
        case TableRuleKind.UNIQUE:
            columns = ", ".join(map(quote, rule.columns))
            repeated = f"group by {columns} having count(*) > 1"
            return f"select {columns}, count(*) as found from {table} where {_present(rule.columns)} {repeated}"
        case TableRuleKind.RELATIONSHIP:
            return _orphans(rule, table, relation)
        case _:
            figure, holds = _figure(rule, table, published or table, now)
            # A query that answers NULL has not shown that the rule holds.
            return f"select found from (select {figure} as found) where ({holds}) is not true"


def figure_query(
    rule: TableRule,
    own: TableName,
    relation: Callable[[TableName], str],
    *,
    published: str | None = None,
    now: str = NOW,
) -> str | None:
    """The figure of a rule as `found`, and whether the rule `holds`, in one row; None for a rule that has no figure.

    Arguments as those of `failures_query`, which has no rows when this one holds. Raises ValueError for an expectation.
    """
    if rule.kind in {TableRuleKind.UNIQUE, TableRuleKind.RELATIONSHIP}:
        return None
    table = relation(own)
    figure, holds = _figure(rule, table, published or table, now)
    return f"select found, ({holds}) is true as holds from (select {figure} as found)"


def rows_rule(rule: Rule | TableRule) -> Rule | TableRule:
    """The rule that names the rows or keys which a rule counts; the rule itself where it does not count any."""
    if isinstance(rule, Rule):
        return rule
    if rule.kind is TableRuleKind.BAD_ROWS:
        return Rule(rule.name, str(rule.arguments["predicate"]), rule.severity, description=rule.description)
    return replace(rule, kind=TableRuleKind.UNIQUE) if rule.kind is TableRuleKind.DUPLICATES else rule


def tables_read(rule: Rule | TableRule) -> tuple[TableName, ...]:
    """The tables that a rule names beside its own, in the order of their names."""
    if isinstance(rule, Rule):
        return ()
    if rule.kind is TableRuleKind.RELATIONSHIP:
        return (cast("TableName", rule.arguments["to"]),)
    if rule.kind is TableRuleKind.SQL:
        return tables_named(str(rule.arguments["query"]))
    return ()


def tables_named(query: str) -> tuple[TableName, ...]:
    """The tables of the lake that a query names in full, in the order of their names."""
    tree = sqlglot.parse_one(query.replace(OBJECT, "this").replace(PUBLISHED, "published"), dialect="duckdb")
    named = (table for table in tree.find_all(exp.Table) if table.db in set(Layer))
    return tuple(sorted({TableName(Layer(table.db), table.name) for table in named}))


def _present(columns: tuple[str, ...]) -> str:
    return " and ".join(f"{quote(column)} is not null" for column in columns)


def _orphans(rule: TableRule, table: str, relation: Callable[[TableName], str]) -> str:
    other = relation(cast("TableName", rule.arguments["to"]))
    pairs = zip(rule.columns, cast("tuple[str, ...]", rule.arguments["to_columns"]), strict=True)
    same = " and ".join(f"one.{quote(mine)} = other.{quote(theirs)}" for mine, theirs in pairs)
    present = " and ".join(f"one.{quote(column)} is not null" for column in rule.columns)
    partner = f"select 1 from {other} as other where {same}"
    return f"select one.* from {table} as one where {present} and not exists ({partner})"


def _figure(rule: TableRule, table: str, published: str, now: str) -> tuple[str, str]:
    """A figure, and what must hold for it under the name `found`."""
    match rule.kind:
        case TableRuleKind.FRESH:
            (column,) = rule.columns
            return f"(select max({quote(column)}) from {table})", _fresh(
                cast("timedelta", rule.arguments["within"]), now
            )
        case TableRuleKind.DUPLICATES:
            columns = ", ".join(map(quote, rule.columns))
            groups = f"select count(*) as n from {table} where {_present(rule.columns)} group by {columns}"
            figure = f"(select coalesce(sum(n - 1), 0)::bigint from ({groups}))"
        case TableRuleKind.ROW_COUNT:
            figure = f"(select count(*) from {table})"
        case TableRuleKind.BAD_ROWS:
            figure = f"(select count(*) from {table} where not ({rule.arguments['predicate']}))"
        case TableRuleKind.SQL:
            query = str(rule.arguments["query"]).replace(OBJECT, table).replace(PUBLISHED, published)
            figure = f"({query})"
        case _:
            message = f"{rule.name} is not a figure that SQL can give"
            raise ValueError(message)
    bound = cast("Bound", rule.arguments["bound"])
    if bound.percent:
        # An empty table has no bad rows, so the share of them is 0 and not NULL.
        figure = f"coalesce(100.0 * {figure} / nullif((select count(*) from {table}), 0), 0)"
    return figure, _within(bound)


def _fresh(within: timedelta, now: str) -> str:
    # A day is over at its end: rows of today are not older than the clock.
    moment = "found::timestamptz + case when typeof(found) = 'DATE' then interval 1 day else interval 0 day end"
    return f"{moment} >= {now} - to_microseconds({within // timedelta(microseconds=1)})"


def _within(bound: Bound) -> str:
    values = [literal(value) if isinstance(value, str) else str(value).lower() for value in bound.values]
    if bound.comparison in {Comparison.BETWEEN, Comparison.NOT_BETWEEN}:
        holds = f"found between {values[0]} and {values[1]}"
        return f"not ({holds})" if bound.comparison is Comparison.NOT_BETWEEN else holds
    return f"found {_SIGNS[bound.comparison]} {values[0]}"
