"""Everything that Dagster shows follows from contracts and models, and loading it touches nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from lakehouse.contracts import Declarations
from lakehouse.errors import TransformError
from lakehouse.orchestration.project import definitions
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Layer, Rule, Severity, TableName, TableRuleKind
from lakehouse.tables.load_check import LoadCheck

Specs = dict[str, dg.AssetSpec]
ROOT = Path(__file__).parents[2]
TIME_WINDOW = type(dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1)))


def test_loading_starts_nothing_and_writes_nothing(ready: Settings) -> None:
    before = sorted(path for path in ready.state.rglob("*"))
    dg.Definitions.validate_loadable(definitions(ready))
    assert sorted(path for path in ready.state.rglob("*")) == before
    # Compiled models, and no server, catalog, warehouse or instance.
    assert {path.name for path in ready.state.iterdir()} == {"dbt"}


def test_without_compiled_models_the_remedy_is_named(ready: Settings, tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="lakehouse check"):
        definitions(load_settings(ready.project, state=str(tmp_path)))


def test_every_contract_is_an_asset_and_nothing_is_an_asset_without(specs: Specs, declarations: Declarations) -> None:
    tables = {name for name in specs if name.partition(".")[0] in {"bronze", "silver", "gold"}}
    assert tables == {str(name) for name in declarations}
    assert {name.partition(".")[0] for name in set(specs) - tables} == {"source", "staging", "changes", "upkeep"}


def test_every_table_says_whose_it_is_what_it_is_and_how_fresh(specs: Specs, declarations: Declarations) -> None:
    for name, table in declarations.items():
        spec = specs[str(name)]
        assert spec.description == table.description
        assert len(spec.description or "") > 10, name
        assert list(spec.owners) == list(table.owners) != []
        # The calendar does not age.
        assert (spec.freshness_policy is None) == (str(name) == "gold.dim_date"), name
        assert spec.metadata["dagster/table_name"] == str(name)
        assert spec.metadata["dagster/storage_kind"] == "iceberg"
        assert table.file.as_posix().endswith(f"/{spec.metadata['lakehouse/contract'].value}")
        assert all(column.description for column in table.columns), name


def test_groups_kinds_and_tags_follow_from_where_the_contract_lies(specs: Specs, declarations: Declarations) -> None:
    for name, table in declarations.items():
        spec = specs[str(name)]
        assert spec.group_name == f"{table.domain}_{name.layer.value}"
        assert set(spec.kinds) == {"iceberg", "python" if name.layer is Layer.BRONZE else "dbt"}
        assert (spec.tags["domain"], spec.tags["layer"]) == (table.domain, name.layer.value)
    assert {spec.group_name for name, spec in specs.items() if name.startswith("staging.")} == {"shop_staging"}
    assert {spec.group_name for name, spec in specs.items() if name.startswith("source.")} == {"shop_sources"}


def test_the_daily_chain_shares_its_days_and_nothing_else_has_any(specs: Specs, declarations: Declarations) -> None:
    dated = {name for name, spec in specs.items() if spec.partitions_def is not None}
    daily = {"silver.orders", "gold.fct_orders", "gold.daily_revenue"}
    # Files have days too, and for each daily table there are the days that ask for it.
    assert dated == daily | {f"changes.{name}" for name in daily} | {"source.landing.payments"}
    assert daily == {str(name) for name, table in declarations.items() if table.windowed}
    days = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_offset=1)
    assert {specs[name].partitions_def for name in dated} == {days}


def test_a_daily_table_asks_by_itself_and_nothing_else_does(specs: Specs, declarations: Declarations) -> None:
    asking = {name for name, spec in specs.items() if spec.automation_condition is not None}
    assert asking == {str(name) for name, table in declarations.items() if table.windowed}
    for name in asking:
        above = {".".join(dep.asset_key.path) for dep in specs[name].deps}
        assert {one for one in above if one.startswith("changes.")} == {f"changes.{name}"}
        assert specs[f"changes.{name}"].group_name == "shop_changes"


def test_columns_are_those_of_the_contract_with_personal_ones_marked(specs: Specs, declarations: Declarations) -> None:
    for name, table in declarations.items():
        shown = {column.name: column for column in specs[str(name)].metadata["dagster/column_schema"].columns}
        assert list(shown) == [column.name for column in table.stored_columns]
        assert {column for column, one in shown.items() if "personal" in one.tags} == table.personal_columns
        assert {column for column, one in shown.items() if not one.constraints.nullable} == {
            column.name for column in table.stored_columns if column.required
        }
    assert declarations[TableName.parse("bronze.customers")].personal_columns >= {"email", "phone", "name", "address"}


def test_lineage_runs_from_the_sources_to_gold(defs: dg.Definitions, specs: Specs) -> None:
    def above(name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for dep in specs[waiting.pop()].deps:
                parent = ".".join(dep.asset_key.path)
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found

    sources = {name for name in above("gold.daily_revenue") if name.startswith("source.")}
    assert sources == {
        "source.shop.orders",
        "source.shop.order_items",
        "source.shop.customers",
        "source.landing.payments",
        "source.rates.rates",
    }
    external = {".".join(key.path) for key in defs.resolve_asset_graph().external_asset_keys}
    assert external == {name for name in specs if name.startswith(("source.", "changes."))}


def checks_of(defs: dg.Definitions) -> dict[str, dict[str, dg.AssetCheckSpec]]:
    """The checks of every table, by name."""
    found: dict[str, dict[str, dg.AssetCheckSpec]] = {}
    for asset in defs.assets or ():
        if isinstance(asset, dg.AssetsDefinition):
            for spec in asset.check_specs:
                assert spec.name not in found.setdefault(".".join(spec.asset_key.path), {})
                found[".".join(spec.asset_key.path)][spec.name] = spec
    return found


def test_every_rule_is_a_check_that_blocks_if_it_is_an_error(defs: dg.Definitions, declarations: Declarations) -> None:
    checks = checks_of(defs)
    assert len(defs.resolve_asset_graph().asset_check_keys) == sum(map(len, checks.values()))
    for name, table in declarations.items():
        rules = {rule.name: rule for rule in (*table.rules, *table.table_rules)}
        own = checks[str(name)]
        assert set(own) == set(rules) | (set(LoadCheck) if name.layer is Layer.BRONZE else set()), name
        for rule in rules.values():
            # What breaks a row rule of bronze is quarantined, and the rest goes on.
            at_the_door = name.layer is Layer.BRONZE and isinstance(rule, Rule)
            assert own[rule.name].blocking is (rule.severity is Severity.ERROR and not at_the_door), (name, rule.name)
            assert own[rule.name].description, (name, rule.name)
            assert own[rule.name].metadata["lakehouse/rule_kind"] == rule.kind.value
            assert own[rule.name].metadata["lakehouse/severity"] == rule.severity.value
    assert {check for check in LoadCheck if checks["bronze.orders"][check].blocking} == {LoadCheck.BALANCE}


def test_a_check_waits_for_the_tables_that_its_rule_reads(defs: dg.Definitions, declarations: Declarations) -> None:
    checks = checks_of(defs)
    waiting = 0
    for name, table in declarations.items():
        for rule in table.table_rules:
            if rule.kind is TableRuleKind.RELATIONSHIP:
                deps = [dep.asset_key for dep in checks[str(name)][rule.name].additional_deps]
                to = rule.arguments["to"]
                assert isinstance(to, TableName)
                assert deps == [dg.AssetKey(list(to.key))]
                waiting += 1
    assert waiting
    reconciled = checks["silver.products"]["nothing_is_lost"]
    assert [dep.asset_key for dep in reconciled.additional_deps] == [dg.AssetKey(["bronze", "products"])]


def test_models_keep_pools_days_and_one_run_a_backfill(defs: dg.Definitions) -> None:
    models = {
        asset.node_def.name: asset
        for asset in defs.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable and asset.node_def.name.startswith("models")
    }
    assert set(models) == {"models", "models_daily_from_2026_01_01"}
    assert {name: asset.can_subset for name, asset in models.items()} == dict.fromkeys(models, True)
    assert {name: asset.backfill_policy for name, asset in models.items()} == {
        "models": None,
        "models_daily_from_2026_01_01": dg.BackfillPolicy.single_run(),
    }
    assert {name: asset.op.pool for name, asset in models.items()} == {
        "models": "dbt",
        "models_daily_from_2026_01_01": "dbt:2026-01-01",
    }
    versions = {spec.code_version for asset in models.values() for spec in asset.specs}
    assert len(versions) == sum(len(list(asset.specs)) for asset in models.values())
    assert None not in versions


def test_how_fresh_a_table_must_be_is_what_its_sla_says(specs: Specs, declarations: Declarations) -> None:
    policies = {name: specs[str(name)].freshness_policy for name in declarations}
    assert {name: table.fresh_within for name, table in declarations.items()} == {
        name: policy.fail_window.to_timedelta() if isinstance(policy, TIME_WINDOW) else None
        for name, policy in policies.items()
    }


def test_what_starts_by_itself_is_switched_on(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {"shop_bronze", "replay", "discard"}
    clocks = {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs}
    upkeep = load_settings(ROOT).upkeep.schedule
    assert clocks == {"shop_nightly": "0 2 * * *", "shop_upkeep": upkeep, "lakehouse_upkeep": upkeep}
    assert {one.default_status for one in repository.schedule_defs} == {dg.DefaultScheduleStatus.RUNNING}
    assert {sensor.name for sensor in repository.sensor_defs} >= {"payments_landing", "changes", "repairs"}
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}


IMPORTS = """
import json, sys, time
from importlib import import_module
figures = {}
for name in ("lakehouse", "dagster", "dagster_dbt", "lakehouse.definitions"):
    begun = time.perf_counter()
    import_module(name)
    figures[name] = round(time.perf_counter() - begun, 3)
heavy = ["pyiceberg", "structlog", "sqlalchemy", "dbt.cli.main", "adbc_driver_postgresql", "httpx", "psycopg"]
heavy += ["great_expectations"]
print(json.dumps({"seconds": figures, "heavy": [name for name in heavy if name in sys.modules]}))
"""


def test_importing_the_definitions_brings_none_of_what_only_runs_need(record_property: pytest.RecordProperty) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # For people: seconds beyond what Dagster costs. No limit here: a machine may be busy.
    for name, seconds in found["seconds"].items():
        record_property(f"import_{name}_s", seconds)
    assert found["heavy"] == []
