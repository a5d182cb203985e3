"""A dimension in DuckDB's memory, that changes are applied to by `versions.py` alone."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import BooleanType, LongType, NestedField, StringType, TimestampType

from assets_tests.iceberg.merge.history_oracle import Change, Version
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.merge.versions import CHANGES, COME, GONE, REPEATED, REPEATS, STORED, compute
from lakehouse.tables import TableName

KINDS = {
    "since": TimestampType(),
    "shop": StringType(),
    "number": LongType(),
    "name": StringType(),
    "until": TimestampType(),
    "size": LongType(),
    "now": BooleanType(),
}
"""Columns in an order of no meaning, a key of two."""
COLUMNS = "c0 BIGINT, c1 VARCHAR, c2 BIGINT, c3 VARCHAR, c4 BIGINT, c5 BIGINT, c6 BOOLEAN"
ARRIVED = pa.schema(
    [
        ("row", pa.int64()),
        ("deleted", pa.bool_()),
        ("c0", pa.int64()),
        ("c1", pa.string()),
        ("c2", pa.int64()),
        ("c3", pa.string()),
        ("c5", pa.int64()),
    ]
)
SCHEMA = Schema(*(NestedField(number, name, kind) for number, (name, kind) in enumerate(KINDS.items(), start=1)))


def dimension(tracked: tuple[str, ...] | None = None, retired: tuple[str, ...] = ()) -> Dimension:
    return Dimension.of(
        TableName.parse("gold.dim"),
        SCHEMA,
        key=("shop", "number"),
        valid_from="since",
        valid_to="until",
        current="now",
        surrogate=None,
        tracked=tracked,
        retired=retired,
    )


WHOLE = dimension()


class Dim:
    """A table of versions that changes are applied to, and the moments of repeats beside it."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, of: Dimension = WHOLE) -> None:
        self.duck = duck
        self.of = of
        duck.execute(f"CREATE OR REPLACE TEMP TABLE whole (file INTEGER, position BIGINT, {COLUMNS})")
        duck.execute("CREATE OR REPLACE TEMP TABLE beside (c1 VARCHAR, c2 BIGINT, since BIGINT)")

    def apply(self, changes: Iterable[Change], *, complete: bool = False, forget: bool = False) -> tuple[int, int]:
        """How many rows go, and how many come."""
        told = [
            (row, values is None, at, *key, *(values or (None, None))) for row, (key, at, values) in enumerate(changes)
        ]
        arrived = pa.table(list(zip(*told, strict=True)), schema=ARRIVED)
        self.duck.register("arrived", arrived)
        self.duck.execute(f"CREATE OR REPLACE TEMP TABLE {CHANGES} AS FROM arrived")
        for name, of in ((STORED, "whole"), (REPEATS, "beside")):
            self.duck.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM {of} SEMI JOIN {CHANGES} USING (c1, c2)")
        compute(self.duck, self.of, complete=complete)
        [(gone, come)] = self.duck.sql(
            f"SELECT (SELECT count(*) FROM {GONE}), (SELECT count(*) FROM {COME})"
        ).fetchall()
        self.duck.execute(f"DELETE FROM whole USING {GONE} AS gone WHERE whole.position = gone.position")
        self.duck.execute(f"INSERT INTO whole SELECT 0, nextval('positions'), * FROM {COME}")
        self.duck.execute(f"DELETE FROM beside USING {CHANGES} AS c WHERE beside.c1 = c.c1 AND beside.c2 = c.c2")
        if not forget:
            self.duck.execute(f"INSERT INTO beside FROM {REPEATED}")
        return gone, come

    def versions(self) -> set[Version]:
        rows = self.duck.sql("SELECT c1, c2, c0, c4, c3, c5, c6 FROM whole").fetchall()
        assert all(current == (until is None) for _, _, _, until, *_, current in rows)
        assert len(set(rows)) == len(rows)
        return {Version((shop, number), since, until, tuple(rest)) for shop, number, since, until, *rest, _ in rows}

    def beside(self) -> list[tuple[object, ...]]:
        return sorted(self.duck.sql("FROM beside").fetchall())
