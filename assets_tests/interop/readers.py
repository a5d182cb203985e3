"""What three engines read of a table: PyIceberg through our own scan, DuckDB's iceberg_scan, and Spark.

Spark writes what it reads to Parquet, so that the same hash counts for all: of all columns, summed over the rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bench.spark_session import Spark
from lakehouse.iceberg import Lake, connect
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal, quote

At = str | int
"""A branch, a tag, or a snapshot's id."""


@dataclass(frozen=True)
class Rows:
    """Rows in no order: their columns with DuckDB's types, how many there are, and the sum of their hashes."""

    columns: tuple[tuple[str, str], ...]
    count: int
    hash: int

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, relation: str) -> Rows:
        described = connection.execute(f"describe select * from {relation}").fetchall()
        names = ", ".join(quote(name) for name, *_ in described)
        summed = f"select count(*), coalesce(sum(hash({names})::hugeint), 0) from {relation}"
        count, total = connection.execute(summed).fetchall()[0]
        return cls(tuple((name, kind) for name, kind, *_ in described), count, total)


@dataclass(frozen=True)
class Readers:
    """The three, on one lake."""

    settings: Settings
    lake: Lake
    spark: Spark
    folder: Path

    def ours(self, name: TableName, at: At = "main") -> Rows:
        with connect(self.settings) as connection:
            connection.register("ours", self.lake.table(name).scan(at=at).read_all())
            return Rows.of(connection, "ours")

    def by_duckdb(self, name: TableName, at: At = "main") -> Rows:
        with connect(self.settings) as connection:
            return Rows.of(connection, self.lake.table(name).relation_sql(at))

    def by_spark(self, name: TableName, at: At = "main") -> Rows:
        folder = self.folder / uuid.uuid4().hex
        version = at if isinstance(at, int) else literal(at)
        table = f"{self.spark_name(name)} version as of {version}"
        self.spark.sql(f"insert overwrite directory '{folder}' using parquet select * from {table}")
        with connect(self.settings) as connection:
            return Rows.of(connection, f"read_parquet({literal(f'{folder}/*.parquet')})")

    def spark_name(self, name: TableName) -> str:
        return f"{self.spark.catalog}.{name}"

    def equal(self, name: TableName, at: At = "main") -> Rows:
        """What all three read. Fails where one reads something else."""
        ours = self.ours(name, at)
        assert self.by_duckdb(name, at) == ours, f"DuckDB reads {name} at {at} differently"
        assert self.by_spark(name, at) == ours, f"Spark reads {name} at {at} differently"
        return ours

    def refs(self, name: TableName) -> Iterable[str]:
        table = self.lake.table(name)
        return ("main", *table.branches(), *table.tags())
