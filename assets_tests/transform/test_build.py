"""dbt over a real, small lake: what is built, tested, published, held; and what goes wrong said in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lakehouse.contracts import read_tables
from lakehouse.errors import TransformError
from lakehouse.iceberg import Lake, connect, register
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Layer, TableName, Window
from lakehouse.transform.events import BuildFinished, Event, ModelFinished, Status, TestFinished
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.project import parse
from lakehouse.transform.publish import Decision, audited_snapshots, decide, publish_models
from lakehouse.transform.run import build

SQL = "models/shop"
DAY_1, DAY_2 = date(2026, 1, 1), date(2026, 1, 2)


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@dataclass(frozen=True)
class Built:
    """A project whose lake has been built once and published."""

    settings: Settings
    lake: Lake
    gate: Gate
    events: list[Event]
    decision: Decision

    def rows(self, name: str, branch: str = "main") -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.lake.table(TableName.parse(name)).scan(at=branch).read_all().to_pylist()
        return sorted(found, key=lambda row: str(list(row.values())))


@dataclass(frozen=True)
class Broken:
    """The same project with one model that breaks a rule and one that fails, built again."""

    events: list[Event]
    decision: Decision
    error: TransformError


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
    copy_project: Callable[[Path], Settings],
    fill_bronze: Callable[[Settings], Lake],
) -> Built:
    settings = copy_project(tmp_path_factory.mktemp("project"))
    lake = fill_bronze(settings)
    gate = Gate(settings, lake, read_tables(settings.defs))
    events = list(build(settings, branch="run/1", run_key="1", gate=gate, unit_tests=True))
    decision = decide(events, Manifest.read(manifest_path(settings)))
    publish_models(lake, decision.publish, "run/1", audited_snapshots(events))
    return Built(settings, lake, gate, events, decision)


@pytest.fixture(scope="module")
def broken(built: Built) -> Broken:
    models = built.settings.dbt[0] / SQL / "silver"
    orders, payments = models / "orders.sql", models / "payments.sql"
    before = {file: file.read_text() for file in (orders, payments)}
    orders.write_text(before[orders].replace("    status,", "    'lost' as status,"))
    payments.write_text(before[payments].replace("    amount,", "    amuont,"))
    events: list[Event] = []
    with pytest.raises(TransformError) as caught:
        events.extend(build(built.settings, branch="run/2", run_key="2", gate=built.gate))
    # `extend` keeps what was yielded before the error, as a consumer's loop does.
    decision = decide(events, Manifest.read(manifest_path(built.settings)))
    for file, text in before.items():
        file.write_text(text)
    return Broken(events, decision, caught.value)


def models_of(events: list[Event]) -> dict[str, ModelFinished]:
    return {event.name: event for event in events if isinstance(event, ModelFinished)}


def names(*labels: str) -> set[TableName]:
    return {TableName.parse(label) for label in labels}


def test_every_model_is_built_and_every_test_passes(built: Built) -> None:
    *others, last = built.events

    assert isinstance(last, BuildFinished)
    assert last.good
    assert {event.status for event in others if isinstance(event, ModelFinished)} == {Status.SUCCESS}
    tests = [event for event in others if isinstance(event, TestFinished)]
    assert {event.status for event in tests if not event.findings} == {Status.PASS}
    assert {event.status for event in tests} <= {Status.PASS, Status.WARN}
    assert len(models_of(built.events)) == 16
    assert sum(event.unique_id.startswith("unit_test.") for event in others if isinstance(event, TestFinished)) == 5


def test_every_rule_of_every_table_is_judged_once_on_the_branch_that_is_published(built: Built) -> None:
    found = [finding for event in built.events if isinstance(event, TestFinished) for finding in event.findings]
    tables = [table for table in read_tables(built.settings.defs).values() if table.name.layer is not Layer.BRONZE]

    declared = [(str(table.name), rule.name) for table in tables for rule in table.rules]
    declared += [(str(table.name), rule.name) for table in tables for rule in table.table_rules]
    assert sorted((str(finding.table), finding.rule) for finding in found) == sorted(declared)
    for table in tables:
        heads = {finding.snapshot_id for finding in found if finding.table == table.name}
        assert heads == {built.lake.table(table.name).snapshots()[0].id}


def test_rules_are_not_tested_twice(built: Built) -> None:
    """What a contract states is judged by the audits; the tests that people may run by hand are left out."""
    named = {event.name for event in built.events if isinstance(event, TestFinished)}

    assert "silver_orders_audit" in named
    assert "silver_orders_status_accepted_values" not in named


def test_tables_carry_their_commit_and_views_none(built: Built) -> None:
    models = models_of(built.events)
    commit = models["silver.orders"].commit

    assert commit is not None
    assert (commit.table, commit.branch, commit.rows_added) == (TableName.parse("silver.orders"), "run/1", 4)
    assert models["staging.stg_orders"].table is None
    assert models["staging.stg_orders"].commit is None


def test_all_tables_are_published_parents_first(built: Built) -> None:
    order = [str(name) for name in built.decision.publish]

    assert set(built.decision.publish) == {event.table for event in models_of(built.events).values() if event.table}
    assert order.index("silver.orders") < order.index("gold.fct_orders") < order.index("gold.daily_revenue")
    assert not built.lake.table(TableName.parse("gold.fct_orders")).branches()


def test_silver_is_the_latest_state_and_the_first_delivery(built: Built) -> None:
    assert [(row["order_id"], row["status"]) for row in built.rows("silver.orders")] == [
        (1, "placed"),
        (2, "cancelled"),
        (3, "placed"),
        (4, "placed"),
    ]
    assert [row["tier"] for row in built.rows("silver.customers")] == ["plus", "basic"]
    assert [(row["payment_id"], row["amount"]) for row in built.rows("silver.payments")] == [
        ("P1", Decimal("5.00")),
        ("P2", Decimal("20.00")),
        ("P3", Decimal("3.52")),
    ]


def test_versions_of_a_dimension_are_the_changes_only(built: Built) -> None:
    found = [
        (row["customer_id"], row["tier"], row["valid_from"], row["valid_to"], row["is_current"])
        for row in sorted(built.rows("gold.dim_customer"), key=lambda row: (row["customer_id"], row["valid_from"]))
    ]

    assert found == [
        (1, "basic", at(DAY_1, 1), at(DAY_2, 6), False),
        (1, "plus", at(DAY_2, 6), None, True),
        (2, "basic", at(DAY_1, 1), None, True),
    ]


def test_facts_and_revenue_add_up(built: Built) -> None:
    facts = {row["order_id"]: row for row in built.rows("gold.fct_orders")}
    keys = {(row["customer_id"], row["is_current"]): row["customer_key"] for row in built.rows("gold.dim_customer")}

    assert (facts[1]["gross"], facts[1]["gross_eur"], facts[1]["paid_eur"]) == (Decimal("8.52"),) * 3
    assert (facts[3]["rate_to_eur"], facts[3]["gross_eur"]) == (Decimal("0.910000"), Decimal("18.20"))
    assert (facts[4]["rate_to_eur"], facts[4]["gross_eur"], facts[4]["paid_eur"]) == (None, None, None)
    assert (facts[1]["customer_key"], facts[3]["customer_key"]) == (keys[1, False], keys[1, True])
    assert [
        (row["order_date"], row["orders"], row["cancelled"], row["revenue_eur"])
        for row in built.rows("gold.daily_revenue")
    ] == [
        (DAY_1, 2, 1, Decimal("8.52")),
        (DAY_2, 2, 0, Decimal("18.20")),
    ]


def test_views_are_there_for_others(built: Built) -> None:
    connection = connect(built.settings)
    register(connection, built.lake)

    assert connection.sql("select count(*) from staging.stg_customers").fetchall() == [(5,)]


def test_a_window_rebuilds_its_days_of_the_chain_and_no_other(built: Built) -> None:
    chain = ["silver.orders", "gold.fct_orders", "gold.daily_revenue"]
    window = Window.of_days(DAY_2, DAY_2)

    events = list(build(built.settings, select=chain, window=window, branch="run/window", run_key="w", gate=built.gate))

    models = models_of(events)
    assert set(models) == set(chain)
    for model in models.values():
        assert model.commit is not None
        assert model.commit.rows_removed == model.commit.rows_added > 0
    assert len(built.rows("silver.orders", "run/window")) == 4
    assert models["gold.daily_revenue"].commit is not None
    assert models["gold.daily_revenue"].commit.rows_added == 1
    for name in chain:
        built.lake.table(TableName.parse(name)).discard("run/window")


def test_nothing_is_compiled_again_until_something_changes(built: Built) -> None:
    manifest = parse(built.settings)
    then = manifest.stat().st_mtime_ns
    assert parse(built.settings).stat().st_mtime_ns == then

    model = built.settings.dbt[0] / SQL / "silver" / "products.sql"
    before = model.read_text()
    model.write_text(before + "\n-- said again\n")
    assert parse(built.settings).stat().st_mtime_ns > then
    model.write_text(before)
    parse(built.settings)


def test_nothing_is_left_in_the_projects_folder(built: Built) -> None:
    assert {path.name for path in built.settings.dbt[0].iterdir()} == {
        "dbt_project.yml",
        "macros",
        "models",
        "profiles.yml",
    }


def test_a_broken_rule_holds_the_model_and_stops_its_children(built: Built, broken: Broken) -> None:
    models = models_of(broken.events)

    held = broken.decision.hold[TableName.parse("silver.orders")]
    assert "rule status_accepted_values of silver.orders failed: 4 of 4 rows" in held
    assert models["gold.fct_orders"].status is Status.SKIPPED
    assert models["gold.daily_revenue"].status is Status.SKIPPED
    assert names("silver.customers", "gold.dim_customer") <= set(broken.decision.publish)
    assert not names("gold.fct_orders", "gold.daily_revenue", "silver.payments") & set(broken.decision.publish)
    assert built.lake.table(TableName.parse("silver.orders")).branches() == ("run/2",)
    assert {row["status"] for row in built.rows("silver.orders")} == {"placed", "cancelled"}


def test_an_error_in_sql_names_file_line_and_what_duckdb_says(broken: Broken) -> None:
    assert broken.error.what.startswith("models/shop/silver/payments.sql:6: ")
    assert 'Referenced column "amuont" not found' in (broken.error.found or "")
    assert models_of(broken.events)["silver.payments"].error is not None
    assert isinstance(broken.events[-1], BuildFinished)


def test_what_dbt_would_lose_is_refused(built: Built) -> None:
    kinds = ("table", "incremental")
    models = [built.settings.dbt[0] / SQL / "staging" / f"{kind}.sql" for kind in kinds]
    for kind, model in zip(kinds, models, strict=True):
        model.write_text(f"{{{{ config(materialized='{kind}') }}}} select 1 as x")
    events: list[Event] = []
    try:
        with pytest.raises(TransformError, match="lost with dbt's process"):
            events.extend(build(built.settings, select=kinds, branch="run/3", run_key="3"))
    finally:
        for model in models:
            model.unlink()
    assert [event.status for event in models_of(events).values()] == [Status.ERROR, Status.ERROR]


def test_a_model_that_reads_what_is_not_there_does_not_compile(built: Built) -> None:
    model = built.settings.dbt[0] / SQL / "staging" / "lonely.sql"
    model.write_text("select * from {{ ref('nobody') }}")
    try:
        with pytest.raises(TransformError, match=r"lonely.*nobody"):
            parse(built.settings)
    finally:
        model.unlink()
    assert parse(built.settings).is_file()
