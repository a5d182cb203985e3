"""A dimension in the lake, a history that is brought into it, and the oracle beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from assets_tests.iceberg.merge.history_oracle import Change, Known, Version, last_word, versions
from lakehouse.iceberg import Commit, Lake, LakeTable, Way
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName

COLUMNS = (
    Column("customer_key", "string", required=True),
    Column("name", "string"),
    Column("shop", "string", required=True),
    Column("number", "long", required=True),
    Column("valid_to", "timestamptz"),
    Column("rank", "double"),
    Column("valid_from", "timestamptz", required=True),
    Column("is_current", "boolean", required=True),
)
LAYOUTS: dict[str, dict[str, Any]] = {
    "flat": {},
    "sorted": {"sort_by": ("shop", "number", "valid_from")},
    "by bucket": {"partition_by": (PartitionField("number", "bucket[2]"),)},
    "by month": {"partition_by": (PartitionField("valid_from", "month"),)},
}
BEGIN = datetime(2026, 1, 30, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_runs = count()


def moment(at: int) -> datetime:
    """A day each: some of them are in January, some in February."""
    return BEGIN + timedelta(days=at)


def told(changes: Sequence[Change]) -> pa.Table:
    """Changes as rows."""
    return pa.table(
        {
            "gone": pa.array([change.values is None for change in changes], pa.bool_()),
            "number": pa.array([change.key[1] for change in changes], pa.int64()),
            "shop": pa.array([change.key[0] for change in changes], pa.string()),
            "changed_at": pa.array([moment(change.at) for change in changes], pa.timestamp("us", "UTC")),
            "name": pa.array([change.values and change.values[0] for change in changes], pa.string()),
            "rank": pa.array([change.values and change.values[1] for change in changes], pa.float64()),
        }
    )


class Customers:
    """The table `gold.customers` of a layout; every change that it was told is known to the oracle too."""

    def __init__(
        self, lake: Lake, duck: duckdb.DuckDBPyConnection, layout: str = "flat", name: str = "customers"
    ) -> None:
        declared = Table(
            name=TableName(Layer.GOLD, name),
            domain="shop",
            description="Customers",
            columns=COLUMNS,
            file=Path("customers.yaml"),
            **LAYOUTS[layout],
        )
        self.declared = declared
        self.table: LakeTable = lake.create(declared)
        self.duck = duck
        self.known: Known = {}

    def tell(self, *changes: Change, way: Way | None = None, **arguments: Any) -> Commit:  # noqa: ANN401  (passed on)
        """Bring changes into the table."""
        self.known = last_word(changes, self.known)
        return self.history(told(changes), deleted="gone", way=way, **arguments)

    def history(self, rows: pa.Table, **arguments: Any) -> Commit:  # noqa: ANN401  (passed on)
        asked = {
            "key": ("shop", "number"),
            "effective": "changed_at",
            "surrogate": "customer_key",
            "connection": self.duck,
            "run_key": f"history {next(_runs)}",
            **arguments,
        }
        return self.table.history(rows, **asked)

    def versions(self, at: str = "main") -> set[Version]:
        """What the table holds, as PyIceberg and as DuckDB read it. Flag and surrogate key are looked at here."""
        found = self.table.scan(at=at).read_all().to_pylist()
        seen = set()
        for row in found:
            since = row["valid_from"] - _EPOCH
            text = f"{row['shop']}|{row['number']}|{since // timedelta(microseconds=1)}"
            assert row["customer_key"] == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
            assert row["is_current"] == (row["valid_to"] is None)
            until = row["valid_to"] and (row["valid_to"] - BEGIN).days
            values = (row["name"], row["rank"])
            seen.add(Version((row["shop"], row["number"]), (row["valid_from"] - BEGIN).days, until, values))
        assert len(seen) == len(found)
        sql = f"SELECT customer_key FROM {self.table.relation_sql(at)} ORDER BY 1"
        assert [key for (key,) in self.duck.execute(sql).fetchall()] == sorted(row["customer_key"] for row in found)
        return seen

    def right(self, at: str = "main") -> bool:
        """Whether these are the versions of all changes that were told."""
        assert self.versions(at) == versions(self.known)
        return True

    def counts(self, at: str = "main") -> dict[str, int]:
        """What the newest snapshot says of itself."""
        counts: dict[str, int] = json.loads(self.table.snapshots(at)[0].summary["lakehouse.merge"])
        return counts

    def remembered(self, at: str = "main") -> int:
        """How many repeats are."""
        return int(json.loads(self.table.snapshots(at)[0].summary.get("lakehouse.tombstones", "{}")).get("rows", 0))


def of(at: int, name: str | None, *, rank: float | None = None, number: int = 1, shop: str = "a") -> Change:
    """One change, of one and the same customer if not said otherwise. No name: deleted."""
    return Change((shop, number), at, None if name is None else (name, rank))
