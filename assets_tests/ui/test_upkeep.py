"""What a person sees of upkeep: nobody starts it, and the table's page shows it before and after.

LAKEHOUSE_SCREENSHOTS=1 takes the pictures of the documents anew.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from playwright.sync_api import Locator, Page, expect

from lakehouse.contracts import read_tables
from lakehouse.iceberg import LakeTable
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Look, Ui

pytestmark = pytest.mark.services  # minutes: a real UI, its daemon and a browser
RATES = TableName.parse("bronze.exchange_rates")
FILES = 7
UPKEEP_SECONDS = 300
# For pictures only: colours and positions are animated. No expectation hangs on it.
SETTLED_MILLISECONDS = 3000
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def clock() -> str:
    """Every minute."""
    return "* * * * *"


@pytest.fixture(scope="module")
def worn(ui: Ui) -> LakeTable:
    """A table of seven small files, as seven loads leave it."""
    stored = ui.lake.create(read_tables(ui.settings.defs)[RATES])
    for number in range(FILES):
        rate = {
            "date": date(2026, 1, 1 + number),
            "currency": "EUR",
            "rate_to_eur": Decimal(1),
            "_extracted_at": datetime(2026, 1, 8, tzinfo=UTC),
            "_source": "rates",
            "_run_key": str(number),
            "_source_version": None,
            "_extra": None,
        }
        stored.append(pa.Table.from_pylist([rate], schema=stored.schema()), run_key=f"worn-{number}")
    return stored


@pytest.fixture(scope="module")
def kept_up(ui: Ui, look: Look, worn: LakeTable) -> str:
    """The page of the table's upkeep, when the schedule has had it done."""
    assert ui
    assert len(worn.snapshots()) == FILES
    with look() as page:
        page.goto("/assets/upkeep/bronze/exchange_rates?view=events")
        expect(fact(page, "lakehouse/files_before")).to_be_visible(timeout=UPKEEP_SECONDS * 1000)
        return page.url


def shown(page: Page, text: str | re.Pattern[str]) -> Locator:
    """The first element with this very text that can be seen: Dagster keeps hidden copies to measure them."""
    return page.get_by_text(text, exact=True).and_(page.locator(":visible")).first


def fact(page: Page, key: str) -> Locator:
    """The row of a metadata entry."""
    return page.get_by_role("row").filter(has=page.get_by_text(key, exact=True)).first


def test_the_schedules_of_upkeep_are_switched_on(page: Page, ui: Ui) -> None:
    assert ui
    page.goto("/automation")
    for name in ("shop_upkeep", "lakehouse_upkeep"):
        row = page.locator("[data-index]").filter(has_text=name)
        # The first box selects the row, the last switches it on and off.
        expect(row.get_by_role("checkbox").last).to_be_checked()


def test_a_tick_has_the_table_packed_and_the_page_shows_before_and_after(
    page: Page, kept_up: str, worn: LakeTable
) -> None:
    assert worn.stats().files == 1
    page.goto(kept_up)
    for key, value in (("files_before", FILES), ("files", 1), ("rows_before", FILES), ("rows", FILES)):
        expect(fact(page, f"lakehouse/{key}")).to_contain_text(re.compile(rf"{key}\W*{value}\b"))
    expect(fact(page, "lakehouse/row_hash")).to_contain_text(re.compile(r"\d{10}"))


def test_the_run_says_which_table_and_why(page: Page, kept_up: str) -> None:
    assert kept_up
    page.goto("/runs")
    for tag in ("lakehouse/table: bronze.exchange_rates", f"lakehouse/upkeep: {FILES} files"):
        expect(page.get_by_text(tag).first).to_be_visible()


def test_a_page_draws_files_and_bytes_over_time(page: Page, kept_up: str) -> None:
    page.goto(kept_up)
    page.goto(fact(page, "lakehouse/upkeep").get_by_role("link").first.get_attribute("href") or "")
    for what in ("Files", "Bytes"):
        drawing = page.get_by_role("img", name=f"{what} of bronze.exchange_rates")
        expect(drawing.locator("rect.before").first).to_be_visible()
        expect(drawing.locator("rect.after").first).to_be_visible()
    expect(page.get_by_role("cell", name=re.compile(rf"{FILES} files became 1")).first).to_be_visible()


def test_the_next_ticks_say_why_they_ask_for_nothing(page: Page, kept_up: str) -> None:
    assert kept_up
    page.goto("/locations/lakehouse/schedules/shop_upkeep")
    page.get_by_role("button", name="0 runs requested").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("none has anything to do")


@pytest.mark.skipif("LAKEHOUSE_SCREENSHOTS" not in os.environ, reason="LAKEHOUSE_SCREENSHOTS=1 takes the pictures")
def test_the_picture_of_the_documents(page: Page, kept_up: str) -> None:
    page.set_viewport_size({"width": 1500, "height": 900})
    page.goto(kept_up)
    fact(page, "lakehouse/files_before").wait_for()
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=IMAGES / "upkeep.png")
