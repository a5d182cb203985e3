"""The report: the last result of each rule that contracts have today, with shares, failures first."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from lakehouse.cli.output import plain
from lakehouse.contracts import Declarations
from lakehouse.iceberg import Lake
from lakehouse.ledger import record_checks
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.quality.record import check_records
from lakehouse.quality.report import Report, report, report_json
from lakehouse.quality.report_page import draw_report, percent
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, LoadPolicy, Rule, Severity, Table, TableName, TableRule, TableRuleKind

ROOT = Path(__file__).parents[2]
BRONZE, ORDERS, PRODUCTS = (TableName.parse(f"{name}") for name in ("bronze.orders", "silver.orders", "gold.products"))
MORNING = datetime(2026, 11, 21, 3, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


def table(name: TableName, *rules: Rule, load: LoadPolicy | None = None, unique: bool = False) -> Table:
    return Table(
        name=name,
        domain="shop",
        description="",
        file=Path("contract.yaml"),
        columns=(Column("id", "long"),),
        rules=rules,
        table_rules=(TableRule("id_unique", TableRuleKind.UNIQUE, ("id",)),) if unique else (),
        load=load,
    )


WARNING = Severity.WARNING
DECLARED = Declarations(
    [
        table(BRONZE, Rule("at_the_door", "true"), Rule("seen", "true", WARNING), load=LoadPolicy("shop")),
        table(ORDERS, Rule("a", "id > 0", description=f"Above {EVIL}"), Rule("b", "true", WARNING), unique=True),
        table(PRODUCTS, Rule("c", "true"), Rule("d", "true")),
        table(TableName.parse("silver.free")),
    ]
)


def finding(name: TableName, rule: str, outcome: Outcome = Outcome.PASSED, **more: object) -> Finding:
    values = {"severity": Severity.ERROR, "description": "as it was", "observed": "seen", **more}
    return Finding(table=name, rule=rule, outcome=outcome, **values)  # type: ignore[arg-type]  # what the test gives


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two runs: a broke everything and was repaired but for one row of a thousand."""
    state = tmp_path_factory.mktemp("state")
    settings = load_settings(ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})
    lake = Lake.open(settings)
    runs = (
        [
            finding(ORDERS, "a", Outcome.FAILED, rows=10, failed=10),
            finding(ORDERS, "b", Outcome.ERROR, observed="no table gold.x"),
            finding(PRODUCTS, "c", rows=0, failed=0),
            finding(PRODUCTS, "gone", Outcome.FAILED),
            finding(TableName.parse("silver.gone"), "a", Outcome.FAILED),
        ],
        [
            finding(
                ORDERS,
                "a",
                Outcome.FAILED,
                rows=10_000,
                failed=1,
                sample=({"id": EVIL, "name": None},),
                sql="select * from silver.orders where id < 1",
                branch="run/abc",
                snapshot_id=42,
                observed="1 of 10,000 rows",
            ),
            finding(ORDERS, "id_unique", rows=10_000, failed=0),
        ],
    )
    # Recorded the other way round: what counts is when it was judged.
    for number, findings in reversed(list(enumerate(runs))):
        at = MORNING + timedelta(hours=number)
        records = check_records(findings, published=[PRODUCTS], run_id=f"run-{number}", at=at)
        record_checks(lake, records, run_key=f"run-{number}")
    return settings


@pytest.fixture(scope="module")
def whole(state: Settings) -> Report:
    return report(state, DECLARED)


def test_the_last_result_counts_and_failures_stand_first(whole: Report) -> None:
    assert [(str(one.table), one.rule, one.outcome.value, one.run_id) for one in whole.results] == [
        ("silver.orders", "a", "failed", "run-1"),
        ("silver.orders", "b", "error", "run-0"),
        ("silver.orders", "id_unique", "passed", "run-1"),
        ("gold.products", "c", "passed", "run-0"),
    ]


def test_a_result_says_all_that_was_recorded_and_what_the_contract_says_today(whole: Report) -> None:
    first = whole.results[0]
    assert (first.description, first.severity) == (f"Above {EVIL}", Severity.ERROR)
    assert (first.branch, first.snapshot_id, first.published) == ("run/abc", 42, False)
    assert (first.rows, first.failed, first.observed) == (10_000, 1, "1 of 10,000 rows")
    assert (first.sample, first.sql) == (
        ({"id": EVIL, "name": None},),
        "select * from silver.orders where id < 1",
    )
    assert first.at == MORNING + timedelta(hours=1)


def test_the_severity_is_that_of_the_contract(whole: Report) -> None:
    # b was recorded as an error; since then its contract made it a warning.
    assert [one.rule for one in whole.blocked] == ["a"]


def test_shares_of_rows_and_of_rules(whole: Report) -> None:
    assert [one.share_passed for one in whole.results] == [0.9999, None, 1.0, 1.0]
    assert {str(one.table): one.share_passed for one in whole.tables} == {
        "silver.orders": 1 / 3,
        "gold.products": 1.0,
        "bronze.orders": None,
    }
    assert whole.share_passed == 0.5


def test_rules_that_were_never_judged_are_named_but_not_those_of_the_door(whole: Report) -> None:
    assert {str(one.table): one.unjudged for one in whole.tables} == {
        "silver.orders": (),
        "gold.products": ("d",),
        "bronze.orders": ("seen",),
    }
    assert whole.unjudged == 2


def test_some_tables_only(state: Settings) -> None:
    some = report(state, DECLARED, names=[PRODUCTS])
    assert [one.table for one in some.tables] == [PRODUCTS]
    assert not some.blocked


def test_before_the_first_run_nothing_is_judged(settings: Settings) -> None:
    nothing = report(settings, DECLARED)
    assert (nothing.results, nothing.share_passed, nothing.blocked) == ((), None, ())
    assert nothing.unjudged == 6
    assert "Nothing was judged yet" in draw_report(nothing)


def test_json_is_for_programs(whole: Report) -> None:
    told = json.loads(json.dumps(report_json(whole), default=plain))
    assert (told["passed"], told["judged"], told["share_passed"]) == (2, 4, 0.5)
    assert told["blocked"] == ["silver.orders.a"]
    assert [one["table"] for one in told["tables"]] == ["silver.orders", "gold.products", "bronze.orders"]
    first = told["tables"][0]["results"][0]
    assert (first["rule"], first["outcome"], first["severity"]) == ("a", "failed", "error")
    assert (first["share_passed"], first["sample"]) == (0.9999, [{"id": EVIL, "name": None}])
    assert first["at"] == "2026-11-21T04:00:00+00:00"


def test_the_page_says_it_for_people_and_needs_nothing_beside_it(whole: Report) -> None:
    page = draw_report(whole)
    assert EVIL not in page
    assert not re.search(r"<script|<link|<img|src=|https?:|@import|url\(", page)
    text = " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())
    for said in (
        "50.0% of the rules hold",
        "2 of 4 rules hold",
        "1 blocking rules fail",
        "1 warnings",
        "2 rules not judged yet",
        "silver.orders 1 of 3 rules hold",
        ">99.9% 1 of 10,000 2026-11-21 04:00:00 run/abc, not published snapshot 42 run run-1",
        "Some of these rows id name",
        "select * from silver.orders where id < 1",
        "not judged b warning no table gold.x",
        "Not judged yet: d",
    ):
        assert said in text, said
    assert page.index("silver.orders") < page.index("gold.products")
    assert "width:97.0%" in page


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "-"),
        (0, "0%"),
        (1, "100%"),
        (0.5, "50.0%"),
        (0.99999, ">99.9%"),
        (0.00001, "<0.1%"),
        (0.9994, "99.9%"),
        (1 / 3, "33.3%"),
    ],
)
def test_a_share_is_rounded_but_never_to_all_or_nothing(share: float | None, said: str) -> None:
    assert percent(share) == said
