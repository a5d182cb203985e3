"""Contracts with other columns: what the tests of evolution begin with."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pyarrow as pa

from lakehouse.iceberg import LakeTable
from lakehouse.tables import Column, Table


def with_columns(table: Table, *columns: Column) -> Table:
    changed = {column.name: column for column in columns}
    kept = tuple(changed.pop(column.name, column) for column in table.columns)
    return replace(table, columns=(*kept, *changed.values()))


def without(table: Table, name: str) -> Table:
    return replace(table, columns=tuple(column for column in table.columns if column.name != name))


def renamed(table: Table, old: str, new: str) -> Table:
    columns = (replace(one, name=new, renamed_from=old) if one.name == old else one for one in table.columns)
    return replace(table, columns=tuple(columns))


def read_twice(table: LakeTable, duck: duckdb.DuckDBPyConnection, order: str = "order_id") -> pa.Table:
    """The rows as PyIceberg's rules read them, which are those that DuckDB reads."""
    scanned = table.scan().read_all().sort_by(order)
    asked = duck.sql(f"from {table.relation_sql()} order by {order}").to_arrow_table()
    assert asked.cast(scanned.schema).equals(scanned)
    return scanned
