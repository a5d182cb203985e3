"""The shop's definitions, made ready in a state folder of their own, and a small project that can be run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets_tests.changes.conftest import TenDays
from assets_tests.orchestration.asking import Asking
from assets_tests.projects import head, write
from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.project import definitions, ready_models
from lakehouse.orchestration.runs import RunReport, run_tables
from lakehouse.orchestration.upkeep_assets import upkeep_assets
from lakehouse.orchestration.upkeep_schedule import upkeep_schedules
from lakehouse.orchestration.upkeep_tables import upkeep_jobs
from lakehouse.settings import Catalog, Settings, load_settings
from lakehouse.tables import TableName

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the shop whose models are compiled; no service runs."""
    settings = load_settings(ROOT, state=str(tmp_path_factory.mktemp("orchestration")))
    ready_models(settings)
    return settings


@pytest.fixture(scope="session")
def declarations(ready: Settings) -> Declarations:
    return ready_models(ready)


@pytest.fixture(scope="session")
def defs(ready: Settings) -> dg.Definitions:
    return definitions(ready)


@pytest.fixture(scope="session")
def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {".".join(spec.key.path): spec for spec in defs.resolve_all_asset_specs()}


BRONZE, SILVER, GOLD = (TableName.parse(name) for name in ("bronze.receipts", "silver.receipts", "gold.takings"))

_RECEIPTS = """\
      - {{name: number, logicalType: integer, primaryKey: true, required: true, description: Number of the receipt}}
      - {{name: day, logicalType: date, required: true, description: Day of the receipt}}
      - name: amount
        logicalType: integer
        required: true
        logicalTypeOptions: {{minimum: 0}}
        description: Cents paid
      - {{name: cashier, logicalType: string, classification: personal, description: Who took the money}}
    quality:
{quality}
"""
_BRONZE = """
      - name: not_a_test
        description: The till is not being tested
        type: sql
        query: select count(*) from {object} where number >= 1000
        mustBe: 0
        severity: error
      - name: even_number
        description: Numbers are even
        type: custom
        engine: lakehouse
        implementation: {row: number % 2 = 0}
        severity: warning
"""
_SILVER = """
      - name: no_large_amount
        description: No receipt is above 100.00
        type: custom
        engine: lakehouse
        implementation: {row: amount <= 10000}
        severity: error
      - name: few_rows
        description: Fewer than two receipts
        type: sql
        query: select count(*) from {object}
        mustBeLessThan: 2
        severity: warning
      - name: mean_amount
        type: custom
        engine: greatExpectations
        implementation: {type: expect_column_mean_to_be_between, kwargs: {column: amount, max_value: 1000000}}
        severity: error
"""
_GOLD = """\
      - {name: day, logicalType: date, primaryKey: true, required: true, description: The day}
      - {name: amount, logicalType: integer, required: true, description: Cents taken}
    quality:
      - name: adds_up
        description: What was taken is what the receipts say
        type: sql
        query: select (select sum(amount) from {object}) - (select sum(amount) from silver.receipts)
        mustBe: 0
        severity: error
"""
_LOAD = """
customProperties:
  - {property: load, value: {source: landing, files: "*.jsonl"}}
  - {property: rejectLimit, value: 0.5}
"""
_CLEANED = "select number, day, amount, cashier from {{ source('bronze', 'receipts') }}\n"
_SUMMED = "select day, sum(amount) as amount from {{ ref('receipts') }} group by day\n"
_TEST = "select * from {{ ref('takings') }} where amount > 1000000\n"


@dataclass(frozen=True)
class Till:
    """A project of three tables, as a new team would have it: receipts from files, cleaned, and summed by day."""

    settings: Settings
    defs: dg.Definitions

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    def deliver(self, *receipts: tuple[int, int]) -> None:
        """A file of receipts: number and amount."""
        folder = self.settings.state / "landing"
        folder.mkdir(exist_ok=True)
        rows = [
            {"number": number, "day": "2026-01-01", "amount": amount, "cashier": "Ada Lovelace"}
            for number, amount in receipts
        ]
        file = folder / f"{len(list(folder.iterdir())):03}.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))

    def run(self, *names: TableName) -> RunReport:
        with open_instance(self.settings) as instance:
            return run_tables(self.defs, instance, names)

    def evaluations(self, run_id: str) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        """What a run told of checks, by table and name."""
        with open_instance(self.settings) as instance:
            entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
            found = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
        return {(".".join(one.asset_key.path), one.check_name): one for one in found}

    def heads(self, *names: TableName) -> list[int]:
        """The snapshots that main shows."""
        return [self.lake.table(name).snapshots()[0].id for name in names]

    def wear(self, files: int) -> LakeTable:
        """Add so many small files of receipts to bronze, as so many loads would."""
        stored = self.lake.create(read_tables(self.settings.defs)[BRONZE])
        have = stored.stats().rows
        for number in range(have, have + files):
            receipt = {
                "number": number,
                "day": date(2026, 1, 1),
                "amount": number,
                "cashier": "Ada Lovelace",
                "_extracted_at": datetime(2026, 1, 1, tzinfo=UTC),
                "_source": "till",
                "_run_key": str(number),
                "_source_version": None,
                "_extra": None,
            }
            stored.append(pa.Table.from_pylist([receipt], schema=stored.schema()), run_key=f"worn-{number}")
        return stored

    def moved(self, catalog: Catalog) -> Till:
        """The upkeep of the same project over another catalog."""
        settings = self.settings.model_copy(update={"catalog": catalog})
        return Till(settings, upkeep_of(settings))

    def forget_upkeep(self) -> None:
        """As if nothing had ever been kept up."""
        self.lake.drop(TableName.parse("ops.upkeep"))

    def checks(self, run_id: str) -> dict[tuple[str, str], dict[str, object]]:
        """What `ops.checks` says of a run."""
        rows = self.lake.table(TableName.parse("ops.checks")).scan().read_all().to_pylist()
        return {(row["table_name"], row["rule"]): row for row in rows if row["run_id"] == run_id}


def make_till(folder: Path) -> Till:
    """Write the project into a folder, and compile its models."""
    settings = write_till(folder)
    ready_models(settings)
    return Till(settings, definitions(settings))


def write_till(folder: Path) -> Settings:
    """Write the project into a folder."""
    files = {
        "defs/till/bronze/receipts.yaml": _head("bronze", "receipts") + _RECEIPTS.format(quality=_BRONZE) + _LOAD,
        "defs/till/silver/receipts.yaml": _head("silver", "receipts") + _RECEIPTS.format(quality=_SILVER),
        "defs/till/gold/takings.yaml": _head("gold", "takings") + _GOLD,
        "dbt/models/till/silver/receipts.sql": _CLEANED,
        "dbt/models/till/gold/takings.sql": _SUMMED,
        "dbt/tests/takings_are_modest.sql": _TEST,
    }
    return write(folder, files)


def _head(layer: str, name: str) -> str:
    return head("till", layer, name, "What the till took.")


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Till:
    return make_till(tmp_path_factory.mktemp("till") / "till")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Till:
    """The project with its upkeep only: its models, which take seconds to compile, have no part in it."""
    settings = write_till(tmp_path_factory.mktemp("kept") / "till")
    return Till(settings, upkeep_of(settings))


def upkeep_of(settings: Settings) -> dg.Definitions:
    """The upkeep of a project's tables, as `definitions` has it."""
    declarations = read_tables(settings.defs)
    return dg.Definitions(
        assets=upkeep_assets(settings, declarations),
        jobs=[*upkeep_jobs(declarations)],
        schedules=upkeep_schedules(settings, declarations),
        executor=dg.in_process_executor,
    )


@pytest.fixture(scope="session")
def ten_days(tmp_path_factory: pytest.TempPathFactory) -> TenDays:
    return TenDays(tmp_path_factory.mktemp("ten_days"))


@pytest.fixture
def asking(ten_days: TenDays) -> Iterator[Asking]:
    """Ten days with an order each, all built; nothing is out of date, and nothing was asked."""
    with ten_days.again() as chain, dg.DagsterInstance.ephemeral() as instance:
        found = Asking(chain, instance)
        assert found.tick() == {}
        assert found.said == "everything follows its inputs"
        yield found
