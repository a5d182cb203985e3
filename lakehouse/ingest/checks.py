"""What the door asks DuckDB about chunks of one schema: which columns to cast, and what can be wrong with a row.

Made once for a schema. How it is asked, and what becomes of the answer, is `door.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from lakehouse.ingest.casts import Cast, exact_cast, local_day
from lakehouse.ingest.drift import unnamed
from lakehouse.tables import EXTRA, BusinessDay, Column, Severity, Table
from lakehouse.tables.sql import literal, quote
from lakehouse.tables.types import duckdb_type

RAW = "__raw_"
"""What the name of a column begins with in a plan's relation, where its raw values are meant."""


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong with a row. `broken` is SQL that is true then, and never NULL."""

    name: str
    broken: str
    error: str
    column: str | None


@dataclass(frozen=True)
class Plan:
    """`cast`: columns to take from `relation`, for the raw ones cannot be used as they are; `checks` are over it.

    `columns` are those that the contract wants of a source.
    `unnamed`: raw columns that the contract does not name, which are in `_extra` of the relation.
    """

    relation: str
    columns: tuple[str, ...]
    cast: tuple[str, ...]
    checks: tuple[Check, ...]
    unnamed: tuple[str, ...]


def make_plan(table: Table, given: Mapping[str, str], same: Collection[str]) -> Plan:
    """The plan for a relation `raw` of columns with the DuckDB types `given`; those in `same` need no cast."""
    selected, cast, checks = list[str](), list[str](), list[Check]()
    for column in table.source_columns:
        name = quote(column.name)
        if column.name not in given:
            selected.append(f"CAST(NULL AS {duckdb_type(column.type)}) AS {name}")
            cast.append(column.name)
            checks += _required(column, "true")
            continue
        raw = f"raw.{name}"
        how = exact_cast(raw, given[column.name], column.type, same=column.name in same)
        selected.append(f"{how.value or raw} AS {name}, {raw} AS {_raw(column.name)}")
        if how.value is not None:
            cast.append(column.name)
        checks += _typed(column, how)
        checks += _required(column, f"{_raw(column.name)} IS NULL")
    others = unnamed(table, given)
    if others:
        selected.append(f"{_extra(others, given)} AS {quote(EXTRA)}")
        cast.append(EXTRA)
    relation = f"(SELECT {', '.join(selected)} FROM raw)"
    named = {check.name for check in checks}
    if table.business_day is not None and table.window_column is not None:
        relation = _with_day(relation, table.window_column, table.business_day)
        cast.append(table.window_column)
        checks.append(_day_check(table.window_column, table.business_day))
        # A day is missing where its moment is, and of that it is said.
        named |= {checks[-1].name, f"{table.window_column}_not_null"}
    checks += [
        Check(rule.name, f"NOT coalesce(({rule.predicate}), true)", rule.description or rule.predicate, rule.column)
        for rule in table.rules
        if rule.severity is Severity.ERROR and rule.name not in named
    ]
    columns = tuple(column.name for column in table.source_columns)
    return Plan(relation, columns, tuple(cast), tuple(checks), others)


def _extra(names: Collection[str], given: Mapping[str, str]) -> str:
    """These raw columns as one JSON object of texts: a number's digits are those of the source. NULL if all are."""
    texts = {name: exact_cast(f"raw.{quote(name)}", given[name], "string", same=False).value for name in names}
    values = ", ".join(f"{literal(name)}: {text}" for name, text in texts.items())
    missing = " AND ".join(f"raw.{quote(name)} IS NULL" for name in names)
    return f"CASE WHEN NOT ({missing}) THEN CAST(to_json({{{values}}}) AS VARCHAR) END"


def _with_day(relation: str, day: str, how: BusinessDay) -> str:
    return f"(SELECT *, {local_day(quote(how.column), how.zone)} AS {quote(day)} FROM {relation})"


def _day_check(day: str, how: BusinessDay) -> Check:
    """Named as the check of a column that the source has; what is at fault is the moment."""
    broken = f"{quote(how.column)} IS NOT NULL AND {quote(day)} IS NULL"
    return Check(f"{day}_type", broken, f"the {how} is no day of the years 1 to 9999", how.column)


def _raw(name: str) -> str:
    return quote(f"{RAW}{name}")


def _typed(column: Column, how: Cast) -> Iterator[Check]:
    name, error = f"{column.name}_type", f"{column.name} is not {column.type}"
    raw = _raw(column.name)
    if how.value is not None:
        yield Check(name, f"{raw} IS NOT NULL AND {quote(column.name)} IS NULL", error, column.name)
    elif how.span is not None:
        yield Check(name, f"NOT coalesce({raw} BETWEEN {how.span}, {raw} IS NULL)", error, column.name)


def _required(column: Column, missing: str) -> Iterator[Check]:
    if column.required:
        # Named as the contract's own rule, which would also blame a value that is there and has a wrong type.
        yield Check(f"{column.name}_not_null", missing, f"{column.name} is missing", column.name)
