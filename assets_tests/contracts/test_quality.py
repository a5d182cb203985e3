"""Table rules: what each quality entry becomes, and that its query finds what breaks it and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts import failures_query
from lakehouse.contracts.expressions import relation
from lakehouse.errors import ContractError
from lakehouse.tables import Bound, Comparison, Severity, Table, TableName, TableRule, TableRuleKind

QUIET = settings(deadline=None, max_examples=60)
KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}
VALUE = {"name": "value", "logicalType": "integer"}
THINGS = TableName.parse("silver.things")
Declare = Callable[..., Table]
Rows = list[tuple[int | None, int | None]]
ROWS = st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)), max_size=8)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def failures(
    database: duckdb.DuckDBPyConnection, rule: TableRule, rows: Mapping[str, Rows]
) -> list[tuple[object, ...]]:
    """Run a rule of silver.things on rows (id, value) of each table."""
    for table, pairs in rows.items():
        columns = {
            "id": pa.array([one for one, _ in pairs], pa.int64()),
            "value": pa.array([two for _, two in pairs], pa.int64()),
        }
        database.register(table, pa.table(columns))
    return database.sql(failures_query(rule, THINGS, lambda name: f'"{name}"')).fetchall()


def only(table: Table, kind: TableRuleKind) -> TableRule:
    """The one rule of a kind, besides the key's."""
    [rule] = [rule for rule in table.table_rules if rule.kind is kind and rule.columns != table.primary_key]
    return rule


OPERATORS: dict[str, Callable[[float, list[int]], bool]] = {
    "mustBe": lambda figure, ends: figure == ends[0],
    "mustNotBe": lambda figure, ends: figure != ends[0],
    "mustBeGreaterThan": lambda figure, ends: figure > ends[0],
    "mustBeGreaterOrEqualTo": lambda figure, ends: figure >= ends[0],
    "mustBeLessThan": lambda figure, ends: figure < ends[0],
    "mustBeLessOrEqualTo": lambda figure, ends: figure <= ends[0],
    "mustBeBetween": lambda figure, ends: ends[0] <= figure <= ends[1],
    "mustNotBeBetween": lambda figure, ends: not ends[0] <= figure <= ends[1],
}
ENDS = st.lists(st.integers(1, 6), min_size=2, max_size=2, unique=True).map(sorted)


def stated(operator: str, ends: list[int]) -> dict[str, object]:
    return {operator: ends if operator.endswith("Between") else ends[0]}


@QUIET
@given(rows=ROWS, operator=st.sampled_from(sorted(OPERATORS)), ends=ENDS)
def test_row_counts(
    declare: Declare, database: duckdb.DuckDBPyConnection, rows: Rows, operator: str, ends: list[int]
) -> None:
    table = declare([KEY, VALUE], quality=[{"type": "library", "metric": "rowCount", **stated(operator, ends)}])
    rule = only(table, TableRuleKind.ROW_COUNT)
    expected = [] if OPERATORS[operator](len(rows), ends) else [(len(rows),)]
    assert failures(database, rule, {"silver.things": rows}) == expected


@QUIET
@given(
    rows=ROWS, operator=st.sampled_from(sorted(OPERATORS)), ends=ENDS, percent=st.booleans(), metric=st.integers(0, 2)
)
def test_how_many_values_may_be_bad(  # noqa: PLR0913, PLR0917  (each is drawn)
    declare: Declare, database: duckdb.DuckDBPyConnection, rows: Rows, operator: str, ends: list[int], percent: bool,
    metric: int,
) -> None:  # fmt: skip
    entry, is_bad = [
        ({"metric": "nullValues"}, lambda value: value is None),
        ({"metric": "missingValues", "arguments": {"missingValues": [None, 0]}}, lambda value: value in {None, 0}),
        ({"metric": "invalidValues", "arguments": {"validValues": [1, 2]}}, lambda value: value in {0, 3}),
    ][metric]
    ends = [10 * end for end in ends] if percent else ends
    entry = {**entry, **stated(operator, ends), "unit": "percent" if percent else "rows"}
    rule = only(declare([KEY, VALUE | {"quality": [entry]}]), TableRuleKind.BAD_ROWS)
    bad = sum(is_bad(value) for _, value in rows)
    figure = (100 * bad / len(rows) if rows else 0) if percent else bad
    found = failures(database, rule, {"silver.things": rows})
    assert bool(found) != OPERATORS[operator](figure, ends)
    if found:
        assert found[0][0] == pytest.approx(figure)


@QUIET
@given(rows=ROWS)
def test_uniqueness(declare: Declare, database: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    table = declare([KEY, VALUE | {"unique": True}])
    rule = only(table, TableRuleKind.UNIQUE)
    assert table.column("value").unique
    counts = Counter(value for _, value in rows if value is not None)
    expected = {(value, n) for value, n in counts.items() if n > 1}
    assert set(failures(database, rule, {"silver.things": rows})) == expected


@QUIET
@given(rows=ROWS)
def test_uniqueness_of_several_columns(declare: Declare, database: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    entry = {"metric": "duplicateValues", "arguments": {"properties": ["value", "id"]}, "mustBe": 0}
    rule = only(declare([KEY, VALUE], quality=[entry]), TableRuleKind.UNIQUE)
    assert rule.name == "value_id_unique"
    counts = Counter((value, one) for one, value in rows if None not in (one, value))
    expected = {(*pair, n) for pair, n in counts.items() if n > 1}
    assert set(failures(database, rule, {"silver.things": rows})) == expected


@QUIET
@given(rows=ROWS, most=st.integers(1, 3))
def test_a_bounded_number_of_duplicates(
    declare: Declare, database: duckdb.DuckDBPyConnection, rows: Rows, most: int
) -> None:
    entry = {"metric": "duplicateValues", "mustBeLessThan": most}
    rule = only(declare([KEY, VALUE | {"quality": [entry]}]), TableRuleKind.DUPLICATES)
    values = [value for _, value in rows if value is not None]
    repeats = len(values) - len(set(values))
    assert failures(database, rule, {"silver.things": rows}) == ([] if repeats < most else [(repeats,)])


@QUIET
@given(rows=ROWS, others=ROWS)
def test_relationships(declare: Declare, database: duckdb.DuckDBPyConnection, rows: Rows, others: Rows) -> None:
    folder = declare([KEY, VALUE], name="gold.others").file.parents[2]
    link = {"to": "gold.others.id", "customProperties": [{"property": "severity", "value": "warning"}]}
    rule = only(declare([KEY, VALUE | {"relationships": [link]}], folder=folder), TableRuleKind.RELATIONSHIP)
    assert (rule.name, rule.severity) == ("value_in_gold_others", Severity.WARNING)
    assert rule.arguments == {"to": TableName.parse("gold.others"), "to_columns": ("id",)}
    known = {one for one, _ in others}
    orphans = Counter((one, value) for one, value in rows if value is not None and value not in known)
    assert Counter(failures(database, rule, {"silver.things": rows, "gold.others": others})) == orphans


def test_a_relationship_of_two_columns_in_the_same_layer(declare: Declare, database: duckdb.DuckDBPyConnection) -> None:
    folder = declare([KEY, VALUE], name="silver.others").file.parents[2]
    link = {"from": ["things.id", "things.value"], "to": ["others.value", "others.id"]}
    table = declare([KEY, VALUE], relationships=[link], folder=folder)
    rule = next(rule for rule in table.table_rules if rule.kind is TableRuleKind.RELATIONSHIP)
    rows: dict[str, Rows] = {"silver.things": [(1, 2), (2, 1), (1, None)], "silver.others": [(2, 1)]}
    assert failures(database, rule, rows) == [(2, 1)]


def test_a_query_of_ones_own(declare: Declare, database: duckdb.DuckDBPyConnection) -> None:
    entry = {
        "name": "values_add_up",
        "type": "sql",
        "query": " select sum({property}) from ${object} where id > 0 ",
        "mustBeBetween": [2, 3],
        "severity": "warning",
    }
    rule = only(declare([KEY, VALUE | {"quality": [entry]}]), TableRuleKind.SQL)
    assert rule == TableRule(
        "values_add_up",
        TableRuleKind.SQL,
        ("value",),
        {
            "query": 'select sum("value") from {object} where id > 0',
            "bound": Bound(Comparison.BETWEEN, (2, 3)),
        },
        Severity.WARNING,
    )
    assert failures(database, rule, {"silver.things": [(1, 1), (2, 2), (0, 9)]}) == []
    assert failures(database, rule, {"silver.things": [(1, 4)]}) == [(4,)]
    assert failures(database, rule, {"silver.things": []}) == [(None,)]


def test_a_query_over_two_tables_and_a_step_of_its_own(declare: Declare) -> None:
    folder = declare([KEY, VALUE], name="gold.others").file.parents[2]
    query = (
        "with steps as (select value from {object}) select count(*) = 0 from steps join gold.others as o using (value)"
    )
    entry = {"name": "apart", "type": "sql", "query": query, "mustBe": True}
    table = declare([KEY, VALUE], quality=[entry], folder=folder)
    assert only(table, TableRuleKind.SQL).arguments["bound"] == Bound(Comparison.EQUAL, (True,))


@pytest.mark.parametrize("text", [True, False])
def test_an_expectation(declare: Declare, text: bool) -> None:
    implementation: object = {"type": "expect_column_mean_to_be_between", "kwargs": {"min_value": 1}}
    if text:
        implementation = "type: expect_column_mean_to_be_between  # by the day\nkwargs:\n  min_value: 1\n"
    entry = {"type": "custom", "engine": "greatExpectations", "implementation": implementation}
    rule = only(declare([KEY, VALUE | {"quality": [entry]}]), TableRuleKind.EXPECTATION)
    assert rule.name == "value_expect_column_mean_to_be_between"
    assert rule.columns == ("value",)
    assert rule.arguments == {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "value", "min_value": 1},
    }
    with pytest.raises(ValueError, match="not a figure that SQL can give"):
        failures_query(rule, THINGS, relation)


def test_text_is_for_people(declare: Declare) -> None:
    entry = {"type": "text", "description": "Somebody looks at it every morning"}
    table = declare([KEY, VALUE], quality=[entry])
    assert [rule.name for rule in (*table.rules, *table.table_rules)] == ["id_not_null", "id_unique"]


GX = {"type": "custom", "engine": "greatExpectations"}
ROW = {"type": "custom", "engine": "lakehouse", "name": "n"}
SQL = {"type": "sql", "name": "n", "query": "select count(*) from {object}", "mustBe": 0}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"type": "libary", "metric": "rowCount", "mustBe": 1}, "Did you mean 'library'"),
        ({"metric": "rowcount", "mustBe": 1}, "Did you mean 'rowCount'"),
        ({"metric": "rowCount"}, "one operator"),
        ({"metric": "rowCount", "mustBe": 1, "mustBeLessThan": 2}, "found mustBe, mustBeLessThan"),
        ({"metric": "rowCount", "mustBe": "many"}, "no figure compares with this"),
        ({"metric": "rowCount", "mustBe": 5, "unit": "percent"}, "rowCount counts the rows of a table"),
        ({"metric": "rowCount", "mustBe": 5, "unit": "lines"}, "unknown unit 'lines'"),
        ({"metric": "rowCount", "mustBe": 5, "severity": "fatal"}, "unknown severity 'fatal'"),
        ({"metric": "rowCount", "mustBe": 5, "name": "row count"}, "not a name of a rule"),
        ({"metric": "nullValues", "mustBe": 0}, "is about one column"),
        ({"metric": "duplicateValues", "mustBe": 0}, "a list is missing"),
        ({"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["valu"]}}, "Did you mean 'value'"),
        (
            {"metric": "duplicateValues", "mustBe": 0, "arguments": {"columns": []}},
            "argument of duplicateValues 'columns'",
        ),
        ({**SQL, "query": None}, "without a query"),
        ({**SQL, "query": "delete from {object}"}, "one query that gives one value"),
        ({**SQL, "query": "select 1 from silver.things"}, "does not use {object}"),
        ({**SQL, "query": "select ((1 from {object}"}, "does not parse"),
        ({**SQL, "name": None}, "has no name"),
        ({**SQL, "unit": "percent"}, "compares its value as it is"),
        ({**SQL, "mustBe": None}, "found none"),
        ({**ROW, "implementation": {"rows": "id > 0"}}, "a row rule is one predicate"),
        ({**ROW, "implementation": {"row": "id > 0", "severity": "error"}}, "a row rule is one predicate"),
        ({**ROW, "implementation": "[row"}, "not YAML"),
        ({**ROW, "implementation": "row"}, "a mapping"),
        ({**ROW, "name": None, "implementation": {"row": "id > 0"}}, "has no name"),
        ({**GX, "engine": "soda", "implementation": {}}, "unknown engine 'soda'"),
        ({**GX, "implementation": {"type": "exists"}}, "unknown expectation 'exists'"),
        ({**GX, "implementation": {"kwargs": {}}}, "not an expectation"),
        ({**GX, "implementation": {"type": "expect_table_row_count_to_equal", "value": 1}}, "not an expectation"),
    ],
)
def test_entries_that_cannot_be(declare: Declare, entry: dict[str, object], words: str) -> None:
    with pytest.raises(ContractError, match=re.escape(words)) as caught:
        declare([KEY, VALUE], quality=[{key: value for key, value in entry.items() if value is not None}])
    assert re.match(r".*/things\.yaml:\d+: ", caught.value.what)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ({"from": "others.id", "to": "things.id"}, "`from` names another table"),
        ({"from": "things.idd", "to": "things.id"}, "unknown column 'idd'"),
        ({"from": ["things.id", "things.value"], "to": ["things.id"]}, "expected 2 of one table"),
        ({"from": "things.id", "to": "things.id", "type": "nextTo"}, "unknown type of relationship 'nextTo'"),
        ({"from": "things.id", "to": "things.id", "customProperties": [{"property": "x", "value": 1}]}, "'x'"),
    ],
)
def test_relationships_that_cannot_be(declare: Declare, link: dict[str, object], words: str) -> None:
    with pytest.raises(ContractError, match=re.escape(words)):
        declare([KEY, VALUE], relationships=[link])
