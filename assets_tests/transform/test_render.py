"""Contracts as dbt's YAML, and the refusal of models and contracts that lack one another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.contracts import Declarations, read_tables
from lakehouse.errors import ContractError, TransformError
from lakehouse.settings import Settings
from lakehouse.tables import (
    Bound,
    Column,
    Comparison,
    Rule,
    Severity,
    Strategy,
    Table,
    TableName,
    TableRule,
    TableRuleKind,
)
from lakehouse.transform.render import render, rendered

ORDERS = Table(
    TableName.parse("silver.orders"),
    "shop",
    "Orders, one a row.",
    (Column("id", "long", required=True, description="Number"), Column("email", "string", personal=True)),
    Path("orders.yaml"),
    owners=("team@example.com",),
    primary_key=("id",),
    strategy=Strategy.OVERWRITE,
    window_column="day",
)


def rendered_model(table: Table) -> dict[str, Any]:
    text = rendered({table.name: table})["shop/silver/orders.yml"]  # type: ignore[arg-type]  # a mapping is enough
    (model,) = yaml.safe_load(text)["models"]
    assert isinstance(model, dict)
    return model


def rendered_tests(table: Table) -> list[tuple[str, dict[str, Any]]]:
    model = rendered_model(table)
    listed = [*model.get("data_tests", []), *(test for one in model["columns"] for test in one.get("data_tests", []))]
    return [(kind, body) for test in listed for kind, body in test.items() if kind != "audit"]


def rendered_audits(table: Table) -> list[dict[str, Any]]:
    return [test["audit"] for test in rendered_model(table).get("data_tests", []) if "audit" in test]


def test_a_model_says_what_its_contract_says() -> None:
    model = rendered_model(ORDERS)

    assert model["name"] == "orders"
    assert model["description"] == "Orders, one a row."
    assert model["config"]["materialized"] == "iceberg"
    assert model["config"]["schema"] == "silver"
    assert model["config"]["tags"] == ["shop", "silver"]
    assert model["config"]["unique_key"] == ["id"]
    assert model["config"]["meta"]["strategy"] == "overwrite"
    assert model["config"]["meta"]["window_column"] == "day"
    assert model["config"]["meta"]["owners"] == ["team@example.com"]
    assert model["columns"] == [
        {"name": "id", "description": "Number", "data_type": "long"},
        {"name": "email", "description": "", "data_type": "string", "config": {"tags": ["personal"]}},
    ]


def test_row_rules_are_tests_of_their_column_or_of_the_table() -> None:
    rules = (
        Rule("id_minimum", '"id" >= 1', column="id", description="id: minimum 1"),
        Rule("pair", "id > length(email)", severity=Severity.WARNING),
    )
    model = rendered_model(replace(ORDERS, rules=rules))

    assert model["columns"][0]["data_tests"] == [
        {
            "expression_is_true": {
                "name": "silver_orders_id_minimum",
                "description": "id: minimum 1",
                "arguments": {"expression": '"id" >= 1'},
                "config": {"severity": "error", "tags": ["contract_rule"], "meta": {"rule": "id_minimum"}},
            }
        }
    ]
    ((_, pair),) = model["data_tests"][1].items()
    assert pair["config"] == {"severity": "warn", "tags": ["contract_rule"], "meta": {"rule": "pair"}}


def test_what_every_write_proves_is_tested_again_of_keys_only() -> None:
    columns = (*ORDERS.columns, Column("placed", "date", required=True))
    rules = (
        Rule("id_not_null", '"id" is not null', column="id"),
        Rule("placed_not_null", '"placed" is not null', column="placed"),
        Rule("email_not_null", '"email" is not null', column="email"),  # a rule, but the column is not required
    )

    assert [(kind, body["name"]) for kind, body in rendered_tests(replace(ORDERS, columns=columns, rules=rules))] == [
        ("not_null", "silver_orders_id_not_null"),
        ("expression_is_true", "silver_orders_email_not_null"),
    ]


def test_table_rules_are_dbts_own_tests_or_queries_of_what_is_wrong() -> None:
    customers = TableName.parse("silver.customers")
    rules = (
        TableRule("one", TableRuleKind.UNIQUE, ("id",)),
        TableRule("two", TableRuleKind.UNIQUE, ("id", "email")),
        TableRule("ref", TableRuleKind.RELATIONSHIP, ("id",), {"to": customers, "to_columns": ("customer_id",)}),
        TableRule("n", TableRuleKind.ROW_COUNT, arguments={"bound": Bound(Comparison.GREATER, (0,))}),
        TableRule("gx", TableRuleKind.EXPECTATION, arguments={"type": "expect_x", "kwargs": {}}),
        TableRule("fresh", TableRuleKind.FRESH, ("day",), {"within": timedelta(days=1)}),
    )
    found = {
        body["config"]["meta"]["rule"]: (kind, body)
        for kind, body in rendered_tests(replace(ORDERS, table_rules=rules))
    }

    assert found["one"][0] == "unique"
    assert found["two"][0] == "no_rows"
    assert found["ref"][0] == "relationships"
    assert found["ref"][1]["arguments"] == {"to": "ref('customers')", "field": "customer_id"}
    assert "{{ ref('orders') }}" in found["n"][1]["arguments"]["query"]
    assert not {"gx", "fresh"} & set(found)


def test_tables_that_a_query_names_are_built_before_it_is_asked() -> None:
    query = "select count(*) from {object} join bronze.raw using (id) where x = 'silver.orders' or silver.orders.id > 1"
    bound = Bound(Comparison.EQUAL, (0,))
    rule = TableRule("q", TableRuleKind.SQL, arguments={"query": query, "bound": bound})

    ((_, body),) = rendered_tests(replace(ORDERS, table_rules=(rule,)))

    assert "join {{ source('bronze', 'raw') }} using" in body["arguments"]["query"]
    assert "'silver.orders'" in body["arguments"]["query"]
    assert "or silver.orders.id" in body["arguments"]["query"]


def test_by_hand_what_is_to_be_published_is_what_is_published() -> None:
    query = "select (select count(*) from {object}) - (select count(*) from {published})"
    rule = TableRule("q", TableRuleKind.SQL, arguments={"query": query, "bound": Bound(Comparison.EQUAL, (0,))})

    ((_, body),) = rendered_tests(replace(ORDERS, table_rules=(rule,)))

    assert body["arguments"]["query"].count("{{ ref('orders') }}") == 2
    assert "published" not in body["arguments"]["query"]


def sql_rule(name: str, query: str, severity: Severity = Severity.ERROR) -> TableRule:
    arguments = {"query": query, "bound": Bound(Comparison.EQUAL, (0,))}
    return TableRule(name, TableRuleKind.SQL, arguments=arguments, severity=severity)


def test_a_table_is_audited_at_once_and_again_when_the_models_that_its_rules_read_are_there() -> None:
    customers = TableName.parse("silver.customers")
    rules = (Rule("pair", "id > length(email)", severity=Severity.WARNING),)
    table_rules = (
        TableRule("one", TableRuleKind.UNIQUE, ("id",)),
        TableRule("ref", TableRuleKind.RELATIONSHIP, ("id",), {"to": customers, "to_columns": ("id",)}),
        TableRule("self", TableRuleKind.RELATIONSHIP, ("id",), {"to": ORDERS.name, "to_columns": ("id",)}),
        TableRule("fresh", TableRuleKind.FRESH, ("day",), {"within": timedelta(days=1)}),
        TableRule("gx", TableRuleKind.EXPECTATION, arguments={"type": "expect_x", "kwargs": {}}),
        sql_rule("sum", "select count(*) from {object} join gold.revenue using (id)"),
        sql_rule("loaded", "select count(*) from {object} join bronze.raw using (id)"),
        sql_rule("shrunk", "select count(*) from {object} join {published} using (id)"),
    )

    own, referring = rendered_audits(replace(ORDERS, rules=rules, table_rules=table_rules))

    assert (own["name"], referring["name"]) == ("silver_orders_audit", "silver_orders_audit_references")
    assert own["config"]["meta"] == {"audit": ["pair", "one", "self", "fresh", "gx", "loaded", "shrunk"]}
    assert "arguments" not in own
    assert referring["config"]["meta"] == {"audit": ["ref", "sum"]}
    assert referring["arguments"] == {"reads": ["ref('revenue')", "ref('customers')"]}
    assert {audit["config"]["severity"] for audit in (own, referring)} == {"error"}


def test_an_audit_is_stronger_than_what_a_project_says_of_all_its_tests() -> None:
    (audit,) = rendered_audits(replace(ORDERS, rules=(Rule("positive", "id > 0"),)))

    assert audit["config"] == {
        "enabled": True,
        "severity": "error",
        "store_failures": False,
        "meta": {"audit": ["positive"]},
    }


def test_an_audit_of_warnings_blocks_nothing_and_a_table_without_rules_has_none() -> None:
    (audit,) = rendered_audits(replace(ORDERS, rules=(Rule("pair", "id > 0", severity=Severity.WARNING),)))

    assert audit["config"]["severity"] == "warn"
    assert rendered_audits(ORDERS) == []


def test_braces_in_a_contract_are_not_jinja() -> None:
    rules = (Rule("braces", "email <> '{{ x }}'"),)
    table = replace(ORDERS, description="Like {{ this }}", rules=rules)

    assert rendered_model(table)["description"] == "{% raw %}Like {{ this }}{% endraw %}"
    assert rendered_tests(table)[0][1]["arguments"]["expression"] == "{% raw %}email <> '{{ x }}'{% endraw %}"


def test_bronze_tables_are_sources_with_their_metadata_columns(declarations: Declarations) -> None:
    (source,) = yaml.safe_load(rendered(declarations)["sources.yml"])["sources"]
    orders = next(table for table in source["tables"] if table["name"] == "orders")

    assert (source["name"], source["schema"], source["database"]) == ("bronze", "bronze", "memory")
    assert {"order_id", "_extracted_at", "_run_key"} <= {column["name"] for column in orders["columns"]}


def test_only_what_changed_is_written_and_what_is_gone_is_removed(project: Settings) -> None:
    (dbt,) = project.dbt
    first = render(read_tables(project.defs), dbt)
    times = {path: path.stat().st_mtime_ns for path in first}
    assert len(first) == 17  # eleven of the contracts, six macros

    assert render(read_tables(project.defs), dbt) == ()

    contract = project.defs[0] / "shop" / "silver" / "orders.yaml"
    contract.write_text(contract.read_text().replace("How far the order has come", "How far it has come"))
    (changed,) = render(read_tables(project.defs), dbt)
    assert changed.name == "orders.yml"
    assert "How far it has come" in changed.read_text()
    assert all(path.stat().st_mtime_ns == then for path, then in times.items() if path != changed)

    (project.defs[0] / "shop" / "gold" / "dim_date.yaml").unlink()
    (dbt / "models" / "shop" / "gold" / "dim_date.sql").unlink()
    (removed,) = render(read_tables(project.defs), dbt)
    assert removed.name == "dim_date.yml"
    assert not removed.exists()


def test_a_contract_without_a_model_is_refused(project: Settings) -> None:
    (dbt,) = project.dbt
    (dbt / "models" / "shop" / "gold" / "dim_date.sql").unlink()

    with pytest.raises(ContractError, match=r"dim_date\.yaml:1: gold\.dim_date has no model"):
        render(read_tables(project.defs), dbt)


@pytest.mark.parametrize("layer", ["silver", "gold"])
def test_a_model_without_a_contract_is_refused(project: Settings, layer: str) -> None:
    (dbt,) = project.dbt
    (dbt / "models" / "shop" / layer / "extra.sql").write_text("select 1 as x")

    with pytest.raises(TransformError, match=rf"contract shop/{layer}/extra\.yaml"):
        render(read_tables(project.defs), dbt)


def test_a_model_in_python_is_refused(project: Settings) -> None:
    (dbt,) = project.dbt
    (dbt / "models" / "shop" / "staging" / "odd.py").write_text("def model(dbt, session): ...")

    with pytest.raises(TransformError, match=r"odd\.py: models in Python"):
        render(read_tables(project.defs), dbt)


def test_a_view_needs_no_contract_but_a_name_of_its_own(project: Settings) -> None:
    (dbt,) = project.dbt
    extra = dbt / "models" / "shop" / "staging" / "extra.sql"
    extra.write_text("select 1 as x")
    render(read_tables(project.defs), dbt)

    extra.rename(extra.with_name("orders.sql"))
    with pytest.raises(TransformError, match="two models are called orders"):
        render(read_tables(project.defs), dbt)
