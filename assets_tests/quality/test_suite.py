"""Which expectation a rule becomes: the library's where it judges the same, ours elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from lakehouse.quality.suite import OWN, Relations, expected
from lakehouse.tables import Bound, Comparison, Rule, RuleKind, Severity, Table, TableName, TableRule, TableRuleKind


def only(table: Table) -> tuple[str, dict[str, object]]:
    (one,) = expected(table, (*table.rules, *table.table_rules), Relations())
    return one.type, dict(one.kwargs)


@pytest.mark.parametrize(
    ("column", "kind", "arguments", "found"),
    [
        ("order_id", RuleKind.NOT_NULL, {}, ("not_be_null", {})),
        ("status", RuleKind.ACCEPTED_VALUES, {"values": ("a", "b")}, ("be_in_set", {"value_set": ["a", "b"]})),
        ("order_id", RuleKind.ACCEPTED_VALUES, {"values": (1, 2)}, ("be_in_set", {"value_set": [1, 2]})),
        ("order_id", RuleKind.LIMIT, {"sign": ">=", "bound": 1}, ("be_between", {"min_value": 1})),
        (
            "order_id",
            RuleKind.LIMIT,
            {"sign": "<", "bound": 9},
            ("be_between", {"max_value": 9, "strict_max": True}),
        ),
        ("status", RuleKind.PATTERN, {"pattern": "^a"}, ("match_regex", {"regex": "^a"})),
    ],
)
def test_a_row_rule_that_the_library_knows(  # noqa: PLR0913, PLR0917  (fixtures and what is drawn)
    table: Callable[..., Table],
    row_rule: Callable[..., Rule],
    column: str,
    kind: RuleKind,
    arguments: dict[str, object],
    found: tuple[str, dict[str, object]],
) -> None:
    rule = row_rule("r", "true", column, kind, **arguments)
    name, further = found
    assert only(table("silver.orders", rule)) == (
        f"expect_column_values_to_{name}",
        {"column": column, **further},
    )


def test_a_length_is_the_librarys_own(table: Callable[..., Table], row_rule: Callable[..., Rule]) -> None:
    rule = row_rule("r", "length(status) <= 3", "status", RuleKind.LENGTH, sign="<=", length=3)
    assert only(table("silver.orders", rule)) == (
        "expect_column_value_lengths_to_be_between",
        {"column": "status", "max_value": 3},
    )


@pytest.mark.parametrize(
    ("column", "kind", "arguments"),
    [
        ("order_id", RuleKind.SQL, {}),
        (None, RuleKind.SQL, {}),
        ("amount", RuleKind.LIMIT, {"sign": ">=", "bound": 0}),  # decimals are not floats
        ("weight", RuleKind.LIMIT, {"sign": ">=", "bound": 0}),  # NaN is above every number in DuckDB
        ("order_id", RuleKind.LIMIT, {"sign": ">=", "bound": 0.5}),
        ("order_id", RuleKind.LIMIT, {"sign": ">=", "bound": 2**60}),  # no float holds it
        ("order_date", RuleKind.LIMIT, {"sign": ">=", "bound": "2026-01-01"}),
        ("order_date", RuleKind.ACCEPTED_VALUES, {"values": ("2026-01-01",)}),
        ("amount", RuleKind.ACCEPTED_VALUES, {"values": (1,)}),
    ],
)
def test_a_row_rule_that_the_library_judges_otherwise_keeps_its_predicate(
    table: Callable[..., Table],
    row_rule: Callable[..., Rule],
    column: str | None,
    kind: RuleKind,
    arguments: dict[str, object],
) -> None:
    rule = row_rule("r", "amount > 0", column, kind, **arguments)
    found, kwargs = only(table("silver.orders", rule))
    assert (found, kwargs["predicate"], kwargs.get("column")) == (OWN, "amount > 0", column)


@pytest.mark.parametrize(
    ("comparison", "values", "ends"),
    [
        (Comparison.EQUAL, (3,), {"min_value": 3, "max_value": 3}),
        (Comparison.GREATER, (3,), {"min_value": 4}),
        (Comparison.GREATER_OR_EQUAL, (3,), {"min_value": 3}),
        (Comparison.LESS, (3,), {"max_value": 2}),
        (Comparison.LESS_OR_EQUAL, (3,), {"max_value": 3}),
        (Comparison.BETWEEN, (3, 5), {"min_value": 3, "max_value": 5}),
    ],
)
def test_a_row_count_is_the_librarys(
    table: Callable[..., Table], comparison: Comparison, values: tuple[int, ...], ends: dict[str, int]
) -> None:
    rule = TableRule("count", TableRuleKind.ROW_COUNT, (), {"bound": Bound(comparison, values)})
    assert only(table("silver.orders", rule)) == ("expect_table_row_count_to_be_between", ends)


@pytest.mark.parametrize(
    "bound", [Bound(Comparison.NOT_EQUAL, (3,)), Bound(Comparison.NOT_BETWEEN, (3, 5)), Bound(Comparison.LESS, (3.5,))]
)
def test_a_row_count_that_it_cannot_say_is_a_figure(table: Callable[..., Table], bound: Bound) -> None:
    found, kwargs = only(table("silver.orders", TableRule("count", TableRuleKind.ROW_COUNT, (), {"bound": bound})))
    assert found == OWN
    assert "holds" in str(kwargs["figure"])


def test_keys_relations_and_time_are_asked_of_what_is_judged(table: Callable[..., Table]) -> None:
    rules = (
        TableRule("one", TableRuleKind.UNIQUE, ("status",)),
        TableRule("two", TableRuleKind.UNIQUE, ("status", "order_date")),
        TableRule(
            "ref",
            TableRuleKind.RELATIONSHIP,
            ("order_id",),
            {"to": TableName.parse("silver.other"), "to_columns": ("id",)},
        ),
        TableRule("fresh", TableRuleKind.FRESH, ("order_date",), {"within": timedelta(hours=1)}),
        TableRule(
            "drop",
            TableRuleKind.SQL,
            (),
            {"query": "select count(*) from {published}", "bound": Bound(Comparison.LESS, (1,))},
        ),
    )
    relations = Relations(lambda name: f"view_of_{name.table}", "as_on_main", "the_clock")
    one, two, ref, fresh, drop = expected(table("silver.orders"), rules, relations)
    assert (one.type, dict(one.kwargs)) == ("expect_column_values_to_be_unique", {"column": "status"})
    assert two.type == OWN
    assert 'group by "status", "order_date"' in str(two.kwargs["query"])
    assert "view_of_orders" in str(ref.kwargs["query"])
    assert "view_of_other" in str(ref.kwargs["query"])
    assert "the_clock" in str(fresh.kwargs["figure"])
    assert "from as_on_main" in str(drop.kwargs["figure"])


def test_severity_in_the_librarys_words(table: Callable[..., Table], row_rule: Callable[..., Rule]) -> None:
    rules = (row_rule("a", "true"), row_rule("b", "true", severity=Severity.WARNING))
    found = expected(table("silver.orders"), rules, Relations())
    assert [one.severity for one in found] == ["critical", "warning"]
