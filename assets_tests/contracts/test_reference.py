"""The examples of rules in docs/add-a-table.md compile as they stand, and every kind of rule has one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.tables import RuleKind, Severity, Table, TableRuleKind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "add-a-table.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yml\n# at (a column|the table|the contract)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ORDER_ID = {"name": "order_id", "logicalType": "integer", "primaryKey": True}
CUSTOMER_ID = {"name": "customer_id", "logicalType": "integer"}
MOMENTS = [{"name": name, "logicalType": "timestamp", "required": True} for name in ("created_at", "updated_at")]
Declare = Callable[..., Table]


def compiled(declare: Declare, where: str, text: str) -> Table:
    """A table of orders with one example in its place, among the tables that the examples name."""
    stated: dict[str, Any] = yaml.safe_load(text)
    number = "expect_column_mean" in text or "minimum" in text
    example = {"name": "example", "logicalType": "integer" if number else "string"}
    example |= stated if where == "a column" else {}
    load = {"load": {"source": "shop", "table": "orders"}}
    folder = declare([ORDER_ID], name="bronze.orders", custom=load).file.parents[2]
    declare([CUSTOMER_ID | {"primaryKey": True}], name="silver.customers", folder=folder)
    if "silver.customers" in text:
        example |= {"logicalType": "integer"}
    return declare(
        [ORDER_ID, CUSTOMER_ID, *MOMENTS, example],
        name="silver.orders",
        quality=stated["quality"] if where == "the table" else [],
        more=stated if where == "the contract" else None,
        folder=folder,
    )


def test_the_page_has_examples_of_every_kind_of_rule(declare: Declare) -> None:
    tables = [compiled(declare, where, text) for where, text in EXAMPLES]
    rows = {rule.kind for table in tables for rule in table.rules}
    assert rows == set(RuleKind)
    assert {rule.kind for table in tables for rule in table.table_rules} == set(TableRuleKind)
    assert {rule.severity for table in tables for rule in (*table.rules, *table.table_rules)} == set(Severity)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_adds_the_rules_that_it_states(declare: Declare, number: int) -> None:
    where, text = EXAMPLES[number]
    bare = compiled(declare, "a column", "{}")
    table = compiled(declare, where, text)
    known = {rule.name for rule in (*bare.rules, *bare.table_rules)}
    added = [rule.name for rule in (*table.rules, *table.table_rules) if rule.name not in known]
    options = re.search(r"logicalTypeOptions: {(.*)}", text)
    keys = options[1].count(":") if options else 0
    keys += text.count("required: true") + text.count("unique: true")
    assert len(added) == len(re.findall(r"^  - ", text, re.MULTILINE)) + keys, added


def test_every_block_of_the_reference_is_one_of_these() -> None:
    assert len(EXAMPLES) == PAGE.count("```yml\n") > 8


def test_every_expectation_that_the_page_names_is_known() -> None:
    from lakehouse.contracts.expectations import EXPECTATIONS

    named = set(re.findall(r"expect_\w+", PAGE))
    assert named
    assert named <= set(EXPECTATIONS)
