"""What a person sees who opens the UI on a shop that was never loaded, and materializes all of it with one button.

What is not about loading is looked at while the shop is loaded. LAKEHOUSE_SCREENSHOTS=1 takes the pictures of the
documents anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from playwright.sync_api import Locator, Page, expect

from lakehouse.contracts import read_tables
from lakehouse.demo import open_shop
from lakehouse.services.endpoints import postgres_url
from lakehouse.settings import PostgresSource
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Look, Ui

pytestmark = pytest.mark.services  # minutes: a real UI, its daemon and a browser
LOADING_SECONDS = 300
# For pictures only: colours and positions are animated. No expectation hangs on it.
SETTLED_MILLISECONDS = 3000
IMAGES = Path(__file__).parents[2] / "docs" / "images"
GROUPS = ("shop_sources", "shop_bronze", "shop_staging", "shop_silver", "shop_gold", "shop_upkeep")
ORDERS = TableName.parse("silver.orders")
CUSTOMERS = TableName.parse("silver.customers")
PRODUCTS = tuple(TableName.parse(name) for name in ("bronze.products", "silver.products", "gold.dim_product"))
PRODUCT_ASSETS = ("bronze/products", "staging/stg_products", "silver/products", "gold/dim_product")
LAUNCH = """
mutation Launch($selector: JobOrPipelineSelector!) {
  launchPipelineExecution(executionParams: {selector: $selector, runConfigData: {}, mode: "default"}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
  }
}
"""
RULE = "prices_keep_their_scale"
DEARER = """
update products set price = price * 50, updated_at = shop_now() - interval '1 hour'
where product_id = (select product_id from products order by price limit 1)
"""


def shown(page: Page, text: str | re.Pattern[str]) -> Locator:
    """The first element with this very text that can be seen: Dagster keeps hidden copies to measure them."""
    return page.get_by_text(text, exact=True).and_(page.locator(":visible")).first


def below(page: Page, label: str) -> Locator:
    """A label with what stands under it."""
    return shown(page, label).locator("xpath=..")


@pytest.fixture(scope="module")
def backfill(ui: Ui, look: Look) -> str:
    """The page of the backfill that Materialize all starts for the days of the shop."""
    with look() as page:
        page.goto("/asset-groups")
        page.get_by_role("button", name="Materialize all").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Show all partitions").click()
        days = dialog.get_by_role("textbox").first
        days.fill(ui.days)
        days.press("Enter")
        dialog.get_by_role("button", name="Launch backfill").click()
        link = page.get_by_role("link", name="View", exact=True)
        return link.get_attribute("href") or ""


@pytest.fixture(scope="module")
def loaded(look: Look, backfill: str) -> Iterator[Page]:
    """The page of that backfill, when it has ended."""
    with look() as page:
        page.goto(backfill)
        expect(below(page, "Status")).to_have_text(
            re.compile("Succeeded|Failed|Canceled"), timeout=LOADING_SECONDS * 1000
        )
        yield page


def test_the_lineage_shows_a_group_for_each_layer(page: Page) -> None:
    page.goto("/asset-groups")
    for group in GROUPS:
        expect(shown(page, group)).to_be_visible()


def test_the_automation_page_shows_what_is_switched_on_and_what_is_not(page: Page, backfill: str) -> None:
    assert backfill
    page.goto("/automation")
    # Sensors are switched off by a setting, for these tests.
    for name, on in (("shop_nightly", True), ("payments_landing", False)):
        row = page.locator("[data-index]").filter(has_text=name)
        # The first box selects the row, the last switches it on and off.
        expect(row.get_by_role("checkbox").last).to_be_checked(checked=on)


def test_an_asset_shows_what_its_contract_says(ui: Ui, page: Page, backfill: str) -> None:
    assert backfill
    table = read_tables(ui.settings.defs)[ORDERS]
    page.goto("/assets/silver/orders")
    for text in (*table.description.splitlines(), *table.owners, "Iceberg", "dbt", "shop_silver"):
        if text:
            expect(shown(page, text)).to_be_visible()
    for column in table.stored_columns:
        row = page.get_by_role("row").filter(has=page.get_by_text(column.name, exact=True))
        expect(row.filter(has_text=column.description)).to_contain_text(column.type)


def test_materialize_all_is_one_backfill_that_succeeds(loaded: Page) -> None:
    expect(below(loaded, "Status")).to_contain_text("Succeeded")
    for asset in ("bronze / orders", "staging / stg_orders"):
        expect(shown(loaded, asset)).to_be_visible()


def test_checks_are_the_rules_of_the_contract_and_show_their_results(ui: Ui, page: Page, loaded: Page) -> None:
    assert loaded
    table = read_tables(ui.settings.defs)[ORDERS]
    listed = next(rule for rule in table.rules if rule.name == "status_accepted_values")
    unique = next(rule for rule in table.table_rules if rule.name == "order_id_unique")
    for rule, demand in ((listed, listed.description or listed.predicate), (unique, unique.description)):
        page.goto(f"/assets/silver/orders?view=checks&checkDetail={rule.name}")
        expect(below(page, "Evaluation result")).to_contain_text("Passed")
        expect(shown(page, demand)).to_be_visible()
    title = shown(page, re.compile(r"^Checks \([1-9]\d*\)$")).inner_text()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(int(title.strip("Checks ()")))


def test_a_materialization_carries_figures_and_a_masked_preview(ui: Ui, page: Page, loaded: Page) -> None:
    assert loaded
    stored = ui.lake.table(CUSTOMERS)
    page.goto("/assets/silver/customers?view=events")
    for key, value in (
        ("dagster/row_count", str(stored.stats().rows)),
        ("lakehouse/snapshot_id", str(stored.snapshots()[0].id)),
        ("dagster/table_name", "silver.customers"),
    ):
        row = page.get_by_role("row").filter(has=page.get_by_text(key, exact=True))
        expect(row).to_contain_text(value)
    page.get_by_text("[Show Markdown]").click()
    preview = page.get_by_role("dialog").get_by_role("row")
    expect(preview).to_have_count(11)
    rows = [[cell.strip() for cell in row.split("\t")] for row in preview.all_inner_texts()]
    columns, values = rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert columns == list(stored.schema().names)
    assert len({row["customer_id"] for row in values}) == 10
    assert {row[personal] for row in values for personal in ("name", "email", "phone", "address")} == {"•••"}


def test_a_materialization_links_to_its_column_lineage(page: Page, loaded: Page) -> None:
    assert loaded
    page.goto("/assets/gold/daily_revenue?view=events")
    link = page.locator("a[href$='/lineage/gold.daily_revenue.html']").first
    page.goto(link.get_attribute("href") or "")
    drawing = page.get_by_role("img", name="Column lineage of gold.daily_revenue")
    expect(drawing).to_be_visible()
    for text in ("bronze.orders", "silver.orders", "gold.fct_orders", "revenue_eur"):
        expect(drawing.get_by_text(text, exact=True).first).to_be_visible()


def test_a_source_shows_what_was_read_from_it(ui: Ui, page: Page, loaded: Page) -> None:
    assert loaded
    page.goto("/assets/source/shop/customers?view=events")
    read = ui.lake.table(TableName.parse("bronze.customers")).stats().rows
    row = page.get_by_role("row").filter(has=page.get_by_text("lakehouse/rows_read", exact=True))
    expect(row).to_contain_text(str(read))


@pytest.mark.skipif("LAKEHOUSE_SCREENSHOTS" not in os.environ, reason="LAKEHOUSE_SCREENSHOTS=1 takes the pictures")
def test_the_pictures_of_the_documents(page: Page, loaded: Page) -> None:
    assert loaded
    IMAGES.mkdir(parents=True, exist_ok=True)
    take_lineage(page)
    take_asset(page)


@pytest.fixture(scope="module")
def stopped(ui: Ui, look: Look, loaded: Page) -> tuple[str, list[int]]:
    """A day on which a price is fifty times what it was, loaded: the page of the run, and the heads of before."""
    assert loaded
    open_shop(ui.settings).advance(1)
    source = ui.settings.sources["shop"]
    assert isinstance(source, PostgresSource)
    url = postgres_url(ui.settings, source.url).get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DEARER)
    before = heads(ui)
    with look() as page:
        page.goto(f"/runs/{launched(ui, page, PRODUCT_ASSETS)}")
        expect(shown(page, "Failure")).to_be_visible(timeout=LOADING_SECONDS * 1000)
        return page.url, before


def launched(ui: Ui, page: Page, keys: tuple[str, ...]) -> str:
    """A run of these assets and no others, asked for as the pages ask; its id."""
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "lakehouse",
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": key.split("/")} for key in keys],
    }
    asked = {"query": LAUNCH, "variables": {"selector": selector}}
    answer = page.request.post(f"{ui.url}/graphql", data=asked).json()
    return str(answer["data"]["launchPipelineExecution"]["run"]["runId"])


def heads(ui: Ui) -> list[int]:
    return [ui.lake.table(name).snapshots()[0].id for name in PRODUCTS]


def fact(page: Page, key: str) -> Locator:
    """The row of a metadata entry."""
    return page.get_by_role("row").filter(has=page.get_by_text(key, exact=True)).first


def test_a_broken_rule_is_a_failed_check_that_shows_what_was_found(page: Page, stopped: tuple[str, list[int]]) -> None:
    assert stopped
    page.goto(f"/assets/bronze/products?view=checks&checkDetail={RULE}")
    expect(below(page, "Evaluation result")).to_contain_text("Failed")
    expect(shown(page, "From one version to the next, no price changes more than tenfold")).to_be_visible()
    expect(fact(page, "observed")).to_contain_text("found 1")
    expect(fact(page, "branch")).to_contain_text("load/")
    expect(fact(page, "severity")).to_contain_text("error")
    fact(page, "sql").get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("dialog")).to_contain_text("bronze.products")


def test_what_lies_behind_a_failed_check_is_neither_run_nor_changed(
    ui: Ui, page: Page, stopped: tuple[str, list[int]]
) -> None:
    run, before = stopped
    page.goto(run)
    expect(page.get_by_text(re.compile("Dependencies for step models")).first).to_be_visible()
    assert heads(ui) == before
    page.goto("/assets/gold/dim_product?view=events")
    expect(fact(page, "lakehouse/snapshot_id")).to_contain_text(str(before[-1]))


def test_a_failed_check_links_to_its_data_docs(page: Page, stopped: tuple[str, list[int]]) -> None:
    assert stopped
    page.goto(f"/assets/bronze/products?view=checks&checkDetail={RULE}")
    link = fact(page, "data_docs").get_by_role("link").first
    page.goto(link.get_attribute("href") or "")
    expect(page.get_by_text(RULE).first).to_be_visible()
    expect(page.get_by_text("bronze.products").first).to_be_visible()


@pytest.mark.skipif("LAKEHOUSE_SCREENSHOTS" not in os.environ, reason="LAKEHOUSE_SCREENSHOTS=1 takes the pictures")
def test_the_pictures_of_the_gate(page: Page, stopped: tuple[str, list[int]]) -> None:
    assert stopped
    page.set_viewport_size({"width": 1500, "height": 1100})
    page.goto(f"/assets/bronze/products?view=checks&checkDetail={RULE}")
    link = fact(page, "data_docs").get_by_role("link").first
    address = link.get_attribute("href") or ""
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=IMAGES / "check-failed.png")
    page.set_viewport_size({"width": 1500, "height": 760})
    page.goto(address)
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=IMAGES / "data-docs.png")


def take_lineage(page: Page) -> None:
    """Sources to gold from left to right: nodes flat, all groups expanded but those that would push them askew."""
    page.set_viewport_size({"width": 1800, "height": 1000})
    page.add_init_script("""localStorage.setItem("asset-node-facets", '["status"]')""")
    page.goto("/asset-groups")
    shown(page, "shop_gold").wait_for()
    page.get_by_role("button", name="Hide navigation").click()
    page.keyboard.press("Alt+e")
    for group in ("shop_staging", "shop_upkeep", "lakehouse_upkeep"):
        box = page.locator("foreignObject").filter(has_text=group)
        box.get_by_role("img", name="unfold_less").click()
        box.get_by_role("img", name="unfold_more").wait_for()
    # Opened anew, the graph is fitted into the window.
    page.goto("about:blank")
    page.goto("/asset-groups")
    page.get_by_role("img", name="panel_show_right").last.click()
    shown(page, "daily_revenue").wait_for()
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=IMAGES / "lineage.png")


def take_asset(page: Page) -> None:
    """A table as its contract and its last materialization describe it."""
    page.set_viewport_size({"width": 1500, "height": 1660})
    page.goto("/assets/silver/customers")
    shown(page, "lakehouse/snapshot_id").wait_for()
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=IMAGES / "asset.png")
