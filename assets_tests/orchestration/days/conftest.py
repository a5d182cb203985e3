"""A project of three tables by days, whose models can be built in real runs of Dagster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count

import dagster as dg
import pyarrow as pa
import pytest

from assets_tests.projects import head, write
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.models import model_assets
from lakehouse.orchestration.project import ready_models
from lakehouse.orchestration.runs import RunReport, run_tables
from lakehouse.orchestration.specs import days_from, table_key
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window

BRONZE, SILVER, GOLD = (TableName.parse(name) for name in ("bronze.receipts", "silver.receipts", "gold.takings"))
START = date(2026, 1, 1)
_LOADS = count()

_RECEIPTS = """\
      - {name: number, logicalType: integer, primaryKey: true, required: true, description: Number of the receipt}
      - {name: day, logicalType: date, required: true, description: Day of the receipt}
      - {name: amount, logicalType: integer, required: true, description: Cents paid}
"""
_TAKINGS = """\
      - {name: day, logicalType: date, primaryKey: true, required: true, description: The day}
      - {name: amount, logicalType: integer, required: true, description: Cents taken}
"""
_SILVER = """
    quality:
      - name: no_large_amount
        type: custom
        engine: lakehouse
        implementation: {row: amount <= 10000}
        severity: error
      - name: no_odd_amount
        type: custom
        engine: lakehouse
        implementation: {row: amount % 2 = 0}
        severity: warning
      - name: no_debt
        description: Not a single negative receipt, and nobody asks which
        type: sql
        query: select count(*) from {object} where amount < 0
        mustBe: 0
        severity: error
"""
_GOLD = """
    quality:
      - name: adds_up
        type: sql
        query: select (select sum(amount) from {object}) - (select sum(amount) from silver.receipts)
        mustBe: 0
        severity: error
"""
_WINDOW = "\ncustomProperties:\n  - {property: window, value: {column: day, start: 2026-01-01}}\n"
_LOAD = '  - {property: load, value: {source: landing, files: "*.jsonl"}}\n'
_OVERWRITE = "  - {property: strategy, value: overwrite}\n"
_CLEANED = """
select number, day, amount from {{ source('bronze', 'receipts') }} where {{ in_window('day') }}
qualify row_number() over (partition by number order by _extracted_at desc) = 1
"""
_SUMMED = """
select day, sum(amount) as amount from {{ ref('receipts') }} where {{ in_window('day') }} group by day
"""


@dataclass(frozen=True)
class Till:
    """Receipts by day, and what was taken on each."""

    settings: Settings

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    @property
    def defs(self) -> dg.Definitions:
        models = model_assets(self.settings, read_tables(self.settings.defs))
        return dg.Definitions(assets=models, executor=dg.in_process_executor)

    def receive(self, receipts: Mapping[int, tuple[date, int]]) -> None:
        """A load of bronze: day and amount by number; a number that is there already is corrected."""
        load = next(_LOADS)
        at = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(minutes=load)
        rows = [
            {"number": number, "day": day, "amount": amount, "_extracted_at": at, "_source": "t", "_run_key": str(load)}
            for number, (day, amount) in receipts.items()
        ]
        stored = self.lake.create(read_tables(self.settings.defs)[BRONZE])
        stored.append(pa.Table.from_pylist(rows, schema=stored.schema()), run_key=f"load-{load}")

    def run(self, first: date, last: date, settings: Settings | None = None) -> RunReport:
        till = Till(settings or self.settings)
        with open_instance(till.settings) as instance:
            return run_tables(till.defs, instance, [SILVER, GOLD], window=Window.of_days(first, last))

    def takings(self) -> dict[date, int]:
        rows = self.lake.table(GOLD).scan().read_all().to_pylist()
        return {row["day"]: row["amount"] for row in rows}

    def states(self, name: TableName, first: date, last: date) -> dict[date, str]:
        """What Dagster shows of each day."""
        days = [*Window.of_days(first, last).days]
        with open_instance(self.settings) as instance:
            keys = [day.isoformat() for day in days]
            found = instance.get_status_by_partition(table_key(name), keys, days_from(START)) or {}
        return {day: state.value if (state := found.get(day.isoformat())) else "MISSING" for day in days}

    def told(self, run_id: str, name: TableName) -> list[tuple[date, int]]:
        """The days that a run said are there, in the order that it said it, and their rows."""
        with open_instance(self.settings) as instance:
            entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            found = [entry.get_dagster_event().step_materialization_data.materialization for entry in entries]
        rows = [
            (one.partition, one.metadata["dagster/partition_row_count"].value) for one in found if self._is(one, name)
        ]
        return [(date.fromisoformat(str(day)), int(str(count))) for day, count in rows]

    @staticmethod
    def _is(event: dg.AssetMaterialization, name: TableName) -> bool:
        return event.asset_key == table_key(name)


def day(number: int) -> date:
    return START + timedelta(days=number - 1)


def _head(layer: str, name: str) -> str:
    return head("till", layer, name, "What the till took.")


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Till:
    folder = tmp_path_factory.mktemp("till") / "till"
    files = {
        "defs/till/bronze/receipts.yaml": _head("bronze", "receipts") + _RECEIPTS + _WINDOW + _LOAD,
        "defs/till/silver/receipts.yaml": _head("silver", "receipts") + (_RECEIPTS + _SILVER + _WINDOW + _OVERWRITE),
        "defs/till/gold/takings.yaml": _head("gold", "takings") + (_TAKINGS + _GOLD + _WINDOW + _OVERWRITE),
        "dbt/models/till/silver/receipts.sql": _CLEANED,
        "dbt/models/till/gold/takings.sql": _SUMMED,
    }
    settings = write(folder, files)
    ready_models(settings)
    return Till(settings)
