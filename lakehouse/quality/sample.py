"""Which rows broke a rule: how many, and some of them as text, personal columns masked.

Values are masked in DuckDB, so that none of them is ever held here. Whether a rule holds is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from lakehouse.quality.finding import Sample
from lakehouse.quality.masking import MASK
from lakehouse.tables import Rule, Table, TableRule, TableRuleKind
from lakehouse.tables.sql import literal, quote

_LONGEST = 200
"""Characters shown of a value."""
_GROUPS = {TableRuleKind.UNIQUE, TableRuleKind.DUPLICATES}


def broken_counts(
    connection: duckdb.DuckDBPyConnection, relation: str, predicates: Mapping[str, str]
) -> Mapping[str, int]:
    """How many rows break each predicate, by name, in one scan."""
    if not predicates:
        return {}
    counts = ", ".join(f"count(*) filter (where not ({predicate}))" for predicate in predicates.values())
    row = connection.execute(f"select {counts} from {relation}").fetchone() or ()
    return dict(zip(predicates, row, strict=True))


def key_count(connection: duckdb.DuckDBPyConnection, failures: str) -> int:
    """How many rows have a key that another has too; `failures` finds the keys (`contracts/failures.py`)."""
    row = connection.execute(f"select coalesce(sum(found), 0)::bigint from ({failures})").fetchone()
    return int(row[0]) if row else 0


def row_count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """How many rows a relation or a query in brackets has."""
    row = connection.execute(f"select count(*) from {query}").fetchone()
    return int(row[0]) if row else 0


def sample(
    connection: duckdb.DuckDBPyConnection, table: Table, rule: Rule | TableRule, failures: str, limit: int
) -> tuple[Sample, ...]:
    """Some of the rows that a query finds, key columns and the rule's own first. Nothing with a limit of 0."""
    if limit == 0:
        return ()
    shown = _shown(table, rule)
    texts = [_text(name, masked=name in table.personal_columns) for name in shown]
    columns = ", ".join(map(quote, shown))
    limited = f"select {columns} from ({failures}) limit {limit}"
    rows = connection.execute(f"select {', '.join(texts)} from ({limited})").fetchall()
    return tuple(dict(zip(shown, row, strict=True)) for row in rows)


def masked(table: Table, columns: Sequence[str], values: Iterable[object]) -> tuple[Sample, ...]:
    """What Great Expectations listed of some columns, in our form."""
    rows = []
    for value in values:
        match value:
            case Mapping():
                row = [value.get(column) for column in columns]
            case list() | tuple():
                row = list(value)
            case _:
                row = [value]
        rows.append(dict(zip(columns, row, strict=False)))
    return tuple({name: _masked(table, name, value) for name, value in row.items()} for row in rows)


def _masked(table: Table, column: str, value: object) -> str | None:
    if value is None:
        return None
    return MASK if column in table.personal_columns else str(value)[:_LONGEST]


def _shown(table: Table, rule: Rule | TableRule) -> tuple[str, ...]:
    """Columns to show: all of the row, but only keys where other tables are concerned."""
    if isinstance(rule, TableRule) and rule.kind in _GROUPS:
        return (*rule.columns, "found")
    names = [column.name for column in table.stored_columns]
    own = rule.columns if isinstance(rule, TableRule) else (rule.column,) if rule.column else ()
    first = tuple(dict.fromkeys((*table.primary_key, *own)))
    if isinstance(rule, TableRule) and rule.kind is TableRuleKind.RELATIONSHIP:
        return first
    return (*first, *(name for name in names if name not in first))


def _text(column: str, *, masked: bool) -> str:
    name = quote(column)
    text = literal(MASK) if masked else f"left(cast({name} as varchar), {_LONGEST})"
    return f"case when {name} is not null then {text} end as {name}"
