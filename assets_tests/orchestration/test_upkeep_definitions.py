"""Upkeep in Dagster follows from the contracts: an asset a table, in the pool of what writes it, out of the way."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest

import lakehouse.ledger
from lakehouse.cli.run import staging_models, staging_views
from lakehouse.contracts import Declarations
from lakehouse.errors import SettingsError
from lakehouse.ingest.quarantine import quarantine_table
from lakehouse.orchestration.home import child_environment
from lakehouse.orchestration.project import definitions
from lakehouse.orchestration.upkeep_tables import LEDGERS, Target, upkeep_targets
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Table, TableName

Specs = dict[str, dg.AssetSpec]


def upkeep_of(specs: Specs) -> Specs:
    return {name.removeprefix("upkeep."): spec for name, spec in specs.items() if name.startswith("upkeep.")}


def test_every_table_that_the_project_may_write_has_upkeep(specs: Specs, declarations: Declarations) -> None:
    quarantines = {str(quarantine_table(table).name) for table in declarations.values() if table.load}
    assert len(quarantines) == sum(name.layer is Layer.BRONZE for name in declarations) > 0

    expected = {str(name) for name in declarations} | quarantines | {str(name) for name in LEDGERS}
    assert set(upkeep_of(specs)) == expected


def test_the_names_of_the_ledgers_are_those_that_the_ledger_has() -> None:
    known = {value.name for value in vars(lakehouse.ledger).values() if isinstance(value, Table)}
    assert set(LEDGERS) == known


def test_upkeep_stands_in_a_group_of_its_own_behind_the_table(specs: Specs, declarations: Declarations) -> None:
    for name, spec in upkeep_of(specs).items():
        table = declarations.get(TableName.parse(name))
        assert spec.group_name == ("lakehouse_upkeep" if table is None else f"{table.domain}_upkeep"), name
        deps = [".".join(dep.asset_key.path) for dep in spec.deps]
        if table is not None:
            assert deps == [name]
            assert spec.owners == list(table.owners)
        elif name.startswith("quarantine."):
            assert deps == [f"bronze.{name.removeprefix('quarantine.shop_')}"]
        else:
            assert deps == []
        assert name in (spec.description or "")
        assert spec.partitions_def is None, "a table is kept up as a whole"
        assert spec.freshness_policy is None
        assert spec.automation_condition is None


def writers(defs: dg.Definitions) -> dict[str, dg.AssetsDefinition]:
    """The definition that makes each asset."""
    found = {}
    for asset in defs.assets or ():
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            found.update({".".join(key.path): asset for key in asset.keys})
    return found


def test_upkeep_is_in_the_pool_of_the_step_that_writes_the_table(defs: dg.Definitions, specs: Specs) -> None:
    steps = writers(defs)
    for name in upkeep_of(specs):
        pool = steps[f"upkeep.{name}"].op.pool
        if name.startswith("quarantine."):
            assert pool == steps[f"bronze.{name.removeprefix('quarantine.shop_')}"].op.pool
        elif name.startswith("ops."):
            assert pool == name
        else:
            assert pool == steps[name].op.pool
        assert pool, name


def test_nothing_is_made_from_upkeep_so_that_no_other_selection_sees_it(defs: dg.Definitions, specs: Specs) -> None:
    assert not [name for name, spec in specs.items() for dep in spec.deps if dep.asset_key.path[0] == "upkeep"]
    graph = defs.resolve_asset_graph()
    groups = [dg.AssetSelection.groups(f"shop_{layer}") for layer in ("bronze", "staging", "silver", "gold")]
    for selection in (*groups, dg.AssetSelection.assets(["gold", "daily_revenue"]).upstream()):
        keys = selection.resolve(graph)
        assert keys
        assert not [key for key in keys if key.path[0] == "upkeep"], selection


def test_staging_views_are_not_taken_for_upkeep(defs: dg.Definitions) -> None:
    orders = [TableName.parse("bronze.orders")]
    assert [".".join(key.path) for key in staging_models(defs, orders)] == ["staging.stg_orders"]
    views = staging_views(defs, [TableName.parse("silver.orders")])
    assert [".".join(key.path) for key in views] == ["staging.stg_orders"]


def test_there_is_a_job_for_each_domain_and_one_for_the_lakes_own(defs: dg.Definitions, specs: Specs) -> None:
    own = {name for name in upkeep_of(specs) if name.partition(".")[0] in {"ops", "quarantine"}}
    for job, names in (("shop_upkeep", set(upkeep_of(specs)) - own), ("lakehouse_upkeep", own)):
        keys = defs.resolve_job_def(job).asset_layer.executable_asset_keys
        assert {".".join(key.path) for key in keys} == {f"upkeep.{name}" for name in names}


def test_schedules_run_on_the_clock_of_the_settings(ready: Settings) -> None:
    chosen = ready.model_copy(update={"upkeep": ready.upkeep.model_copy(update={"schedule": "7 4 * * 1"})})
    schedules = definitions(chosen).get_repository_def().schedule_defs
    assert {one.name: one.cron_schedule for one in schedules if one.name.endswith("_upkeep")} == {
        "shop_upkeep": "7 4 * * 1",
        "lakehouse_upkeep": "7 4 * * 1",
    }
    assert {one.execution_timezone for one in schedules if one.name.endswith("_upkeep")} == {"UTC"}


def test_a_clock_that_is_none_is_a_mistake_in_the_settings(ready: Settings) -> None:
    chosen = ready.model_copy(update={"upkeep": ready.upkeep.model_copy(update={"schedule": "every night"})})
    with pytest.raises(SettingsError, match=r"upkeep\.schedule") as refused:
        definitions(chosen)
    assert refused.value.found == "every night"


def test_a_tick_has_the_time_to_look_at_many_tables(settings: Settings) -> None:
    # Dagster gives a tick a minute, and takes the limit from the environment of its daemon.
    assert int(child_environment(settings)["DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS"]) >= 300


def test_a_domain_named_as_the_lake_itself_shares_its_job(declarations: Declarations) -> None:
    table = declarations[TableName.parse("bronze.orders")]
    ours: dict[TableName, Table] = {table.name: replace(table, domain="lakehouse")}
    targets: tuple[Target, ...] = upkeep_targets(ours)
    assert {target.group for target in targets} == {"lakehouse_upkeep"}
