"""A table of the lake and a plain DuckDB table that gets the same rows: what a merge must make is plain SQL there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.iceberg import Commit, LakeTable, Way
from lakehouse.tables import Table

COLUMNS = ("id", "day", "name", "amount", "version")


class Twin:
    """Both tables, which get the same statements. `declared` is the contract of the lake's."""

    def __init__(self, table: LakeTable, duck: duckdb.DuckDBPyConnection, declared: Table) -> None:
        self.table = table
        self.declared = declared
        self.duck = duck
        self._runs = 0
        self._plain = duckdb.connect()
        self._plain.execute(
            "CREATE TABLE twin (id BIGINT, day DATE, name VARCHAR, amount DECIMAL(12, 2), version BIGINT)"
        )

    def append(self, rows: pa.Table, **promise: Any) -> Commit:  # noqa: ANN401  (as the effect)
        """Add rows."""
        self._given(rows)
        self._plain.execute("INSERT INTO twin BY NAME (FROM given)")
        return self.table.append(rows, run_key=self._key(), **promise)

    def delete(self, where: str) -> Commit:
        """Remove rows."""
        self._plain.execute(f"DELETE FROM twin WHERE {where}")
        return self.table.delete(where, run_key=self._key())

    def follow(self) -> None:
        """Take over what the lake's table shows, after another program has changed it."""
        self._given(self.table.scan(columns=COLUMNS).read_all())
        self._plain.execute("CREATE OR REPLACE TABLE twin AS FROM given")

    def merge(  # noqa: PLR0913  (as the effect)
        self,
        rows: pa.Table,
        *,
        key: Sequence[str] = ("id",),
        sequence: str | None = None,
        deleted: str | None = None,
        way: Way | None = None,
        branch: str = "main",
        **promise: Any,  # noqa: ANN401  (as the effect)
    ) -> Commit:
        """Merge in both; in the plain table last, for what another writer does meanwhile comes before."""
        # The plain table does not remember what was deleted from it.
        promise = {"run_key": self._key(), "late": timedelta(0), **promise}
        commit = self.table.merge(
            rows,
            key=key,
            connection=self.duck,
            sequence=sequence,
            deleted=deleted,
            way=way,
            branch=branch,
            **promise,
        )
        self._merged(rows, list(key), sequence, deleted)
        return commit

    def replace_keys(self, rows: pa.Table, *, key: Sequence[str] = ("id",), **arguments: Any) -> Commit:  # noqa: ANN401  (as the effect)
        """Delete and insert in both; in the plain table last, as in `merge`."""
        given = {"run_key": self._key(), **arguments}
        commit = self.table.replace_keys(rows, key=key, connection=self.duck, **given)
        self._given(rows)
        self._plain.execute(f"DELETE FROM twin WHERE ({', '.join(key)}) IN (SELECT ({', '.join(key)}) FROM given)")
        self._plain.execute("INSERT INTO twin BY NAME (FROM given)")
        return commit

    def differs(self, branch: str = "main") -> list[tuple[Any, ...]]:
        """Rows that are not in both as often, as PyIceberg and as DuckDB read the lake's, with who has them."""
        names = ", ".join(COLUMNS)
        expected = Counter(self._plain.execute(f"SELECT {names} FROM twin").fetchall())
        self._given(self.table.scan(columns=COLUMNS, at=branch).read_all())
        found = {
            "PyIceberg": Counter(self._plain.execute(f"SELECT {names} FROM given").fetchall()),
            "DuckDB": Counter(self.duck.execute(f"SELECT {names} FROM {self.table.relation_sql(branch)}").fetchall()),
        }
        more = [(reader, *row) for reader, read in found.items() for row in read - expected]
        return more + [("plain", *row) for read in found.values() for row in expected - read]

    def doubled(self, key: Sequence[str]) -> bool:
        """Whether several rows have the same key."""
        return bool(self._plain.execute(f"SELECT 1 FROM twin GROUP BY {', '.join(key)} HAVING count(*) > 1").fetchall())

    def rows(self) -> list[tuple[Any, ...]]:
        """What the plain table holds, sorted."""
        return self._plain.execute("FROM twin ORDER BY ALL").fetchall()

    def _merged(self, rows: pa.Table, key: list[str], sequence: str | None, deleted: str | None) -> None:
        self._given(rows.append_column("arrived", pa.array(range(rows.num_rows), pa.int64())))
        same = " AND ".join(f"twin.{name} = last.{name}" for name in key)
        order = f"{sequence} DESC, arrived DESC" if sequence else "arrived DESC"
        self._plain.execute(
            "CREATE OR REPLACE TABLE last AS FROM given"
            f" QUALIFY row_number() OVER (PARTITION BY {', '.join(key)} ORDER BY {order}) = 1"
        )
        if sequence:
            self._plain.execute(f"DELETE FROM last USING twin WHERE {same} AND twin.{sequence} > last.{sequence}")
        stays = f"WHERE last.{deleted} IS DISTINCT FROM true" if deleted else ""
        newest = f"twin.{sequence} DESC NULLS LAST" if sequence else "1"
        values = ", ".join(f"{'last' if name in rows.column_names else 'twin'}.{name}" for name in COLUMNS)
        self._plain.execute(
            f"CREATE OR REPLACE TABLE come AS SELECT {values} FROM last LEFT JOIN twin ON {same} {stays}"
            f" QUALIFY row_number() OVER (PARTITION BY last.arrived ORDER BY {newest}) = 1"
        )
        self._plain.execute(f"DELETE FROM twin USING last WHERE {same}")
        self._plain.execute("INSERT INTO twin BY NAME FROM come")

    def _given(self, rows: pa.Table) -> None:
        self._plain.register("given", rows)

    def _key(self) -> str:
        self._runs += 1
        return f"twin {self._runs}"


def rows(*given: tuple[int, int, str, int], **more: list[Any]) -> pa.Table:
    """Rows of (id, day in January, name, version); the amount is half the version. `more`: further columns."""
    values = {
        "id": pa.array([of[0] for of in given], pa.int64()),
        "day": pa.array([date(2026, 1, of[1]) for of in given], pa.date32()),
        "name": pa.array([of[2] for of in given], pa.string()),
        "amount": pa.array([Decimal(of[3]) / 2 for of in given], pa.decimal128(12, 2)),
        "version": pa.array([of[3] for of in given], pa.int64()),
    }
    return pa.table({**values, **more})
