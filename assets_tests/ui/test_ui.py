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

import pytest
from playwright.sync_api import Locator, Page, expect

from lakehouse.contracts import read_tables
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Look, Ui

LOADING_SECONDS = 300
IMAGES = Path(__file__).parents[2] / "docs" / "images"
GROUPS = ("shop_sources", "shop_bronze", "shop_staging", "shop_silver", "shop_gold")
ORDERS = TableName.parse("silver.orders")
CUSTOMERS = TableName.parse("silver.customers")


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
        expect(below(page, "Status")).to_have_text(re.compile("Succeeded|Failed|Canceled"), timeout=LOADING_SECONDS * 1000)
        yield page


def test_the_lineage_shows_a_group_for_each_layer(page: Page) -> None:
    page.goto("/asset-groups")
    for group in GROUPS:
        expect(shown(page, group)).to_be_visible()


def test_materialize_all_is_one_backfill(page: Page, backfill: str) -> None:
    page.goto(backfill)
    expect(page.get_by_role("link", name="bronze / orders", exact=True)).to_be_visible()


def test_the_automation_page_shows_schedule_and_sensor_switched_on(page: Page) -> None:
    page.goto("/automation")
    for name in ("shop_nightly", "payments_landing"):
        row = page.locator("[data-index]").filter(has_text=name)
        # The first box selects the row, the last switches it on and off.
        expect(row.get_by_role("checkbox").last).to_be_checked()


def test_an_asset_shows_what_its_contract_says(ui: Ui, page: Page) -> None:
    table = read_tables(ui.settings.defs)[ORDERS]
    page.goto("/assets/silver/orders")
    for text in (*table.description.splitlines(), *table.owners, "Iceberg", "dbt", "shop_silver"):
        if text:
            expect(shown(page, text)).to_be_visible()
    for column in table.stored_columns:
        row = page.get_by_role("row").filter(has=page.get_by_text(column.name, exact=True))
        expect(row).to_contain_text(column.type)
        expect(row).to_contain_text(column.description)


def test_everything_is_materialized(loaded: Page) -> None:
    expect(below(loaded, "Status")).to_contain_text("Succeeded")


def test_checks_show_their_results(ui: Ui, page: Page, loaded: Page) -> None:
    assert loaded
    page.goto("/assets/silver/orders?view=checks")
    expect(page.get_by_text(re.compile(r"^Checks \(\d+\)$"))).to_be_visible()
    for name in ("order_id_unique", "status_accepted_values"):
        check = page.get_by_role("link").filter(has_text=name)
        expect(check).to_contain_text("Succeeded")
        check.click()
        expect(below(page, "Evaluation result")).to_contain_text("Passed")
    rule = next(rule for rule in read_tables(ui.settings.defs)[ORDERS].rules if rule.name == "status_accepted_values")
    expect(page.get_by_text(rule.description or rule.predicate)).to_be_visible()


def test_a_row_that_broke_the_contract_is_a_warning(page: Page, loaded: Page) -> None:
    assert loaded
    page.goto("/assets/bronze/payments?view=checks&checkDetail=no_row_quarantined")
    expect(below(page, "Evaluation result")).to_contain_text("Failed")
    expect(shown(page, "quarantine.shop_payments")).to_be_visible()


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
    rows = [[cell.strip() for cell in row.split("\t")] for row in preview.all_inner_texts()]
    columns, values = rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert columns == list(stored.schema().names)
    assert len({row["customer_id"] for row in values}) == 10
    assert {row[personal] for row in values for personal in ("name", "email", "phone", "address")} == {"•••"}


def test_a_materialization_links_to_its_column_lineage(page: Page, loaded: Page) -> None:
    assert loaded
    page.goto("/assets/gold/daily_revenue?view=events")
    link = page.get_by_role("link", name=re.compile(r"lineage/gold\.daily_revenue\.html"))
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
def test_take_the_pictures(page: Page, loaded: Page) -> None:
    assert loaded
    lineage_picture(page)
    asset_picture(page)


def lineage_picture(page: Page) -> None:
    """Every group expanded, nodes as flat as they get, zoomed out until the outermost groups are seen whole."""
    page.add_init_script(
        """localStorage.setItem("asset-node-facets", '["status"]'); localStorage.setItem("large-screen-nav-open", "false")"""
    )
    page.goto("/asset-groups")
    shown(page, "shop_gold").wait_for()


def asset_picture(page: Page) -> None:
    page.goto("/assets/gold/daily_revenue?view=events")
