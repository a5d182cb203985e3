"""The demo from source to gold, held against the shop's own database and its change log.

The tests share one demo and stand in the order of its life: as it was made, run again, living on, and changed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow.compute as pc
import pytest

from lakehouse.contracts import read_tables
from lakehouse.tables import Layer, TableName

if TYPE_CHECKING:
    from conftest import Demo

SOURCES = {
    "silver.customers": "public.customers",
    "silver.order_items": "public.order_items",
    "silver.orders": "public.orders",
    "silver.payments": "(select * from truth.payments_sent where defect is null) sent",
    "silver.products": "public.products",
}
NUMBERS = re.compile(r"int|long|float|double|decimal.*")
LOADED_AFTER = (10, 20, 30)
FIRST_DAY = date(2026, 1, 1)

REVENUE = """
with orders as (
    select o.order_id, o.order_date, o.status, o.currency,
           case o.currency when 'EUR' then 1 else r.rate_to_eur end as rate
    from public.orders o left join truth.rates r on r.date = o.order_date and r.currency = o.currency
), items as (
    select order_id, sum(round(quantity * unit_price * (1 - discount), 2)) as gross
    from public.order_items group by order_id
), payments as (
    select order_id, currency, sum(amount) as paid
    from truth.payments_sent where defect is null group by order_id, currency
)
select order_date, count(*), count(*) filter (where status = 'cancelled'),
       sum(round(gross * rate, 2)) filter (where status <> 'cancelled'),
       sum(round(coalesce(paid, 0) * rate, 2)) filter (where status <> 'cancelled')
from orders join items using (order_id) left join payments using (order_id, currency)
group by order_date order by order_date
"""


def figures_of(demo: Demo) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((demo.state / "demo.json").read_text())
    return figures


def rows_by_table(demo: Demo) -> dict[str, int]:
    return {str(name): demo.lake.table(name).stats().rows for name in demo.lake.names()}


def heads(demo: Demo, *names: str) -> dict[str, int]:
    return {name: demo.lake.table(TableName.parse(name)).snapshots()[0].id for name in names}


def numeric_columns(demo: Demo, name: str) -> list[str]:
    types = demo.lake.table(TableName.parse(name)).column_types()
    return [column for column, kind in types.items() if NUMBERS.fullmatch(kind)]


def exact(values: Iterable[object]) -> list[Decimal]:
    return [Decimal(str(value)) for value in values]


def test_the_demo_ends_well_and_says_so_as_json(demo: Demo) -> None:
    assert demo.result.returncode == 0, demo.result.stderr
    figures = json.loads(demo.result.stdout)
    assert figures == figures_of(demo)

    assert set(figures) == {"seconds", "tables", "checks", "stopped"}
    assert set(figures["checks"]) == {"passed", "warned", "failed"}
    assert figures["checks"]["failed"] == 0
    assert figures["checks"]["passed"] > 200
    # The defects of the payment files are in quarantine, which is worth a warning by each rule of the door that they
    # broke (not JSON, no amount, an unknown currency), and nothing else is.
    assert figures["checks"]["warned"] == 4
    declared = read_tables(demo.settings.defs)
    assert {table["table"] for table in figures["tables"]} == {str(name) for name in declared}
    for table in figures["tables"]:
        stored = demo.lake.table(TableName.parse(table["table"]))
        assert set(table) == {"table", "rows", "files", "snapshot_id", "seconds"}
        assert (table["rows"], table["files"]) == (stored.stats().rows, stored.stats().files)
        assert table["snapshot_id"] == stored.snapshots()[0].id
        assert table["rows"] > 0
        assert table["seconds"] > 0


def test_a_bad_delivery_was_stopped_on_the_way(demo: Demo, instance: dg.DagsterInstance) -> None:
    stopped = figures_of(demo)["stopped"]
    assert stopped["file"] == "payments/payments-2026-01-30.jsonl"
    assert "bronze.payments.amounts_keep_their_scale" in {broken["rule"] for broken in stopped["rules"]}
    assert all(broken["severity"] == "error" and broken["observed"] for broken in stopped["rules"])
    assert stopped["gold_unchanged"] is True
    assert stopped["url"].endswith(f"/runs/{stopped['run_id']}")

    failed = instance.get_run_by_id(stopped["run_id"])
    assert failed is not None
    assert failed.status is dg.DagsterRunStatus.FAILURE
    held = [entry.message for entry in instance.all_logs(stopped["run_id"]) if "is held" in str(entry.to_json())]
    assert held, "the run says why it failed"
    # The file came again: no amount in cents is anywhere, and no branch is left over.
    sent = demo.truth("select max(amount) from truth.payments_sent where defect is null")
    for name in ("bronze.payments", "silver.payments"):
        assert demo.rows(f"select max(amount) from {name}") == sent
    assert demo.lake.table(TableName.parse("bronze.payments")).branches() == ()


@pytest.mark.parametrize("name", SOURCES)
def test_two_engines_and_the_source_agree(demo: Demo, name: str) -> None:
    stored, columns = demo.lake.table(TableName.parse(name)), numeric_columns(demo, name)
    assert columns
    sums = ", ".join(f"sum({column})" for column in columns)

    duck = demo.rows(f"select count(*), {sums} from {stored.relation_sql()}")[0]
    scanned = stored.scan().read_all()
    own = [scanned.num_rows, *(pc.sum(scanned[column]).as_py() for column in columns)]
    source = demo.truth(f"select count(*), {sums} from {SOURCES[name]}")[0]

    assert exact(duck) == exact(own) == exact(source)


@pytest.mark.parametrize("name", SOURCES)
def test_silver_is_the_source_row_by_row(demo: Demo, name: str) -> None:
    columns = ", ".join(demo.lake.table(TableName.parse(name)).column_types())
    in_lake = Counter(demo.rows(f"select {columns} from {name}"))
    in_source = Counter(demo.truth(f"select {columns} from {SOURCES[name]}"))
    assert in_lake == in_source


def test_revenue_is_the_figure_computed_in_the_source(demo: Demo) -> None:
    found = demo.rows(
        "select order_date, orders, cancelled, revenue_eur, paid_eur from gold.daily_revenue order by order_date"
    )
    assert found == demo.truth(REVENUE)
    assert [row[0] for row in found] == [FIRST_DAY + timedelta(days=day) for day in range(30)]
    assert demo.rows("select sum(orders_without_rate) from gold.daily_revenue") == [(0,)]


def versions_seen(
    demo: Demo, truth: str, key: str, attributes: str, loaded_after: Iterable[int]
) -> set[tuple[Any, ...]]:
    """What loads after these days can know of a change log: key, attributes, valid_from, valid_to, is_current."""
    loads = [datetime.combine(FIRST_DAY + timedelta(days=day), time(), UTC) for day in loaded_after]
    history: dict[Any, list[tuple[datetime, tuple[Any, ...]]]] = {}
    born: dict[Any, datetime] = {}
    for number, valid_from, *rest in demo.truth(
        f"select {key}, valid_from, {attributes} from {truth} order by {key}, valid_from"
    ):
        history.setdefault(number, []).append((valid_from, tuple(rest)))
        born.setdefault(number, valid_from)
    found = set()
    for number, versions in history.items():
        seen = []
        for load in loads:
            latest = max((version for version in versions if version[0] < load), default=None)
            if latest and (not seen or seen[-1][1] != latest[1]):
                seen.append(latest)
        if not seen:
            continue
        # What it was like before the first load nobody saw: the first version known counts from the beginning.
        seen[0] = (born[number], seen[0][1])
        ends: list[datetime | None] = [later for _, (later, _) in pairwise(seen)]
        for (valid_from, values), valid_to in zip(seen, [*ends, None], strict=True):
            found.add((number, *values, valid_from, valid_to, valid_to is None))
    return found


CUSTOMER = "name, email, phone, address, city, country, tier"
PRODUCT = "name, category, price"


def test_customers_have_the_versions_that_the_loads_could_see(demo: Demo) -> None:
    found = demo.rows(f"select customer_id, {CUSTOMER}, valid_from, valid_to, is_current from gold.dim_customer")

    assert set(found) == versions_seen(demo, "truth.customer_versions", "customer_id", CUSTOMER, LOADED_AFTER)
    assert len(set(found)) == len(found)
    versions = Counter(row[0] for row in found)
    assert sum(count >= 2 for count in versions.values()) >= 200
    # The log holds more: what came and went between two loads.
    assert len(found) < demo.truth("select count(*) from truth.customer_versions")[0][0]


def test_products_have_the_versions_that_the_loads_could_see(demo: Demo) -> None:
    found = demo.rows(f"select product_id, {PRODUCT}, valid_from, valid_to, is_current from gold.dim_product")

    assert set(found) == versions_seen(demo, "truth.product_versions", "product_id", PRODUCT, LOADED_AFTER)
    assert len(set(found)) == len(found)
    assert max(Counter(row[0] for row in found).values()) >= 2


def test_facts_join_their_dimensions_without_loss(demo: Demo) -> None:
    orders = demo.truth("select count(*) from orders")[0][0]
    joined = demo.rows(
        """
        select count(*), count(distinct f.order_id), count_if(c.customer_id <> f.customer_id)
        from gold.fct_orders f
        join gold.dim_customer c using (customer_key)
        join gold.dim_date d on d.date_day = f.order_date
        where f.created_at >= c.valid_from and f.created_at < coalesce(c.valid_to, timestamptz 'infinity')
        """
    )
    assert joined == [(orders, orders, 0)]
    lost = "from gold.dim_product p join silver.order_items i using (product_id) where p.is_current"
    assert demo.rows(f"select count(*) {lost}") == demo.truth("select count(*) from order_items")


def test_every_defect_of_the_payment_files_is_accounted_for(demo: Demo) -> None:
    sent: dict[str | None, Counter[tuple[str, str]]] = {}
    for payment_id, file, defect in demo.truth("select payment_id, file, defect from truth.payments_sent"):
        sent.setdefault(defect, Counter())[payment_id, file] += 1
    assert set(sent) == {None, "broken", "no_amount", "unknown_currency", "repeated"}
    rejected = [
        (json.loads(rules), payload, source.rpartition("/")[2].partition(":")[0])
        for rules, payload, source in demo.rows("select broken_rules, payload, source from quarantine.shop_payments")
    ]

    broken = [(payload, file) for rules, payload, file in rejected if rules == ["record_parses"]]
    parsed = {
        rule: Counter((json.loads(payload)["payment_id"], file) for rules, payload, file in rejected if rules == [rule])
        for rule in ("amount_not_null", "currency_accepted_values")
    }
    assert Counter(file for _, file in broken) == Counter(file for _, file in sent["broken"].elements())
    # A broken line ends too early: what is left of it begins as the line that was sent.
    ids = {file: {one for one, where in sent["broken"] if where == file} for _, file in sent["broken"]}
    assert all(any(payload in _head(one) or _head(one) in payload for one in ids[file]) for payload, file in broken)
    assert parsed["amount_not_null"] == sent["no_amount"]
    assert parsed["currency_accepted_values"] == sent["unknown_currency"]
    assert len(rejected) == sum(sent[one].total() for one in ("broken", "no_amount", "unknown_currency"))

    bronze = Counter(
        (payment_id, source.rpartition("/")[2].partition(":")[0])
        for payment_id, source in demo.rows("select payment_id, _source from bronze.payments")
    )
    assert bronze == sent[None] + sent["repeated"]
    silver = Counter(row[0] for row in demo.rows("select payment_id from silver.payments"))
    assert silver == Counter(payment_id for payment_id, _ in sent[None])
    assert {payment_id for payment_id, _ in sent["repeated"]} <= set(silver)


def _head(payment_id: str) -> str:
    return f'{{"payment_id": "{payment_id}"'


@pytest.fixture
def instance(demo: Demo) -> Iterable[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(demo.settings.dagster_home)) as instance:
        yield instance


def materialization(instance: dg.DagsterInstance, name: TableName) -> Mapping[str, dg.MetadataValue[Any]]:
    event = instance.get_latest_materialization_event(dg.AssetKey(list(name.key)))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata


def test_the_runs_are_in_the_dagster_instance(demo: Demo, instance: dg.DagsterInstance) -> None:
    runs = instance.get_runs()
    stopped = [run.run_id for run in runs if run.status is not dg.DagsterRunStatus.SUCCESS]
    assert len(runs) == 2 * len(LOADED_AFTER) + len(stopped)
    assert stopped == [figures_of(demo)["stopped"]["run_id"]]
    checks = figures_of(demo)["checks"]
    keys = [key for key in (read_tables(demo.settings.defs)) if instance.has_asset_key(dg.AssetKey(list(key.key)))]
    assert len(keys) == len(figures_of(demo)["tables"])
    assert checks["passed"] > len(keys)


def test_materializations_carry_what_people_ask_for(demo: Demo, instance: dg.DagsterInstance) -> None:
    for name, table in read_tables(demo.settings.defs).items():
        metadata, stored = materialization(instance, name), demo.lake.table(name)
        stats = stored.stats()
        assert metadata["dagster/row_count"].value == stats.rows, name
        assert (metadata["lakehouse/files"].value, metadata["lakehouse/bytes"].value) == (stats.files, stats.bytes)
        assert metadata["lakehouse/snapshot_id"].value == str(stored.snapshots()[0].id), name
        assert float(metadata["lakehouse/seconds"].value) >= 0
        assert metadata["dagster/table_name"].value == str(name)
        assert metadata["dagster/storage_kind"].value == "iceberg"
        schema = metadata["dagster/column_schema"].value
        assert [column.name for column in schema.columns] == [column.name for column in table.stored_columns]
        assert metadata["lakehouse/preview"].value.count("\n") == 1 + min(10, stats.rows)
        if name.layer is not Layer.BRONZE and name.table != "dim_date":
            lineage = metadata["dagster/column_lineage"].value.deps_by_column
            assert set(lineage) <= {column.name for column in table.columns}
            assert lineage, name


def test_column_lineage_leads_from_revenue_to_the_source(demo: Demo, instance: dg.DagsterInstance) -> None:
    metadata = materialization(instance, TableName.parse("gold.daily_revenue"))
    deps = metadata["dagster/column_lineage"].value.deps_by_column["revenue_eur"]
    assert (dg.AssetKey(["gold", "fct_orders"]), "gross_eur") in {(dep.asset_key, dep.column_name) for dep in deps}

    tree = demo.run("table", "lineage", "gold.daily_revenue.revenue_eur")
    assert tree.returncode == 0, tree.stderr
    for column in ("gold.fct_orders.gross_eur", "silver.order_items.unit_price", "shop: public.order_items . quantity"):
        assert column in tree.stdout


def test_no_personal_data_leaves_by_metadata(demo: Demo, instance: dg.DagsterInstance) -> None:
    personal = {row[0] for row in demo.truth("select email from truth.customer_versions")}
    personal |= {row[0] for row in demo.truth("select phone from truth.customer_versions")}
    said = ""
    for name in read_tables(demo.settings.defs):
        records = instance.fetch_materializations(dg.AssetKey(list(name.key)), limit=100).records
        said += "".join(
            str(record.asset_materialization and record.asset_materialization.metadata) for record in records
        )
    for status in instance.get_runs():
        said += "".join(entry.to_json() for entry in instance.all_logs(status.run_id))
    assert "•••" in said
    assert len(personal) > 1000
    assert [one for one in personal if one in said] == []


def test_a_query_reads_what_the_demo_made(demo: Demo) -> None:
    found = demo.run("query", "select sum(orders) as n from gold.daily_revenue", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == [{"n": demo.truth("select count(*) from orders")[0][0]}]


def test_a_second_demo_loads_nothing_new(demo: Demo) -> None:
    before, revenue = rows_by_table(demo), demo.rows("from gold.daily_revenue order by all")
    bronze = [name for name in before if name.startswith("bronze.")]
    snapshots = heads(demo, *bronze)

    again = demo.run("demo", "--json")

    assert again.returncode == 0, again.stderr
    after = rows_by_table(demo)
    told = {"ops.loads", "ops.checks"}
    assert {name: rows for name, rows in after.items() if name not in told} == {
        name: rows for name, rows in before.items() if name not in told
    }
    assert heads(demo, *bronze) == snapshots
    assert demo.rows("from gold.daily_revenue order by all") == revenue


def test_the_shop_lives_on_and_a_late_file_reaches_gold(demo: Demo) -> None:
    before = rows_by_table(demo)
    paid = dict(demo.rows("select order_id, paid from gold.fct_orders"))

    advanced = demo.run("demo", "advance", "--days", "2", "--late", "1", "--json")

    assert advanced.returncode == 0, advanced.stderr
    after = rows_by_table(demo)
    for name in ("orders", "order_items", "customers", "payments", "exchange_rates"):
        assert after[f"bronze.{name}"] > before[f"bronze.{name}"], name
    late = demo.truth("select payment_id, order_id, amount from truth.payments_sent where file like '%-late-%'")
    assert late
    silver = dict(demo.rows("select payment_id, amount from silver.payments"))
    facts = dict(demo.rows("select order_id, paid from gold.fct_orders"))
    for payment_id, order_id, amount in late:
        assert silver[payment_id] == amount
        assert order_id not in paid or paid[order_id] == 0
        assert facts[order_id] == amount


def test_after_living_on_everything_still_agrees(demo: Demo) -> None:
    # A payment comes after its order's day: the days that only got payments were rebuilt too.
    columns = "order_date, orders, cancelled, revenue_eur, paid_eur"
    assert demo.rows(f"select {columns} from gold.daily_revenue order by order_date") == demo.truth(REVENUE)
    seen = versions_seen(demo, "truth.customer_versions", "customer_id", CUSTOMER, (*LOADED_AFTER, 32))
    assert (
        set(demo.rows(f"select customer_id, {CUSTOMER}, valid_from, valid_to, is_current from gold.dim_customer"))
        == seen
    )


def test_a_blocking_check_keeps_main_as_it_was(demo: Demo, copy: Path) -> None:
    contract = copy / "lakehouse" / "defs" / "shop" / "silver" / "orders.yaml"
    text = contract.read_text()
    rule = "      - {name: impossible, type: custom, engine: lakehouse, severity: error,\n"
    rule += "         implementation: {row: order_id < 0}}\n"
    head, mark, tail = text.partition("\n    quality:\n")
    assert mark
    contract.write_text(head + mark + rule + tail)
    chain = ("silver.orders", "gold.fct_orders", "gold.daily_revenue")
    before, rows = heads(demo, *chain), rows_by_table(demo)

    held = demo.run("run", *chain, "--from", "2026-01-05", "--to", "2026-01-06", project=copy)

    assert held.returncode == 1, held.stderr
    assert "impossible" in held.stderr
    assert "main unchanged" in held.stderr
    assert "Traceback" not in held.stderr + held.stdout
    assert heads(demo, *chain) == before
    after = rows_by_table(demo)
    assert after.pop("ops.checks") > rows.pop("ops.checks"), "what was judged is recorded, published or not"
    assert after == rows
    branches = demo.lake.table(TableName.parse("silver.orders")).branches()
    assert len(branches) == 1, "what was built stays on its branch for inspection"
    assert demo.lake.table(TableName.parse("silver.orders")).stats(branches[0]).rows == rows["silver.orders"]


BRONZE = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.bronze.returns
version: 1.0.0
status: active
description: {purpose: What customers sent back.}
team: {members: [{username: shop-team@example.com, role: owner}]}
schema:
  - name: returns
    properties:
      - {name: return_id, logicalType: integer, primaryKey: true, required: true, description: Number of the return}
      - {name: order_id, logicalType: integer, required: true, description: Order that was sent back}
      - {name: reason, logicalType: string, description: Why it was sent back}
      - {name: updated_at, logicalType: timestamp, required: true, description: When the row last changed}
slaProperties:
  - {property: latency, value: 24, unit: h}
customProperties:
  - {property: load, value: {source: shop, table: public.returns, watermark: updated_at}}
"""
SILVER = (
    BRONZE.replace("bronze", "silver")
    .partition("customProperties")[0]
    .replace(
        "required: true, description: Order",
        "required: true, relationships: [{to: orders.order_id}], description: Order",
    )
)
MODEL = """\
select return_id, order_id, upper(reason) as reason, updated_at from {{ source('bronze', 'returns') }}
qualify row_number() over (partition by return_id order by updated_at desc) = 1
"""


def test_a_table_is_one_file_and_a_model_one_more(demo: Demo, copy: Path) -> None:
    with demo.shop() as shop:
        shop.execute(
            "create table returns (return_id bigint primary key, order_id bigint, reason text, updated_at timestamptz)"
        )
        shop.execute(
            "insert into returns select n, n, 'broken', now() - interval '1 hour' from generate_series(1, 5) n"
        )
    defs = copy / "lakehouse" / "defs" / "shop"
    (defs / "bronze" / "returns.yaml").write_text(BRONZE)
    (defs / "silver" / "returns.yaml").write_text(SILVER)
    (copy / "dbt" / "models" / "shop" / "silver" / "returns.sql").write_text(MODEL)

    made = demo.run("run", "bronze.returns", "silver.returns", "--json", project=copy)

    assert made.returncode == 0, made.stderr
    tables = {row["table"]: row for row in json.loads(made.stdout)["tables"]}
    assert {name: row["rows"] for name, row in tables.items()} == {"bronze.returns": 5, "silver.returns": 5}
    # From the contracts alone: balance, quarantine, source; types; key unique and not null, order known.
    assert (tables["bronze.returns"]["passed"], tables["bronze.returns"]["failed"]) == (7, 0)
    assert (tables["silver.returns"]["passed"], tables["silver.returns"]["failed"]) == (5, 0)
    assert demo.rows("select distinct reason from silver.returns") == [("BROKEN",)]
    shown = demo.run("table", "show", "silver.returns", project=copy)
    assert "What customers sent back." in shown.stdout
    assert "shop_silver" in shown.stdout
