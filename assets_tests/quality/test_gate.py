"""The gate on a lake: what it judges, what it says of it, and what it never shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from lakehouse.errors import TableMissing
from lakehouse.iceberg import Lake, connect, register
from lakehouse.quality import Finding, Gate, Outcome
from lakehouse.settings import Settings
from lakehouse.tables import Bound, Comparison, Rule, RuleKind, Severity, Table, TableName, TableRule, TableRuleKind

K = TableRuleKind
ANN = "ann@example.com"
ROWS = [
    {
        "order_id": number,
        "amount": Decimal(number),
        "email": ANN,
        "status": "ab"[number % 2],
        "order_date": date(2026, 1, 2),
    }
    for number in range(1, 6)
]
Judge = Callable[..., dict[str, Finding]]
Make = Callable[..., Table]
Fill = Callable[..., None]
RowRule = Callable[..., Rule]


def sql(name: str, query: str, comparison: Comparison = Comparison.EQUAL, value: float | str = 0) -> TableRule:
    return TableRule(name, K.SQL, (), {"query": query, "bound": Bound(comparison, (value,))})


def test_a_finding_says_all_there_is_to_say(
    judged_lake: Lake, judged_settings: Settings, table: Make, fill: Fill, row_rule: RowRule
) -> None:
    rule = row_rule("small", "amount < 3", "amount", severity=Severity.WARNING)
    orders = table("silver.complete", rule)
    fill(orders, ROWS)
    gate = Gate(judged_settings, judged_lake, {orders.name: orders})
    (found,) = gate.audit(orders.name)
    assert (found.table, found.rule, found.severity) == (orders.name, "small", Severity.WARNING)
    assert (found.outcome, found.blocks) == (Outcome.FAILED, False)
    assert (found.rows, found.failed, found.observed) == (5, 3, "3 of 5 rows")
    assert (found.column, found.description, found.branch) == ("amount", "about small", "main")
    assert found.snapshot_id == judged_lake.table(orders.name).snapshots()[0].id
    assert found.seconds > 0
    # Key first, then what the rule is about; not more than asked for, and personal columns masked.
    assert [list(row)[:2] for row in found.sample] == [["order_id", "amount"]] * 3
    assert [row["amount"] for row in found.sample] == ["3.00", "4.00", "5.00"]
    assert {row["email"] for row in found.sample} == {"•••"}
    assert {row["at"] for row in found.sample} == {None}
    with connect(judged_settings) as duck:
        register(duck, judged_lake)
        assert len(duck.execute(found.sql).fetchall()) == 3
    assert gate.findings == {(orders.name, "small"): found}


def test_rules_in_the_contracts_order_or_only_some(
    judged_lake: Lake, judged_settings: Settings, table: Make, fill: Fill, row_rule: RowRule
) -> None:
    keys = TableRule("keys", K.UNIQUE, ("order_id",))
    orders = table("silver.some", row_rule("b", "true"), row_rule("a", "order_id > 0", "order_id"), keys)
    fill(orders, ROWS)
    gate = Gate(judged_settings, judged_lake, {orders.name: orders})
    gate.warm()
    assert [found.rule for found in gate.audit(orders.name)] == ["b", "a", "keys"]
    assert [found.rule for found in gate.audit(orders.name, rules=["keys", "b"])] == ["b", "keys"]
    assert gate.audit(orders.name, rules=[]) == ()
    assert len(gate.judged) == 2
    with pytest.raises(KeyError, match="nothing"):
        gate.audit(orders.name, rules=["nothing"])


def test_the_branch_is_judged_and_others_as_it_sees_them(
    judged_lake: Lake, table: Make, fill: Fill, judge: Judge
) -> None:
    there = {"to": TableName.parse("silver.parents"), "to_columns": ("order_id",)}
    elsewhere = {"to": TableName.parse("silver.uncles"), "to_columns": ("order_id",)}
    parents, uncles = table("silver.parents"), table("silver.uncles")
    children = table(
        "silver.children",
        TableRule("parent", K.RELATIONSHIP, ("order_id",), there),
        TableRule("uncle", K.RELATIONSHIP, ("order_id",), elsewhere),
    )
    fill(parents, ROWS[:1])
    fill(uncles, ROWS[:4])
    fill(children, ROWS[:1])
    fill(children, ROWS, "run/1")
    fill(parents, ROWS, "run/1")
    found = judge(children, parents, uncles, at="run/1")
    # Parents are complete on the branch, uncles have no such branch and lack one row on main.
    assert (found["parent"].outcome, found["uncle"].outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert (found["uncle"].failed, found["uncle"].rows, found["uncle"].branch) == (1, 5, "run/1")
    # Of a row that points elsewhere, only keys are shown.
    assert found["uncle"].sample == ({"order_id": "5"},)
    branch = judged_lake.table(children.name).snapshots("run/1")[0].id
    assert found["parent"].snapshot_id == branch
    main = judge(children, parents, uncles)
    assert {one.rows for one in main.values()} == {1}
    assert {one.branch for one in main.values()} == {"main"}
    # A table without the branch is judged on main, and says so.
    assert (
        judge(table("silver.uncles", TableRule("keys", K.UNIQUE, ("order_id",))), at="run/1")["keys"].branch == "main"
    )


def test_what_is_published_is_there_to_compare_with(table: Make, fill: Fill, judge: Judge) -> None:
    grown = sql("grown", "select (select count(*) from {object}) - (select count(*) from {published})", value=2)
    orders = table("silver.compared", grown)
    fill(orders, ROWS[:2], "run/1")
    # Nothing is on main yet: no rows of the same columns.
    assert judge(orders, at="run/1")["grown"].passed
    fill(orders, ROWS[:4])
    found = judge(orders, at="run/1")["grown"]
    assert (found.outcome, found.observed) == (Outcome.FAILED, "found -2; must be 2")


@pytest.mark.parametrize(
    ("days", "outcome", "observed"),
    [
        # It is noon of the third: a day counts from its end, and one of 24 hours is still good.
        ([2], Outcome.PASSED, "newest 2026-01-02"),
        ([1], Outcome.FAILED, "newest 2026-01-01, more than 1 day before 2026-01-03 12:00 UTC"),
        ([1, None, 2], Outcome.PASSED, "newest 2026-01-02"),
        ([None], Outcome.FAILED, "no value in 1 rows"),
        ([], Outcome.FAILED, "no rows"),
    ],
)
def test_how_new_the_newest_row_is(  # noqa: PLR0913, PLR0917  (fixtures and what is drawn)
    days: list[int | None], outcome: Outcome, observed: str, table: Make, fill: Fill, judge: Judge, fresh: TableRule
) -> None:
    orders = table("silver.timed", fresh)
    fill(orders, [{"order_id": 1, "order_date": day and date(2026, 1, day)} for day in days])
    found = judge(orders)["fresh"]
    assert (found.outcome, found.observed) == (outcome, observed)


@pytest.mark.parametrize(("hour", "outcome"), [(12, Outcome.PASSED), (11, Outcome.FAILED)])
def test_a_moment_counts_to_the_microsecond(hour: int, outcome: Outcome, table: Make, fill: Fill, judge: Judge) -> None:
    rule = TableRule("fresh", K.FRESH, ("at",), {"within": timedelta(days=1)})
    orders = table("silver.moment", rule)
    fill(orders, [{"order_id": 1, "at": datetime(2026, 1, 2, hour, tzinfo=UTC)}])
    assert judge(orders)["fresh"].outcome is outcome


def test_a_clock_that_does_not_work_is_said_of_the_rules_that_ask_it(  # noqa: PLR0913, PLR0917  (fixtures and what is drawn)
    judged_settings: Settings, judged_lake: Lake, table: Make, fill: Fill, fresh: TableRule, row_rule: RowRule
) -> None:
    broken = judged_settings.quality.model_copy(update={"clock": "select max(at) from silver.not_there"})
    settings = judged_settings.model_copy(update={"quality": broken})
    orders = table("silver.clockless", row_rule("good", "order_id > 0"), fresh)
    fill(orders, ROWS)
    good, timed = Gate(settings, judged_lake, {orders.name: orders}).audit(orders.name)
    assert good.passed
    assert (timed.outcome, timed.blocks) == (Outcome.ERROR, True)
    assert "quality.clock" in timed.observed


def test_nothing_is_late_before_the_clock_has_its_tables(
    judged_settings: Settings, judged_lake: Lake, table: Make, fill: Fill, fresh: TableRule
) -> None:
    waiting = judged_settings.quality.model_copy(update={"clock": "select max(order_date) from silver.later"})
    settings = judged_settings.model_copy(update={"quality": waiting})
    orders, later = table("silver.early", fresh), table("silver.later")
    fill(orders, ROWS)
    gate = Gate(settings, judged_lake, {orders.name: orders, later.name: later})
    assert gate.audit(orders.name)[0].outcome is Outcome.PASSED
    fill(later, [])
    assert gate.audit(orders.name)[0].outcome is Outcome.PASSED


def test_what_cannot_be_judged_is_an_error_and_takes_nothing_along(
    table: Make, fill: Fill, judge: Judge, row_rule: RowRule
) -> None:
    missing = {"to": TableName.parse("silver.nowhere"), "to_columns": ("order_id",)}
    orders = table(
        "silver.errors",
        row_rule("good", "amount > 0", "amount"),
        row_rule("bad", "amount > 3", "amount"),
        row_rule("cast", "cast(email as integer) > 0", "email"),
        TableRule("nowhere", K.RELATIONSHIP, ("order_id",), missing),
        sql("several", "select order_id from {object}"),
        TableRule("unheard", K.EXPECTATION, (), {"type": "expect_nothing", "kwargs": {}}),
    )
    fill(orders, ROWS)
    found = judge(orders)
    assert {name: one.outcome.value for name, one in found.items()} == {
        "good": "passed",
        "bad": "failed",
        "cast": "error",
        "nowhere": "error",
        "several": "error",
        "unheard": "error",
    }
    assert found["nowhere"].observed == "it reads silver.nowhere, which is not there"
    assert "Conversion Error" in found["cast"].observed
    assert ANN not in str(found["cast"])
    assert found["bad"].failed == 3


def test_no_personal_value_is_anywhere(
    judged_settings: Settings, judged_lake: Lake, table: Make, fill: Fill, row_rule: RowRule
) -> None:
    mail = {"column": "email"}
    orders = table(
        "silver.masked",
        row_rule("null", "email is null", "email"),
        row_rule("pattern", "regexp_matches(email, '#')", "email", RuleKind.PATTERN, pattern="#"),
        row_rule("cast", "cast(email as integer) > 0", "email"),
        TableRule("keys", K.UNIQUE, ("email",)),
        TableRule("two", K.UNIQUE, ("email", "status")),
        TableRule("repeats", K.DUPLICATES, ("email",), {"bound": Bound(Comparison.LESS, (1,))}),
        TableRule("bad", K.BAD_ROWS, ("email",), {"predicate": "email is null", "bound": Bound(Comparison.LESS, (1,))}),
        sql("largest", "select max(email) from {object}", value="nobody"),
        sql("any", "select list(t)[1]::varchar from {object} as t", value="nobody"),
        TableRule(
            "like", K.EXPECTATION, ("email",), {"type": _of("values_to_match_regex"), "kwargs": {**mail, "regex": "#"}}
        ),
        TableRule(
            "set",
            K.EXPECTATION,
            ("email",),
            {"type": _of("distinct_values_to_be_in_set"), "kwargs": {**mail, "value_set": ["#"]}},
        ),
        TableRule(
            "common",
            K.EXPECTATION,
            ("email",),
            {"type": _of("most_common_value_to_be_in_set"), "kwargs": {**mail, "value_set": ["#"]}},
        ),
    )
    fill(orders, ROWS)
    gate = Gate(judged_settings, judged_lake, {orders.name: orders})
    found = gate.audit(orders.name)
    assert [one.rule for one in found if one.passed] == []
    assert ANN not in repr(found)
    (judged,) = gate.judged
    assert ANN not in json.dumps(judged.result.to_json_dict())
    assert ANN not in json.dumps(judged.suite.to_json_dict())
    assert "•••" in repr(found)


def _of(name: str) -> str:
    return f"expect_column_{name}"


def test_what_data_docs_are_made_of(
    judged_settings: Settings, judged_lake: Lake, table: Make, fill: Fill, row_rule: RowRule
) -> None:
    warned = row_rule("small", "amount < 3", "amount", severity=Severity.WARNING)
    orders = table("silver.docs", warned, TableRule("keys", K.UNIQUE, ("order_id",), description="keys differ"))
    fill(orders, ROWS)
    gate = Gate(judged_settings, judged_lake, {orders.name: orders})
    gate.audit(orders.name)
    (judged,) = gate.judged
    assert (judged.table, judged.branch) == (orders.name, "main")
    assert [(one.meta["rule"], one.severity.value, one.description) for one in judged.suite.expectations] == [
        ("small", "warning", "about small"),
        ("keys", "critical", "keys differ"),
    ]
    small, keys = judged.result.results
    assert (small.success, keys.success, judged.result.success) == (False, True, False)
    assert small.result["unexpected_count"] == 3
    assert small.result["partial_unexpected_list"] == ["3.00", "4.00", "5.00"]
    assert keys.result["element_count"] == 5


def test_a_table_too_large_to_hold_is_judged_where_it_lies(table: Make, fill: Fill, judge: Judge) -> None:
    orders = table("silver.large", TableRule("keys", K.UNIQUE, ("order_id",)), TableRule("same", K.UNIQUE, ("amount",)))
    fill(orders, [{"order_id": number, "amount": Decimal(number // 50_001)} for number in range(50_002)])
    found = judge(orders)
    assert found["keys"].passed
    assert (found["same"].failed, found["same"].rows) == (50_001, 50_002)
    assert found["same"].sample == ({"amount": "0.00", "found": "50001"},)


def test_a_table_that_is_not_there_is_not_judged(
    judged_settings: Settings, judged_lake: Lake, table: Make, row_rule: RowRule
) -> None:
    orders = table("silver.never_made", row_rule("good", "true"))
    with pytest.raises(TableMissing):
        Gate(judged_settings, judged_lake, {orders.name: orders}).audit(orders.name)


def test_great_expectations_is_imported_by_who_judges_only() -> None:
    code = "import sys, lakehouse.quality; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
