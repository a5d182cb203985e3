"""dbt over a real, small lake: what is built, tested, published, held; and what goes wrong said in words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lakehouse.errors import SettingsError, TransformError
from lakehouse.iceberg import Lake, connect, register
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.transform.events import BuildFinished, Event, ModelFinished, Status, TestFinished
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.project import parse
from lakehouse.transform.publish import Decision, decide, publish_models
from lakehouse.transform.run import build, selector

SQL = "models/shop"
DAY_1, DAY_2 = date(2026, 1, 1), date(2026, 1, 2)


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@dataclass(frozen=True)
class Built:
    """A project whose lake has been built once and published."""

    settings: Settings
    lake: Lake
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
    events = list(build(settings, branch="run/1", run_key="1", unit_tests=True))
    decision = decide(events, Manifest.read(manifest_path(settings)))
    publish_models(lake, decision.publish, "run/1")
    return Built(settings, lake, events, decision)


@pytest.fixture(scope="module")
def broken(built: Built) -> Broken:
    models = built.settings.dbt[0] / SQL / "silver"
    orders, payments = models / "orders.sql", models / "payments.sql"
    before = {file: file.read_text() for file in (orders, payments)}
    orders.write_text(before[orders].replace("    status,", "    'lost' as status,"))
    payments.write_text(before[payments].replace("    amount,", "    amuont,"))
    events: list[Event] = []
    with pytest.raises(TransformError) as caught:
        events.extend(build(built.settings, branch="run/2", run_key="2"))
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
    assert {event.status for event in others if isinstance(event, TestFinished)} == {Status.PASS}
    assert len(models_of(built.events)) == 16
    assert sum(event.unique_id.startswith("unit_test.") for event in others if isinstance(event, TestFinished)) == 5


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

    assert connection.sql("select count(*) from staging.stg_customers").fetchall() == [(4,)]


def test_a_window_rebuilds_its_days_of_the_chain_and_no_other(built: Built) -> None:
    chain = ["silver.orders", "gold.fct_orders", "gold.daily_revenue"]
    window = Window.of_days(DAY_2, DAY_2)

    events = list(build(built.settings, select=chain, window=window, branch="run/window", run_key="w"))

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

    assert (
        "silver_orders_status_accepted_values failed on 4 rows"
        in broken.decision.hold[TableName.parse("silver.orders")]
    )
    assert models["gold.fct_orders"].status is Status.SKIPPED
    assert models["gold.daily_revenue"].status is Status.SKIPPED
    assert names("silver.customers", "gold.dim_customer") <= set(broken.decision.publish)
    assert not names("gold.fct_orders", "gold.daily_revenue", "silver.payments") & set(broken.decision.publish)
    assert built.lake.table(TableName.parse("silver.orders")).branches() == ("run/2",)
    assert {row["status"] for row in built.rows("silver.orders")} == {"placed", "cancelled"}


def test_an_error_in_sql_names_file_line_and_what_duckdb_says(broken: Broken) -> None:
    assert broken.error.what.startswith("models/shop/silver/payments.sql:5: ")
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


def test_giving_up_ends_dbt(built: Built) -> None:
    events = build(built.settings, branch="run/4", run_key="4")
    next(events)
    assert processes_in(built.settings.project)

    events.close()

    assert not processes_in(built.settings.project)


def processes_in(folder: Path) -> list[str]:
    """Command lines of dbt's processes that work in a folder."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if "dbt_main" in command and (process / "cwd").readlink() == folder:
                found.append(command)
    return found


def test_old_runs_make_room(built: Built) -> None:
    runs = built.settings.state / "dbt" / "runs"
    for number in range(25):
        (runs / f"old-{number}").mkdir()
    events = build(built.settings, select=["gold.dim_date"], branch="run/5", run_key=f"5-{time.time_ns()}")
    next(events)
    events.close()

    assert len(list(runs.iterdir())) <= 21


def test_without_a_dbt_project_the_setting_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="0 dbt projects"):
        parse(settings.model_copy(update={"dbt": (tmp_path,)}))


def test_without_a_manifest_the_command_is_named(project: Settings) -> None:
    with pytest.raises(TransformError, match="lakehouse check"):
        manifest_path(project)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("silver.orders", "fqn:*.silver.orders"),
        ("staging.stg_orders", "fqn:*.staging.stg_orders"),
        ("+gold.fct_orders", "+fqn:*.gold.fct_orders"),
        ("2+silver.orders+1", "2+fqn:*.silver.orders+1"),
        ("tag:shop", "tag:shop"),
        ("path/silver.orders.sql", "path/silver.orders.sql"),
    ],
)
def test_tables_are_selected_by_their_names(text: str, selected: str) -> None:
    assert selector(text) == selected
