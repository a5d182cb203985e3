"""Files of payments for a load, and what the lake has of them afterwards."""

from __future__ import annotations

import json

from lakehouse.iceberg import Lake
from lakehouse.ingest import LoadResult
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName

QUARANTINE = TableName.parse("quarantine.shop_payments")


def rows(lake: Lake, name: TableName) -> list[dict[str, object]]:
    return list(lake.table(name).scan().read_all().to_pylist()) if lake.exists(name) else []


def ids(lake: Lake, table: Table) -> list[object]:
    return sorted(str(row["payment_id"]) for row in rows(lake, table.name))


def write(settings: Settings, name: str, *records: object) -> None:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (settings.state / "landing" / name).write_text("\n".join(lines))


def paid(payment_id: str | None, amount: str | None = "1.00", at: str = "2026-01-01T10:00:00Z") -> dict[str, object]:
    return {"payment_id": payment_id, "amount": amount, "paid_at": at}


def balanced(result: LoadResult) -> bool:
    return result.rows_read == result.rows_published + result.rows_quarantined + result.rows_seen
