"""A small project with a daily chain, written into a folder: sales and refunds from files, takings of each day.

silver.sales and gold.takings are built by days; silver.refunds is not, and reaches takings through the sale's number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from assets_tests.projects import head, write
from lakehouse.iceberg import Lake
from lakehouse.iceberg.query import run_query
from lakehouse.settings import Settings
from lakehouse.tables import TableName

SALES, REFUNDS = TableName.parse("bronze.sales"), TableName.parse("bronze.refunds")
SOLD, REFUNDED = TableName.parse("silver.sales"), TableName.parse("silver.refunds")
TAKINGS = TableName.parse("gold.takings")
BRONZE = (SALES, REFUNDS)

_SALES = """\
      - {name: number, logicalType: integer, primaryKey: true, required: true, description: Number of the sale}
      - {name: day, logicalType: date, required: true, description: Day of the sale}
      - {name: cents, logicalType: integer, required: true, logicalTypeOptions: {minimum: 0}, description: Paid}
"""
_REFUNDS = """\
      - {name: refund, logicalType: integer, primaryKey: true, required: true, description: Number of the refund}
      - {name: number, logicalType: integer, required: true, description: Number of the sale}
      - {name: cents, logicalType: integer, required: true, description: Paid back}
"""
_TAKINGS = """\
      - {name: day, logicalType: date, primaryKey: true, required: true, description: The day}
      - {name: cents, logicalType: integer, required: true, description: Taken}
    quality:
      - name: modest
        description: No day takes more than 100.00
        type: custom
        engine: lakehouse
        implementation: {row: cents <= 10000}
        severity: error
"""
_BY_DAY = "  - {property: window, value: {column: day, start: 2026-01-01}}\n"
_REPLACED = "customProperties:\n" + _BY_DAY + "  - {property: strategy, value: overwrite}\n"
_LOADED = 'customProperties:\n  - {{property: load, value: {{source: landing, files: "{0}/*.jsonl"}}}}\n'
_LATEST = "qualify row_number() over (partition by number order by _extracted_at desc, _source desc) = 1\n"


def _head(layer: str, name: str) -> str:
    return head("kiosk", layer, name, "What a kiosk sells.")


_FILES = {
    "defs/kiosk/bronze/sales.yaml": _head("bronze", "sales")
    + _SALES
    + _LOADED.format("sales")
    + "  - {property: rejectLimit, value: 0.5}\n"
    + _BY_DAY,
    "defs/kiosk/bronze/refunds.yaml": _head("bronze", "refunds") + _REFUNDS + _LOADED.format("refunds"),
    "defs/kiosk/silver/sales.yaml": _head("silver", "sales") + _SALES + _REPLACED,
    "defs/kiosk/silver/refunds.yaml": _head("silver", "refunds") + _REFUNDS,
    "defs/kiosk/gold/takings.yaml": _head("gold", "takings") + _TAKINGS + _REPLACED,
    "dbt/models/kiosk/silver/sales.sql": "select number, day, cents from {{ source('bronze', 'sales') }}\n"
    "where {{ in_window('day') }}\n" + _LATEST,
    "dbt/models/kiosk/silver/refunds.sql": "select refund, number, cents from {{ source('bronze', 'refunds') }}\n",
    "dbt/models/kiosk/gold/takings.sql": "select day, sum(sales.cents) - coalesce(sum(back.cents), 0) as cents\n"
    "from {{ ref('sales') }} as sales\n"
    "left join (select number, sum(cents) as cents from {{ ref('refunds') }} group by number) as back using (number)\n"
    "where {{ in_window('day') }} group by day\n",
}


@dataclass(frozen=True)
class Kiosk:
    """The project, in a folder of its own, with a catalog of its own."""

    settings: Settings

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    def sell(self, name: str, sales: Iterable[tuple[int, int, int]]) -> None:
        """A file of sales: number, day of January 2026, cents."""
        rows = [{"number": number, "day": str(january(day)), "cents": cents} for number, day, cents in sales]
        self._deliver("sales", name, rows)

    def refund(self, name: str, refunds: Iterable[tuple[int, int, int]]) -> None:
        """A file of refunds: number, number of the sale, cents."""
        self._deliver("refunds", name, [dict(zip(("refund", "number", "cents"), one, strict=True)) for one in refunds])

    def takings(self) -> dict[int, int]:
        """Cents by day of January, as gold shows them."""
        rows = run_query(self.settings, "select day, cents::bigint as cents from gold.takings").to_pylist()
        return {row["day"].day: row["cents"] for row in rows}

    def _deliver(self, folder: str, name: str, rows: list[dict[str, object]]) -> None:
        file = self.settings.state / "landing" / folder / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(map(json.dumps, rows)))


def january(day: int) -> date:
    return date(2026, 1, day)


def write_kiosk(folder: Path) -> Kiosk:
    """Write the project. Its models are not compiled yet."""
    return Kiosk(write(folder, _FILES))
