"""The fingerprint of a set of rows: how many, and the sum of a 64-bit hash of each; their order is not in it.

A sum, for under an exclusive or two equal rows would be as good as none. How the rows come into DuckDB is `sources.py`.
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
    floats = [
        column
        for column, field in zip(columns, schema.fields, strict=True)
        if isinstance(field.field_type, FloatType | DoubleType)
    ]
    # DuckDB's hash takes -0.0 for 0.0.
    signs = [f"({column} = 0 AND signbit({column}))" for column in floats]
    zeros = " + ".join(f"count(*) FILTER (WHERE {sign})" for sign in signs) or "0"
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(hash({', '.join([*columns, *signs])})::HUGEINT), 0), {zeros} FROM {relation}"
    ).fetchone()
    assert row is not None  # noqa: S101  (an aggregate has one row)
    return Fingerprint(int(row[0]), int(row[1]), int(row[2]))
