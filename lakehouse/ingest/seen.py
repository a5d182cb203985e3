"""Which rows of an extract bronze has already, and which keys of bronze the source no longer has.

What makes two rows the same is stated by the source (`Compare`). What bronze has is kept in a DuckDB file below the
state folder, not in memory, for the length of one load. Records that were rejected before are `quarantine.py`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from lakehouse.iceberg import LakeTable, arrow_schema
from lakehouse.ingest.casts import exact_cast
from lakehouse.sources import Chunk, Compare
from lakehouse.tables import DELETED, Table
from lakehouse.tables.sql import quote
from lakehouse.tables.types import duckdb_type

_MEMORY = "200MB"
_AT, _VERSION = "_extracted_at", "_source_version"
_PLACE = "__place"


class Seen:
    """What bronze had when the first row was compared. Made by `comparing`."""

    def __init__(
        self, target: LakeTable, table: Table, compare: Compare, connection: duckdb.DuckDBPyConnection
    ) -> None:
        self._target, self._table, self._compare, self._connection = target, table, compare, connection
        self._schema: pa.Schema = arrow_schema(table.stored_columns)
        self._key = [quote(name) for name in compare.key]
        content = [_VERSION] if compare.version else [column.name for column in table.source_columns]
        self._columns = list(dict.fromkeys([*compare.key, *content]))
        self._version = compare.version or _content([quote(name) for name in content])
        types = {column.name: duckdb_type(column.type) for column in table.columns}
        columns = ", ".join(f"{quote(name)} {types[name]}" for name in compare.key)
        # The keys that the source has.
        connection.execute(f"CREATE TABLE present ({columns})")

    def fresh(self, chunk: Chunk, accepted: pa.Table) -> pa.Table:
        """Those of the accepted rows of a chunk that bronze does not have."""
        if self._compare.deletions:
            self._keep_keys(chunk)
        if not self._known or not accepted.num_rows:
            return accepted
        same = " AND ".join([f"c.{name} = k.{name}" for name in self._key])
        kept = " AND NOT k.deleted" if self._compare.deletions else ""
        places = self._ask(
            accepted,
            f"WITH c AS (SELECT {', '.join(self._key)}, {self._version} AS version, {_PLACE} FROM given)"
            f" SELECT {_PLACE} FROM c SEMI JOIN known k ON {same} AND c.version = k.version{kept}",
        )
        return _without(accepted, places)

    def deleted(self, extracted_at: datetime, run_key: str) -> Iterator[pa.Table]:
        """For each key of bronze that no chunk had: its newest row, marked as deleted by this load."""
        if not self._compare.deletions or not self._known:
            return
        keys = ", ".join(self._key)
        self._connection.execute(
            f"CREATE OR REPLACE TABLE gone AS SELECT {keys}, moment FROM known"
            f" ANTI JOIN present USING ({keys}) WHERE NOT known.deleted"
        )
        if not self._connection.execute("SELECT count(*) FROM gone").fetchall()[0][0]:
            return
        same = " AND ".join([f"given.{name} = gone.{name}" for name in self._key])
        for batch in self._target.scan(columns=self._schema.names):
            rows = pa.Table.from_batches([batch])
            places = self._ask(rows, f"SELECT {_PLACE} FROM given SEMI JOIN gone ON {same} AND {_AT} = gone.moment")
            if places:
                yield self._marked(rows.take(places), extracted_at, run_key)

    @cached_property
    def _known(self) -> bool:
        """Whether bronze has anything to compare with; once asked, it stands in the table `known`."""
        wanted = [*self._columns, _AT, *([DELETED.name] if self._compare.deletions else [])]
        self._connection.register("bronze", self._target.scan(columns=wanted, where=self._compare.where))
        deleted = f"coalesce({DELETED.name}, false)" if self._compare.deletions else "false"
        keys = ", ".join(self._key)
        self._connection.execute(
            f"CREATE OR REPLACE TABLE known AS SELECT {keys}, {self._version} AS version, {_AT} AS moment,"
            f" {deleted} AS deleted FROM bronze WHERE {' AND '.join(f'{name} IS NOT NULL' for name in self._key)}"
        )
        self._connection.unregister("bronze")
        if self._compare.latest:
            # By a join, not by a window or arg_max: what it holds for a key has one size, so it can go to the disk.
            self._connection.execute(
                f"CREATE OR REPLACE TABLE known AS SELECT known.* FROM known SEMI JOIN"
                f" (SELECT {keys}, max(moment) AS moment FROM known GROUP BY {keys}) newest USING ({keys}, moment)"
            )
        return bool(self._connection.execute("SELECT count(*) FROM known").fetchall()[0][0])

    def _keep_keys(self, chunk: Chunk) -> None:
        """Remember the keys that the source has, also those of rows that break the contract."""
        if not chunk.rows.num_rows:
            return
        kinds = {name: self._schema.field(name).type for name in self._compare.key}
        raw = chunk.rows.select(list(self._compare.key))
        self._connection.register("raw", raw)
        given = {str(row[0]): str(row[1]) for row in self._connection.execute("DESCRIBE FROM raw").fetchall()}
        casts = (
            exact_cast(
                f"raw.{quote(name)}",
                given[name],
                self._table.column(name).type,
                same=raw.schema.field(name).type == kind,
            )
            for name, kind in kinds.items()
        )
        values = [how.value or f"raw.{name}" for how, name in zip(casts, self._key, strict=True)]
        self._connection.execute(f"INSERT INTO present SELECT {', '.join(values)} FROM raw")
        self._connection.unregister("raw")

    def _ask(self, rows: pa.Table, sql: str) -> list[int]:
        """The places among some rows, which SQL knows as `given`, that it answers."""
        columns = rows.select([name for name in [*self._columns, _AT] if name in rows.column_names])
        self._connection.register("asked", columns.append_column(_PLACE, pa.array(range(rows.num_rows), pa.int64())))
        # As a table of DuckDB's own: what a join pushes down to Arrow knows no UUID.
        self._connection.execute("CREATE OR REPLACE TEMP TABLE given AS FROM asked")
        self._connection.unregister("asked")
        return [place for (place,) in self._connection.execute(sql).fetchall()]

    def _marked(self, rows: pa.Table, extracted_at: datetime, run_key: str) -> pa.Table:
        new = {_AT: extracted_at, "_run_key": run_key, DELETED.name: True}
        columns = [
            pa.repeat(pa.scalar(new[field.name], field.type), rows.num_rows)
            if field.name in new
            else rows.column(field.name).cast(field.type)
            for field in self._schema
        ]
        return pa.table(columns, schema=self._schema)


@contextmanager
def comparing(target: LakeTable, table: Table, compare: Compare | None, folder: Path) -> Iterator[Seen | None]:
    """A comparison with a table's rows, in files below `folder` that are gone at the end; None if there is none."""
    if compare is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": _MEMORY,
            "preserve_insertion_order": False,
            "temp_directory": f"{place}/spill",
        }
        with duckdb.connect(f"{place}/known.duckdb", config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield Seen(target, table, compare, connection)


def _without(rows: pa.Table, places: Sequence[int]) -> pa.Table:
    if not places:
        return rows
    kept = np.ones(rows.num_rows, dtype=bool)
    kept[list(places)] = False
    return rows.filter(pa.array(kept))


def _content(columns: Sequence[str]) -> str:
    """SQL of a hash of values: of texts with their lengths, so that no two rows are alike by how they are joined."""
    texts = (f"coalesce(length(CAST({name} AS VARCHAR)) || ':' || CAST({name} AS VARCHAR), '-')" for name in columns)
    return f"md5(concat({', '.join(texts)}))"
