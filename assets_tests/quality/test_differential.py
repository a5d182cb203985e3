"""Three renderings of the same rules judge alike: the contract's SQL, Great Expectations and dbt's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import Template
from open_data_contract_standard.model import SchemaProperty

from lakehouse.contracts.document import Document
from lakehouse.contracts.failures import failures_query
from lakehouse.contracts.rules import accepted_values, column_rules
from lakehouse.iceberg import arrow_schema
from lakehouse.quality.library import engine
from lakehouse.quality.suite import Relations, expected
from lakehouse.tables import Bound, Column, Comparison, Rule, RuleKind, Table, TableName, TableRule, TableRuleKind
from lakehouse.transform.rule_tests import rendered_rules

K = TableRuleKind
PLACE = Document.parse(Path("orders.yaml"), "a: 1").top
OWN, OTHER = TableName.parse("silver.orders"), TableName.parse("silver.customers")
COLUMNS = {
    column.name: column
    for column in (
        Column("id", "long"),
        Column("cust", "long"),
        Column("amount", "decimal(12, 2)"),
        Column("x", "double"),
        Column("name", "string"),
        Column("day", "date"),
        Column("at", "timestamptz"),
    )
}
CUSTOMERS = [1, 2, None]

numbers = st.none() | st.integers(-3, 3) | st.sampled_from([2**53 + 1, -(2**62)])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": numbers,
            "cust": st.none() | st.integers(0, 3),
            "amount": st.none() | st.decimals(-2, 2, places=2),
            "x": st.none() | st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 0.1, 1.5]),
            "name": st.none() | st.sampled_from(["", "a", "ab", "Ä", "äö\u0308", "雪", "it's", "a%", "😀😀"]),
            "day": st.none() | st.dates(date(2025, 12, 30), date(2026, 1, 3)),
            "at": st.none() | st.sampled_from([datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (0, 12)]),
        }
    ),
    max_size=5,
)
WHOLE = st.integers(-2, 3)
ENDS = st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
BOUNDS = st.builds(
    lambda comparison, low, span: Bound(comparison, (low, low + span) if "BETWEEN" in comparison.name else (low,)),
    st.sampled_from(Comparison),
    WHOLE,
    st.integers(0, 2),
)


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema silver")
        connection.execute("create table silver.customers (id bigint)")
        connection.executemany("insert into silver.customers values (?)", [[one] for one in CUSTOMERS])
        yield connection


@st.composite
def of_columns(draw: st.DrawFn) -> list[Rule]:
    """What columns of a contract say of their values, by the contracts' own rendering."""
    limits: dict[str, Callable[[], object]] = {
        "id": lambda: draw(WHOLE | st.just(2**53 + 1) | st.just(0.5)),
        "amount": lambda: draw(WHOLE | st.just(0.1)),
        "x": lambda: draw(WHOLE | st.just(0.1)),
        "day": lambda: draw(st.dates(date(2025, 12, 30), date(2026, 1, 3))).isoformat(),
        "at": lambda: "2026-01-01T12:00:00+00:00",
    }
    told: dict[str, dict[str, object]] = {name: {draw(ENDS): value()} for name, value in limits.items()}
    pattern = draw(st.sampled_from(["a", "^a$", "^$", "[ä雪]", "'", "%", "^.{2}$"]))
    told["name"] = {"minLength": draw(st.integers(0, 2)), "maxLength": draw(st.integers(1, 3)), "pattern": pattern}
    rules = [
        rule
        for name, column in COLUMNS.items()
        for rule in column_rules(
            SchemaProperty(name=name, logicalTypeOptions=told.get(name)), replace(column, required=True), PLACE
        )
    ]
    listed: dict[str, list[Any]] = {
        "id": draw(st.lists(WHOLE, min_size=1)),
        "name": draw(st.lists(st.sampled_from(["", "a", "it's", "雪"]), min_size=1)),
        "amount": [0, 0.1],
        "day": ["2026-01-01"],
    }
    rules += [
        Rule(
            f"{name}_in",
            accepted_values(COLUMNS[name], values, PLACE),
            column=name,
            kind=RuleKind.ACCEPTED_VALUES,
            arguments={"values": tuple(values)},
        )
        for name, values in listed.items()
    ]
    return [*rules, Rule("two", "amount < x or day is null", description="of two columns")]


@st.composite
def of_tables(draw: st.DrawFn) -> list[TableRule]:
    """Rules of every kind that all three can judge."""
    keys = (("id",), ("x",), ("name",), ("at",), ("id", "name"), ("x", "day"))
    rules = [TableRule(f"unique_{'_'.join(key)}", K.UNIQUE, key) for key in keys]
    rules += [TableRule(f"repeats_{key[0]}", K.DUPLICATES, key, {"bound": draw(BOUNDS)}) for key in keys[:3]]
    rules += [
        TableRule(f"count_{one}", K.ROW_COUNT, (), {"bound": replace(draw(BOUNDS), comparison=one, values=(low, high))})
        for one in Comparison
        for low, high in [sorted((draw(WHOLE), draw(WHOLE)))]
    ]
    share = replace(draw(BOUNDS), percent=True)
    bad = {"predicate": "amount >= 0", "bound": draw(BOUNDS)}
    query = {"query": "select sum(amount) from {object}", "bound": draw(BOUNDS)}
    joined = {"query": "select count(*) from {object} join silver.customers as c on cust = c.id", "bound": draw(BOUNDS)}
    to = {"to": OTHER, "to_columns": ("id",)}
    return [
        *rules,
        TableRule("bad", K.BAD_ROWS, ("amount",), bad),
        TableRule("bad_share", K.BAD_ROWS, ("amount",), {**bad, "bound": share}),
        TableRule("sum", K.SQL, (), query),
        TableRule("joined", K.SQL, (), joined),
        TableRule("reference", K.RELATIONSHIP, ("cust",), to),
    ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, row_rules=of_columns(), table_rules=of_tables())
def test_all_renderings_judge_alike(
    duck: duckdb.DuckDBPyConnection,
    rows: list[dict[str, object]],
    row_rules: list[Rule],
    table_rules: list[TableRule],
) -> None:
    ours, theirs, dbt = _judged(duck, rows, row_rules, table_rules)
    assert theirs == ours
    assert dbt == ours


@pytest.mark.parametrize(
    ("column", "options", "value", "holds"),
    [
        ("x", {"minimum": 0}, float("nan"), False),
        ("x", {"maximum": 0}, float("nan"), False),
        ("x", {"minimum": 0}, float("inf"), True),
        ("amount", {"maximum": 0.1}, Decimal("0.10"), True),
        ("amount", {"exclusiveMinimum": 0.1}, Decimal("0.10"), False),
        ("id", {"maximum": 2**53}, 2**53 + 1, False),
        ("id", {"exclusiveMaximum": 2**53 + 1}, 2**53, True),
        ("id", {"minimum": 0.5}, 0, False),
        ("day", {"minimum": "2026-01-01"}, date(2026, 1, 1), True),
        ("at", {"exclusiveMaximum": "2026-01-01T01:00:00+01:00"}, datetime(2026, 1, 1, tzinfo=UTC), False),
        ("name", {"maxLength": 1}, "😀", True),
        ("name", {"pattern": "a"}, "bab", True),
        ("name", {"pattern": "^a$"}, "bab", False),
        ("name", {"pattern": "'%"}, "it's", False),
        ("name", {"minLength": 1}, None, True),
    ],
)
def test_where_they_could_differ(
    duck: duckdb.DuckDBPyConnection, column: str, options: dict[str, object], value: object, *, holds: bool
) -> None:
    (rule,) = column_rules(SchemaProperty(name=column, logicalTypeOptions=options), COLUMNS[column], PLACE)
    for verdicts in _judged(duck, [{column: value}], [rule], []):
        assert verdicts == {rule.name: holds}


def _judged(
    duck: duckdb.DuckDBPyConnection,
    rows: list[dict[str, object]],
    row_rules: list[Rule],
    table_rules: list[TableRule],
) -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """Whether each rule holds: by the contract's SQL, by Great Expectations (or why not), by dbt's tests."""
    rules = (*row_rules, *table_rules)
    table = Table(
        OWN,
        "shop",
        "Orders",
        tuple(COLUMNS.values()),
        Path("orders.yaml"),
        rules=tuple(row_rules),
        table_rules=tuple(table_rules),
    )
    schema = arrow_schema(table.columns)
    full = [{name: row.get(name) for name in COLUMNS} for row in rows]
    duck.register("data", pa.Table.from_pylist(full, schema=schema))
    duck.execute("create or replace table silver.orders as from data")
    ours: dict[str, object] = {rule.name: _finds_nothing(duck, failures_query(rule, OWN, str)) for rule in rules}
    results = engine().Engine(duck, OWN).judge(expected(table, rules, Relations()), {})
    theirs = {result.meta["rule"]: _verdict(result) for result in results}
    dbt: dict[str, object] = {name: _finds_nothing(duck, query) for name, query in _dbt_queries(table)}
    return ours, theirs, dbt


def _verdict(result: Any) -> object:  # noqa: ANN401  (Great Expectations' class)
    return engine().reason(result) or bool(result.success)


def _finds_nothing(duck: duckdb.DuckDBPyConnection, query: str) -> bool:
    return duck.execute(query).fetchone() is None


def _dbt_queries(table: Table) -> Iterator[tuple[str, str]]:
    """What dbt's own tests and the project's macros make of the rendered rules."""
    on_column, on_table = rendered_rules(table)
    for column, tests in [(None, on_table), *on_column.items()]:
        for test in tests:
            ((kind, body),) = test.items()
            arguments = {key: _compiled(str(value)) for key, value in body.get("arguments", {}).items()}
            yield body["config"]["meta"]["rule"], _DBT[kind](f'"{column}"', arguments)


def _compiled(text: str) -> str:
    """The text as Jinja leaves it, with names in place of references."""
    if text.startswith(("ref(", "source(")):
        text = f"{{{{ {text} }}}}"
    named = {"ref": lambda table: f"silver.{table}", "source": lambda schema, table: f"{schema}.{table}"}
    return Template(text).render(**named)


# As in dbt-adapters 1.x, `macros/generic_test_sql`, and in `transform/macros/rules.sql`.
_DBT: dict[str, Callable[[str, dict[str, str]], str]] = {
    "unique": lambda column, _: (
        f"select {column}, count(*) from silver.orders where {column} is not null group by {column} having count(*) > 1"
    ),
    "not_null": lambda column, _: f"select * from silver.orders where {column} is null",
    "relationships": lambda column, told: (
        f"with child as (select {column} as from_field from silver.orders where {column} is not null), "
        f"parent as (select {told['field']} as to_field from {told['to']}) select from_field from child "
        "left join parent on child.from_field = parent.to_field where parent.to_field is null"
    ),
    "expression_is_true": lambda _, told: f"select * from silver.orders where not ({told['expression']})",
    "no_rows": lambda _, told: told["query"],
}
