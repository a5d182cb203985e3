"""What starts work by itself, as it is put together: jobs, schedules, sensors, and what a run of each makes."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets_tests.changes.conftest import GOLD, ORDERS, PAID, PAYMENTS, SILVER, Chain
from assets_tests.orchestration.asking import graph_of, node
from lakehouse.contracts import Declarations
from lakehouse.errors import SettingsError
from lakehouse.iceberg import Lake, connect
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.triggers import jobs, schedules, sensors
from lakehouse.settings import Automation, Settings, load_settings
from lakehouse.transform.manifest import Manifest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def graph(settings: Settings) -> ModelGraph:
    return graph_of(Chain(settings, Lake.open(settings), connect(settings)))


@pytest.fixture
def shop(ready: Settings, declarations: Declarations) -> ModelGraph:
    return ModelGraph.read(ready, declarations)


def test_a_load_brings_along_what_has_no_days_and_leaves_the_days_to_be_asked_for(graph: ModelGraph) -> None:
    assert graph.along_with([PAYMENTS.name]) == {PAYMENTS.name, PAID.name}
    assert graph.along_with([ORDERS.name]) == {ORDERS.name}
    assert graph.daily == {SILVER.name, GOLD.name}
    assert graph.undated == {PAID.name}
    assert graph.above(GOLD.name) == {SILVER.name, PAID.name, ORDERS.name, PAYMENTS.name}
    assert graph.above(ORDERS.name) == set()


def test_a_run_has_the_views_that_its_models_read(shop: ModelGraph) -> None:
    names = shop.along_with(name for name in shop.declarations if str(name) == "bronze.customers")
    assert {str(name) for name in names} == {"bronze.customers", "silver.customers", "gold.dim_customer"}
    assert [".".join(key.path) for key in shop.keys(names)] == [
        "bronze.customers",
        "gold.dim_customer",
        "silver.customers",
        "staging.stg_customers",
    ]


def test_views_on_views_and_a_chain_of_tables_without_days_are_found(graph: ModelGraph) -> None:
    seen = node(PAID, PAYMENTS)
    view, upper = (
        type(seen)(f"staging.{name}", "staging", name, "view", "", "", "", parents)
        for name, parents in (("low", (str(PAYMENTS.name),)), ("up", ("staging.low",)))
    )
    paid = type(seen)(str(PAID.name), "silver", "payments", "iceberg", "", "", "", ("staging.up",))
    models = {model.unique_id: model for model in (node(PAYMENTS), view, upper, paid)}
    built = ModelGraph(Manifest(models, {}), graph.declarations)
    assert built.parents == {PAID.name: frozenset({PAYMENTS.name})}
    assert [".".join(key.path) for key in built.keys([PAID.name])] == ["silver.payments", "staging.low", "staging.up"]


def test_each_domain_is_loaded_every_night_in_one_job(shop: ModelGraph, defs: dg.Definitions) -> None:
    assert [job.name for job in jobs(shop)] == ["shop_bronze"]
    assert [(one.name, one.cron_schedule) for one in schedules(shop)] == [("shop_nightly", "0 2 * * *")]
    selected = defs.resolve_job_def("shop_bronze").asset_layer.selected_asset_keys
    made = {".".join(key.path) for key in selected}
    assert made >= {"bronze.orders", "bronze.payments", "silver.payments", "gold.dim_customer", "staging.stg_payments"}
    assert not made & {"silver.orders", "gold.fct_orders", "gold.daily_revenue"}


def test_sensors_can_be_switched_off_and_polls_switched_on(shop: ModelGraph, ready: Settings) -> None:
    def found(automation: Automation) -> dict[str, dg.DefaultSensorStatus]:
        settings = ready.model_copy(update={"automation": automation})
        return {sensor.name: sensor.default_status for sensor in sensors(settings, shop)}

    on, off = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED
    assert found(Automation()) == dict.fromkeys(["payments_landing", "changes", "repairs"], on)
    polled = ["payments_landing", "rates_poll", "shop_poll", "changes", "repairs"]
    assert found(Automation(poll_seconds=30)) == dict.fromkeys(polled, on)
    assert found(Automation(poll_seconds=30, enabled=False)) == dict.fromkeys(polled, off)


def test_a_project_without_models_has_nothing_that_could_change(graph: ModelGraph, settings: Settings) -> None:
    bare = ModelGraph(Manifest({}, {}), Declarations([]))
    assert sensors(settings.model_copy(update={"sources": {}}), bare) == []
    assert jobs(bare) == []
    assert graph.parents


@pytest.mark.parametrize(("name", "value"), [("poll_seconds", 1), ("days_at_once", 0), ("polls", 1)])
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=rf"automation\.{name}"):
        load_settings(ROOT, state=str(tmp_path), automation={name: value})
