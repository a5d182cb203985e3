"""Freshness of a contract: how late a table may be, and the rule that tells by a column of its rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.errors import ContractError
from lakehouse.tables import Severity, Table, TableRule, TableRuleKind

KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}
Declare = Callable[..., Table]


def late(declare: Declare, logical: str = "timestamp", name: str = "silver.things", **more: object) -> Table:
    sla = {"property": "latency", "value": 24, "unit": "h", **more}
    custom = {"load": {"source": "shop", "table": "things"}} if name.startswith("bronze") else None
    columns = [KEY, {"name": "seen_at", "logicalType": logical}, {"name": "note", "logicalType": "string"}]
    return declare(columns, name=name, custom=custom, more={"slaProperties": [sla]})


def fresh(table: Table) -> list[TableRule]:
    return [rule for rule in table.table_rules if rule.kind is TableRuleKind.FRESH]


def test_a_latency_without_a_column_is_no_rule_of_rows(declare: Declare) -> None:
    table = late(declare)
    assert table.fresh_within == timedelta(hours=24)
    assert fresh(table) == []


@pytest.mark.parametrize("logical", ["timestamp", "date"])
@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_a_latency_of_a_column_is_a_rule_that_warns(declare: Declare, layer: str, logical: str) -> None:
    table = late(declare, logical, f"{layer}.things", element="things.seen_at")
    [rule] = fresh(table)
    assert table.fresh_within == timedelta(hours=24)
    assert (rule.name, rule.columns, rule.arguments) == ("fresh", ("seen_at",), {"within": timedelta(hours=24)})
    assert rule.severity is Severity.WARNING
    assert "the newest seen_at is at most 1 day old" in rule.description
    assert "late rows are published all the same" in rule.description


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(36, "h", "36 hours"), (1, "h", "1 hour"), (90, "m", "90 minutes"), (2, "d", "2 days"), (0.75, "m", "45 seconds")],
)
def test_the_rule_says_its_span_in_words(declare: Declare, value: float, unit: str, words: str) -> None:
    [rule] = fresh(late(declare, element="things.seen_at", value=value, unit=unit))
    assert f"at most {words} old" in rule.description


def test_the_contract_may_describe_it(declare: Declare) -> None:
    [rule] = fresh(late(declare, element="things.seen_at", description="The shop closes its books at noon"))
    assert rule.description == "The shop closes its books at noon"


@pytest.mark.parametrize(
    ("element", "words"),
    [
        ("others.seen_at", ["no column of this table", "things.<column>", "others.seen_at"]),
        ("seen_at", ["no column of this table", "things.<column>"]),
        ("things", ["no column of this table"]),
        ("silver.things.seen_at", ["no column of this table"]),
        ("things.sen_at", ["unknown column 'sen_at'", "Did you mean 'seen_at'?"]),
        ("things.note", ["note cannot tell how old a row is", "a date or timestamp", "found string"]),
    ],
)
def test_an_element_that_is_no_moment_of_the_table(declare: Declare, element: str, words: list[str]) -> None:
    with pytest.raises(ContractError) as caught:
        late(declare, element=element)
    file, line, path, _ = caught.value.what.split(":", 3)
    assert path == " slaProperties[0].element"
    assert '"element"' in Path(file).read_text("utf-8").splitlines()[int(line) - 1]
    for word in words:
        assert word in str(caught.value)


def test_another_rule_of_its_name_is_refused(declare: Declare) -> None:
    quality = [{"name": "fresh", "metric": "rowCount", "mustBeGreaterThan": 0}]
    sla = {"property": "latency", "value": 1, "unit": "d", "element": "things.seen_at"}
    columns = [KEY, {"name": "seen_at", "logicalType": "timestamp"}]
    with pytest.raises(ContractError, match=r"slaProperties\[0\]: two rules are named fresh"):
        declare(columns, quality=quality, more={"slaProperties": [sla]})


@pytest.mark.parametrize("value", [0, -1, 1e9, True, "soon"])
def test_a_latency_is_a_span_of_time(declare: Declare, value: object) -> None:
    with pytest.raises(ContractError, match="a latency is a number above 0 with a unit"):
        late(declare, value=value)


PLACED = [
    "select count(*) from {object} as now join {published} as before using (id) where now.value <> before.value",
    "select (select count(*) from {object}) - (select count(*) from ${published})",
    "with gone as (select id from {published} anti join {object} using (id)) select count(*) from gone",
]  # fmt: skip


@pytest.mark.parametrize("query", PLACED)
def test_a_query_may_compare_with_what_is_published(declare: Declare, query: str) -> None:
    entry = {"name": "kept", "type": "sql", "query": query, "mustBe": 0}
    table = declare([KEY, {"name": "value", "logicalType": "integer"}], quality=[entry])
    [rule] = [rule for rule in table.table_rules if rule.kind is TableRuleKind.SQL]
    assert "{published}" in str(rule.arguments["query"])
    assert "${" not in str(rule.arguments["query"])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select count(*) from {published}", "the query does not use {object}"),
        ("select count(*) from {object} as now join {published} as old on now.id = old.idd", "idd"),
        ("select count(vaalue) from {object}, {published}", "vaalue"),
        ("select count(*) from {object}, published.things", "unknown table 'published.things'"),
        ("select count(*) from {object}, things", "unknown table 'things'"),
    ],
)
def test_the_published_table_has_the_columns_of_the_contract(declare: Declare, query: str, words: str) -> None:
    with pytest.raises(ContractError) as caught:
        declare([KEY], quality=[{"name": "kept", "type": "sql", "query": query, "mustBe": 0}])
    assert words in str(caught.value)
    assert "schema[0].quality[0].query" in caught.value.what
