"""What a sample says about each column: NULLs, range, distinct values. Figures only; what follows is `proposal.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import duckdb

from lakehouse.scaffold.candidate import CandidateColumn, Sample
from lakehouse.scaffold.types import misfits, numeric_type, observed_type, typed_relation
from lakehouse.tables import Column
from lakehouse.tables.sql import quote

MAX_VALUES = 12
"""The most distinct texts that are listed."""

_MAX_LENGTH = 40
_UNORDERED = {"binary", "boolean"}
_KEY_TYPES = {"int", "long", "string", "date", "timestamp", "timestamptz"}
_PAIR_COLUMNS = 10
_BLANKS = ("NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "\\N", "-", "?")


@dataclass(frozen=True)
class ColumnProfile:
    """Figures of one column. `minimum` and `maximum` are None without values, and for NaN and types without an order.

    `values` lists the distinct texts where they are few and short. `misfits` counts values that are not of the type.
    `blank` is a word such as NA that keeps a column of texts from being of the type `without_blank`.
    """

    name: str
    type: str
    nulls: int
    distinct: int
    minimum: object = None
    maximum: object = None
    values: tuple[str, ...] = ()
    misfits: int = 0
    blank: str | None = None
    without_blank: str = ""


@dataclass(frozen=True)
class Profile:
    """Figures of a sample. `key`: what identifies a row of it; empty where nothing does, or it is not complete."""

    rows: int
    complete: bool
    columns: Mapping[str, ColumnProfile]
    key: tuple[str, ...] = ()


def profile(sample: Sample, columns: Sequence[CandidateColumn]) -> Profile:
    """Settle the type of each column, and count. Columns that the sample lacks are left out."""
    names = set(sample.rows.column_names)
    with _raw(sample) as connection:
        given = {str(row[0]): str(row[1]) for row in connection.execute("describe from raw").fetchall()}
        typed = [
            Column(column.name, _type(connection, sample, column, given[column.name]))
            for column in columns
            if column.name in names
        ]
        counted = {
            column.name: _profiled(connection, sample, column, given, typed_relation(sample.rows, [column], given))
            for column in typed
        }
        key = _key(connection, counted, sample.rows.num_rows) if sample.complete else ()
    return Profile(sample.rows.num_rows, sample.complete, counted, key)


@contextmanager
def _raw(sample: Sample) -> Iterator[duckdb.DuckDBPyConnection]:
    # No extension is looked for anywhere: the sample is in memory.
    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("raw", sample.rows)
        yield connection


def _type(connection: duckdb.DuckDBPyConnection, sample: Sample, column: CandidateColumn, given: str) -> str:
    if column.type is not None:
        return column.type
    # Only PostgreSQL says whether a column may be NULL, and leaves only a numeric's digits open.
    if column.nullable is not None:
        return numeric_type(connection, column.name)
    return observed_type(connection, sample.rows, column.name, given)


def _profiled(
    connection: duckdb.DuckDBPyConnection, sample: Sample, column: Column, given: Mapping[str, str], relation: str
) -> ColumnProfile:
    name = quote(column.name)
    ordered = column.type not in _UNORDERED
    ends = f"min({name}), max({name})" if ordered else "null, null"
    row = connection.execute(
        f"select count(*) - count({name}), count(distinct {name}), {ends} from {relation}"
    ).fetchone()
    nulls, distinct, low, high = row or (0, 0, None, None)
    # DuckDB sorts NaN above all numbers: a NaN is always the maximum, and no limit holds for it.
    if isinstance(high, float) and high != high:  # noqa: PLR0124  (NaN is what differs from itself)
        low = high = None
    values: tuple[str, ...] = ()
    if column.type == "string" and 0 < distinct <= MAX_VALUES and len(str(high)) <= _MAX_LENGTH:
        found = connection.execute(f"select distinct {name} from {relation} where {name} is not null order by 1")
        values = tuple(str(value) for (value,) in found.fetchall())
    bad = misfits(connection, sample.rows, column, given[column.name])
    blank, otherwise = _blank(connection, sample, column) if given[column.name] == "VARCHAR" else (None, "")
    return ColumnProfile(column.name, column.type, nulls - bad, distinct, low, high, values, bad, blank, otherwise)


def _blank(connection: duckdb.DuckDBPyConnection, sample: Sample, column: Column) -> tuple[str | None, str]:
    """A word for nothing among texts that are otherwise numbers, days or times; only files have such."""
    name = quote(column.name)
    if column.type != "string":
        return None, ""
    for word in _BLANKS:
        found = connection.execute(f"select count(*) from raw where {name} = ?", [word]).fetchone()
        if not found or not found[0]:
            continue
        rest = connection.execute(f"select nullif({name}, ?) as {name} from raw", [word]).to_arrow_table()
        with _raw(Sample(rest, sample.complete)) as other:
            kind = observed_type(other, rest, column.name, "VARCHAR")
        if kind != "string":
            return word, kind
    return None, ""


def _key(connection: duckdb.DuckDBPyConnection, counted: Mapping[str, ColumnProfile], rows: int) -> tuple[str, ...]:
    """One column without NULLs and repetitions, one that is called so first; else a pair of them."""
    able = [one for one in counted.values() if one.type in _KEY_TYPES and not one.nulls and not one.misfits]
    if rows < 2:  # noqa: PLR2004  (one row proves nothing)
        return ()
    singles = sorted((one for one in able if one.distinct == rows), key=lambda one: not _called_key(one.name))
    if singles:
        return (singles[0].name,)
    for pair in combinations([one for one in able if one.distinct > 1][:_PAIR_COLUMNS], 2):
        if pair[0].distinct * pair[1].distinct < rows:
            continue
        names = ", ".join(quote(one.name) for one in pair)
        found = connection.execute(f"select count(*) from (select distinct {names} from raw)").fetchone()
        if found and found[0] == rows:
            return (pair[0].name, pair[1].name)
    return ()


def _called_key(name: str) -> bool:
    return name.lower() in {"id", "key", "code", "uuid"} or name.lower().endswith(("_id", "_key", "_code", "_no"))
