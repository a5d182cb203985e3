"""What a row rule states beside its predicate, so that others can say the same in their own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lakehouse.contracts import read_tables
from lakehouse.tables import Rule, RuleKind, Severity, Table, TableRule, TableRuleKind

KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}
Declare = Callable[..., Table]


def invalid(**arguments: object) -> dict[str, object]:
    return {"quality": [{"metric": "invalidValues", "arguments": arguments, "mustBe": 0}]}


def missing(*values: object) -> dict[str, object]:
    return {"quality": [{"metric": "missingValues", "arguments": {"missingValues": [*values]}, "mustBe": 0}]}


STATED: dict[str, tuple[str, Mapping[str, object], RuleKind, Mapping[str, object]]] = {
    "required": ("string", {"required": True}, RuleKind.NOT_NULL, {}),
    "nullValues": ("string", {"quality": [{"metric": "nullValues", "mustBe": 0}]}, RuleKind.NOT_NULL, {}),
    "missing NULL": ("string", missing(None), RuleKind.NOT_NULL, {}),
    "missing words": ("string", missing(None, "n/a"), RuleKind.SQL, {}),
    "valid values": ("string", invalid(validValues=["a", "b"]), RuleKind.ACCEPTED_VALUES, {"values": ("a", "b")}),
    "valid numbers": ("integer", invalid(validValues=[1, 2]), RuleKind.ACCEPTED_VALUES, {"values": (1, 2)}),
    "valid pattern": ("string", invalid(pattern="^x"), RuleKind.PATTERN, {"pattern": "^x"}),
    "both": ("string", invalid(validValues=["xa"], pattern="^x"), RuleKind.SQL, {}),
    "enum": ("string", {"enum": [{"value": "a"}]}, RuleKind.ACCEPTED_VALUES, {"values": ("a",)}),
    "minimum": ("integer", {"logicalTypeOptions": {"minimum": 3}}, RuleKind.LIMIT, {"sign": ">=", "bound": 3}),
    "maximum": (
        "date",
        {"logicalTypeOptions": {"maximum": "2026-01-31"}},
        RuleKind.LIMIT,
        {"sign": "<=", "bound": "2026-01-31"},
    ),
    "above": ("number", {"logicalTypeOptions": {"exclusiveMinimum": 0}}, RuleKind.LIMIT, {"sign": ">", "bound": 0}),
    "below": ("number", {"logicalTypeOptions": {"exclusiveMaximum": 1}}, RuleKind.LIMIT, {"sign": "<", "bound": 1}),
    "shortest": ("string", {"logicalTypeOptions": {"minLength": 2}}, RuleKind.LENGTH, {"sign": ">=", "length": 2}),
    "longest": ("string", {"logicalTypeOptions": {"maxLength": 9}}, RuleKind.LENGTH, {"sign": "<=", "length": 9}),
    "pattern": ("string", {"logicalTypeOptions": {"pattern": "a$"}}, RuleKind.PATTERN, {"pattern": "a$"}),
    "multiple": ("integer", {"logicalTypeOptions": {"multipleOf": 5}}, RuleKind.SQL, {}),
}


@pytest.mark.parametrize("case", STATED)
def test_a_row_rule_says_what_kind_it_is(declare: Declare, case: str) -> None:
    logical, keys, kind, arguments = STATED[case]
    table = declare([KEY, {"name": "value", "logicalType": logical, **keys}])
    [rule] = [rule for rule in table.rules if rule.column == "value"]
    assert (rule.kind, rule.arguments) == (kind, arguments)
    assert rule.description.startswith("value")


def test_a_predicate_in_sql_is_no_other_kind(declare: Declare) -> None:
    row = {"name": "odd", "type": "custom", "engine": "lakehouse", "implementation": {"row": "id % 2 = 1"}}
    rules = {rule.name: rule for rule in declare([KEY], quality=[row]).rules}
    assert (rules["odd"].kind, rules["odd"].arguments) == (RuleKind.SQL, {})


def test_row_rules_may_warn_in_every_layer(declare: Declare) -> None:
    entry = {"metric": "nullValues", "mustBe": 0, "severity": "warning"}
    columns = [KEY, {"name": "value", "logicalType": "string", "quality": [entry]}]
    bronze = declare(columns, name="bronze.things", custom={"load": {"source": "shop", "table": "things"}})
    for table in (bronze, declare(columns), declare(columns, name="gold.things")):
        assert [rule.severity for rule in table.rules] == [Severity.ERROR, Severity.WARNING]


DESCRIBED: dict[str, tuple[dict[str, object], str]] = {
    "rows": ({"metric": "rowCount", "mustBeGreaterThan": 0}, "the number of rows is above 0"),
    "between": ({"metric": "rowCount", "mustBeBetween": [1, 9]}, "the number of rows is between 1 and 9"),
    "unique": (
        {"metric": "duplicateValues", "arguments": {"properties": ["id", "value"]}, "mustBe": 0},
        "no two rows have the same id, value",
    ),
    "few": (
        {"metric": "duplicateValues", "arguments": {"properties": ["value"]}, "mustBeLessThan": 5, "unit": "percent"},
        "the share of rows that repeats another in value is below 5 percent",
    ),
    "said": ({"metric": "rowCount", "mustBe": 1, "description": "One shop, one row"}, "One shop, one row"),
}


@pytest.mark.parametrize("case", DESCRIBED)
def test_a_table_rule_says_in_words_what_it_asks(declare: Declare, case: str) -> None:
    entry, words = DESCRIBED[case]
    table = declare([KEY, {"name": "value", "logicalType": "string"}], quality=[entry])
    assert [rule.description for rule in table.table_rules if rule.columns != ("id",)] == [words]


def test_a_share_of_bad_values_says_of_what(declare: Declare) -> None:
    entry = {"metric": "nullValues", "mustBeLessOrEqualTo": 2.5, "unit": "percent"}
    table = declare([KEY, {"name": "value", "logicalType": "string", "quality": [entry]}])
    [rule] = [rule for rule in table.table_rules if rule.kind is TableRuleKind.BAD_ROWS]
    assert rule.description == "the share of rows that breaks this is at most 2.5 percent: value is there"


def test_every_rule_of_the_shop_says_what_it_asks() -> None:
    shop = read_tables([Path(__file__).resolve().parents[2] / "lakehouse" / "defs"]).values()
    rules: list[Rule | TableRule] = [rule for table in shop for rule in (*table.rules, *table.table_rules)]
    assert rules
    assert [rule.name for rule in rules if not rule.description.strip()] == []
