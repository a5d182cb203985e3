"""`lakehouse quality report|check|docs` as a user sees them: 0 well, 1 a blocking rule does not hold, 2 error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.ledger import record_checks
from lakehouse.quality.docs_history import Validation
from lakehouse.quality.docs_store import add_pages
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.quality.record import check_records
from lakehouse.services.pages import pages_folder
from lakehouse.settings import Settings
from lakehouse.tables import Severity, TableName

if TYPE_CHECKING:
    from conftest import Command

PRODUCTS = TableName.parse("silver.products")
AT = datetime(2026, 11, 21, 3, tzinfo=UTC)
BRANCH = "run/cheap"


@pytest.fixture
def judged(settings: Settings, lake: Lake) -> None:
    """Of silver.products all rules hold but the minimal price; of silver.orders nothing but a row rule was judged."""
    declared = read_tables(settings.defs)[PRODUCTS]
    findings = [
        Finding(
            PRODUCTS,
            rule.name,
            rule.severity,
            Outcome.FAILED if rule.name == "price_minimum" else Outcome.PASSED,
            rule.description,
            "1 of 4 rows" if rule.name == "price_minimum" else "0 of 4 rows",
            rows=4,
            failed=int(rule.name == "price_minimum"),
        )
        for rule in declared.rules
    ]
    assert any(not one.passed for one in findings)
    orders = Finding(
        TableName.parse("silver.orders"), "order_id_not_null", Severity.ERROR, Outcome.PASSED, "", "0 of 9 rows", 9, 0
    )
    records = check_records([*findings, orders], published=(), run_id="0a1b2c3d-run", at=AT)
    record_checks(lake, records, run_key="run-1")


@pytest.mark.usefixtures("judged")
def test_report_shows_failures_and_shares_and_ends_with_1(lakehouse: Command) -> None:
    ended = lakehouse("quality", "report")
    assert (ended.code, ended.err) == (1, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["result", "severity", "rule", "observed", "rows", "that", "pass", "judged"]
    assert lines[1][:3] == ["failed", "error", "silver.products.price_minimum"]
    assert "75.0%" in lines[1]
    assert len([line for line in lines if line[:1] == ["failed"]]) == 1
    assert not [line for line in lines if line[:1] == ["passed"]]
    assert any(line[:4] == ["silver.orders", "1", "1", "100%"] for line in lines)
    assert "rules hold" in ended.out


@pytest.mark.usefixtures("judged")
def test_report_of_tables_shows_every_rule_of_them(lakehouse: Command) -> None:
    ended = lakehouse("quality", "report", "silver.orders")
    assert ended.code == 0
    assert "silver.orders.order_id_not_null" in ended.out
    assert "silver.products" not in ended.out


@pytest.mark.usefixtures("judged")
def test_report_writes_a_page_and_json(lakehouse: Command, tmp_path: Path) -> None:
    page, figures = tmp_path / "report.html", tmp_path / "report.json"
    ended = lakehouse("quality", "report", "--html", str(page), "--json", str(figures))
    assert ended.code == 1
    assert "price_minimum" in ended.out
    told = json.loads(figures.read_text())
    assert told["blocked"] == ["silver.products.price_minimum"]
    assert told["judged"] - told["passed"] == 1
    assert "price_minimum" in page.read_text()


@pytest.mark.usefixtures("judged")
def test_a_dash_is_standard_output_and_nothing_else_is_there(lakehouse: Command) -> None:
    assert json.loads(lakehouse("quality", "report", "--json", "-").out)["blocked"]
    page = lakehouse("quality", "report", "--html", "-").out
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")


def test_report_before_the_first_run_says_so(lakehouse: Command) -> None:
    ended = lakehouse("quality", "report")
    assert ended.code == 0
    assert "Nothing was judged yet" in ended.out
    assert json.loads(lakehouse("quality", "report", "--json", "-").out)["judged"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "silver.product"], "no contract declares silver.product"),
        (["report", "products"], "not a table name"),
        (["report", "--html", "/nowhere/at/all.html"], "/nowhere/at/all.html cannot be written"),
        (["check", "silver.product"], "no contract declares silver.product"),
        (["check", "silver.orders"], "silver.orders"),
        (["check", "silver.products", "--branch", "run/none"], "no branch run/none"),
    ],
)
@pytest.mark.usefixtures("products")
def test_what_cannot_be_done_is_one_clear_error(lakehouse: Command, arguments: list[str], said: str) -> None:
    ended = lakehouse("quality", *arguments)
    assert ended.code == 2
    assert ended.err.startswith("error ")
    assert said in " ".join(ended.err.split())
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("products")
def test_check_judges_main_or_a_branch_and_records_nothing(lakehouse: Command, lake: Lake) -> None:
    table = lake.table(PRODUCTS)
    table.create_branch(BRANCH)
    row = {**table.scan().read_all().to_pylist()[0], "product_id": 9, "price": Decimal("-1.00")}
    table.append(pa.Table.from_pylist([row], schema=table.schema()), run_key="cheap", branch=BRANCH)

    main = {one["rule"]: one for one in json.loads(lakehouse("quality", "check", "silver.products", "--json").out)}
    assert main["price_minimum"]["result"] == "passed"
    assert main["price_minimum"]["rows"] == 3

    ended = lakehouse("quality", "check", "silver.products", "--branch", BRANCH)
    assert ended.code == 1
    assert "rule price_minimum of silver.products failed: 1 of 4 rows" in ended.out
    assert "select * from silver.products where not (" in ended.out
    assert f"lakehouse query --branch {BRANCH}" in ended.out
    assert [str(name) for name in lake.names() if name.layer == "ops"] == []


def test_docs_are_found(lakehouse: Command, settings: Settings) -> None:
    site = pages_folder(settings) / "quality"
    assert "No data docs yet" in lakehouse("quality", "docs").out
    assert json.loads(lakehouse("quality", "docs", "--json").out) == {
        "url": None,
        "file": str(site / "index.html"),
        "written": False,
    }
    made = Validation(PRODUCTS, "run-1", AT, "main", 1, "validations/page.html", rules=1, failed=0, warned=0)
    add_pages(site, [(made, "<html></html>")], keep=2)
    assert lakehouse("quality", "docs").out.strip() == str(site / "index.html")
