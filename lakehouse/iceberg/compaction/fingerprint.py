"""The fingerprint of a set of rows: how many, and the sum of a 64-bit hash of each; their order is not in it.

A sum, for under an exclusive or two equal rows would be as good as none. How the rows come into DuckDB is
`reads/sources.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, FloatType

from lakehouse.iceberg.reads.exact import position


@dataclass(frozen=True)
class Fingerprint:
    """`rows` and the sum of their hashes are equal for equal rows. `negative_zeros`: how many floats are -0.0."""

    rows: int
    hash: int
    negative_zeros: int


def fingerprint(connection: duckdb.DuckDBPyConnection, relation: str, schema: Schema) -> Fingerprint:
    """The fingerprint of a relation that `Sources` made of a table's rows. Raises what DuckDB and the relation do."""
    columns = [position(number) for number in range(len(schema.fields))]
    # DuckDB's hash takes -0.0 for 0.0.
    signs = _negative_zeros(schema)
    hashed = f"coalesce(sum(hash({', '.join([*columns, *signs])})::HUGEINT), 0)"
    row = connection.execute(f"SELECT count(*), {hashed}, {_counted(signs)} FROM {relation}").fetchone()
    assert row is not None  # noqa: S101  (an aggregate has one row)
    return Fingerprint(int(row[0]), int(row[1]), int(row[2]))


def negative_zeros(connection: duckdb.DuckDBPyConnection, relation: str, schema: Schema) -> int:
    """How many floats of such a relation are -0.0; where no column is one, nothing is read. Raises as `fingerprint`."""
    if not (signs := _negative_zeros(schema)):
        return 0
    row = connection.execute(f"SELECT {_counted(signs)} FROM {relation}").fetchone()
    assert row is not None  # noqa: S101  (an aggregate has one row)
    return int(row[0])


def _negative_zeros(schema: Schema) -> list[str]:
    floats = [
        position(number)
        for number, field in enumerate(schema.fields)
        if isinstance(field.field_type, FloatType | DoubleType)
    ]
    return [f"({column} = 0 AND signbit({column}))" for column in floats]


def _counted(conditions: list[str]) -> str:
    return " + ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions) or "0"
