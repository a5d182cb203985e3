"""Row rules: the predicate that DuckDB judges by agrees with what the contract says, on any rows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import ContractError
from lakehouse.tables import Rule, Severity, Table

QUIET = settings(deadline=None, max_examples=60)
KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}
Declare = Callable[..., Table]
TEXT = st.text(alphabet="abcé019 '\"\\x漢😀", max_size=6)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def rules_of(table: Table) -> tuple[Rule, ...]:
    return tuple(rule for rule in table.rules if rule.column == "value")


def judge(
    database: duckdb.DuckDBPyConnection, rules: Sequence[Rule], values: Sequence[object], arrow: pa.DataType
) -> list[bool]:
    """For each value, whether every rule holds: true or NULL."""
    database.register("rows", pa.table({"value": pa.array(values, arrow)}))
    good = " and ".join(f"coalesce(({rule.predicate}), true)" for rule in rules) or "true"
    return [bool(row[0]) for row in database.sql(f"select {good} from rows").fetchall()]


def within(value: object, limits: dict[str, object], order: Callable[[object], Decimal]) -> bool:
    """What JSON Schema says about limits; NULL is nobody's business but `required`'s."""
    if value is None:
        return True
    if isinstance(value, float) and math.isnan(value):
        return not limits
    one = order(value)
    checks = {
        "minimum": lambda limit: one >= limit,
        "maximum": lambda limit: one <= limit,
        "exclusiveMinimum": lambda limit: one > limit,
        "exclusiveMaximum": lambda limit: one < limit,
    }
    return all(checks[key](order(limit)) for key, limit in limits.items())


def limits_of(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    names = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    return st.dictionaries(st.sampled_from(names), values, max_size=3)


def exact(value: object) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))


INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
HALVES = st.integers(-10, 10).map(lambda n: n / 2)


@QUIET
@given(data=st.data(), values=st.lists(st.none() | INTEGERS), limits=limits_of(st.integers(-5, 5) | HALVES))
def test_limits_of_integers(
    declare: Declare, database: duckdb.DuckDBPyConnection, data: st.DataObject,
    values: list[int | None], limits: dict[str, object],
) -> None:  # fmt: skip
    name = data.draw(st.sampled_from(["value", 'we"ird', "select"]))
    table = declare([KEY, {"name": name, "logicalType": "integer", "logicalTypeOptions": limits}])
    rules = [rule for rule in table.rules if rule.column == name]
    database.register("rows", pa.table({name: pa.array(values, pa.int64())}))
    for rule in rules:
        found = database.sql(f"select count(*) from rows where not ({rule.predicate})").fetchall()[0][0]
        key = rule.description.split(": ")[1].split(" ")[0]
        assert found == sum(not within(value, {key: limits[key]}, exact) for value in values)
    assert len(rules) == len(limits)


@QUIET
@given(
    values=st.lists(st.none() | st.floats() | st.sampled_from([0.1, -0.1])),
    limits=limits_of(st.floats(allow_nan=False, allow_infinity=False) | st.just(0.1)),
)
def test_limits_of_doubles(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[float | None], limits: dict[str, object]
) -> None:
    table = declare([KEY, {"name": "value", "logicalType": "number", "logicalTypeOptions": limits}])
    expected = [within(value, limits, exact) for value in values]
    assert judge(database, rules_of(table), values, pa.float64()) == expected


CENTS = st.decimals(-1000, 1000, places=2)


@QUIET
@given(values=st.lists(st.none() | CENTS), limits=limits_of(CENTS.map(float)))
def test_limits_of_decimals(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[Decimal | None], limits: dict[str, object]
) -> None:
    table = declare([KEY, {"name": "value", "physicalType": "decimal(12, 2)", "logicalTypeOptions": limits}])
    expected = [within(value, limits, exact) for value in values]
    assert judge(database, rules_of(table), values, pa.decimal128(12, 2)) == expected


DAYS = st.dates(date(1900, 1, 1), date(2100, 1, 1)) | st.dates(date(2026, 1, 1), date(2026, 1, 3))


@QUIET
@given(values=st.lists(st.none() | DAYS), limits=limits_of(DAYS.map(date.isoformat)))
def test_limits_of_dates(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[date | None], limits: dict[str, object]
) -> None:
    table = declare([KEY, {"name": "value", "logicalType": "date", "logicalTypeOptions": limits}])

    def order(value: object) -> Decimal:
        return Decimal((value if isinstance(value, date) else date.fromisoformat(str(value))).toordinal())

    expected = [within(value, limits, order) for value in values]
    assert judge(database, rules_of(table), values, pa.date32()) == expected


@pytest.mark.parametrize(
    ("stated", "instant"),
    [
        ("2026-01-02T00:00:00+02:00", datetime(2026, 1, 1, 22, tzinfo=UTC)),
        ("2026-01-02T00:00:00Z", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_a_limit_of_a_timestamp_is_an_instant_and_utc_when_it_has_no_offset(
    declare: Declare, database: duckdb.DuckDBPyConnection, stated: str, instant: datetime
) -> None:
    table = declare([KEY, {"name": "value", "logicalType": "timestamp", "logicalTypeOptions": {"minimum": stated}}])
    values = [instant - timedelta(microseconds=1), instant, None]
    assert judge(database, rules_of(table), values, pa.timestamp("us", "UTC")) == [False, True, True]


def test_limits_of_local_timestamps_and_times(declare: Declare, database: duckdb.DuckDBPyConnection) -> None:
    local = declare(
        [KEY, {"name": "value", "physicalType": "timestamp", "logicalTypeOptions": {"maximum": "2026-01-02T03:04:05"}}]
    )
    values = ["2026-01-02 03:04:05", "2026-01-02 03:04:06"]
    moments = [datetime.fromisoformat(value) for value in values]
    assert judge(database, rules_of(local), moments, pa.timestamp("us")) == [True, False]
    hours = declare([KEY, {"name": "value", "logicalType": "time", "logicalTypeOptions": {"maximum": "03:04:05"}}])
    assert judge(database, rules_of(hours), [moment.time() for moment in moments], pa.time64("us")) == [True, False]


@QUIET
@given(values=st.lists(st.none() | TEXT), least=st.integers(0, 5), most=st.integers(0, 5))
def test_lengths_count_characters(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[str | None], least: int, most: int
) -> None:
    options = {"minLength": least, "maxLength": most}
    table = declare([KEY, {"name": "value", "logicalType": "string", "logicalTypeOptions": options}])
    expected = [value is None or least <= len(value) <= most for value in values]
    assert judge(database, rules_of(table), values, pa.string()) == expected


@QUIET
@given(
    values=st.lists(st.none() | TEXT),
    pattern=st.sampled_from(["a", "^a", "1$", "[0-9]+", "^(ab|cé)*$", "a.c", r"\\", "'", "^$", "漢|😀"]),
)
def test_a_pattern_is_found_anywhere(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[str | None], pattern: str
) -> None:
    table = declare([KEY, {"name": "value", "logicalType": "string", "logicalTypeOptions": {"pattern": pattern}}])
    expected = [value is None or re.search(pattern, value) is not None for value in values]
    assert judge(database, rules_of(table), values, pa.string()) == expected


@QUIET
@given(values=st.lists(st.none() | TEXT), valid=st.lists(TEXT, min_size=1, unique=True), enum=st.booleans())
def test_accepted_values(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[str | None], valid: list[str], enum: bool
) -> None:
    stated: dict[str, object] = {"enum": [{"value": one} for one in valid]}
    if not enum:
        stated = {"quality": [{"metric": "invalidValues", "arguments": {"validValues": valid}, "mustBe": 0}]}
    table = declare([KEY, {"name": "value", "logicalType": "string", **stated}])
    assert [rule.name for rule in rules_of(table)] == ["value_accepted_values"]
    values = [*values, *valid]
    assert judge(database, rules_of(table), values, pa.string()) == [v is None or v in valid for v in values]


@QUIET
@given(values=st.lists(st.none() | st.integers(-20, 20)), step=st.sampled_from([1, 2, 3, 2.5]))
def test_multiples(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[int | None], step: float
) -> None:
    table = declare([KEY, {"name": "value", "logicalType": "integer", "logicalTypeOptions": {"multipleOf": step}}])
    expected = [value is None or exact(value) % exact(step) == 0 for value in values]
    assert judge(database, rules_of(table), values, pa.int64()) == expected


@QUIET
@given(values=st.lists(st.none() | TEXT), missing=st.lists(st.none() | TEXT, min_size=1, unique=True))
def test_missing_values(
    declare: Declare, database: duckdb.DuckDBPyConnection, values: list[str | None], missing: list[str | None]
) -> None:
    entry = {"metric": "missingValues", "arguments": {"missingValues": missing}, "mustBe": 0}
    table = declare([KEY, {"name": "value", "logicalType": "string", "quality": [entry]}])
    values = [*values, None, ""]
    assert judge(database, rules_of(table), values, pa.string()) == [value not in missing for value in values]


@pytest.mark.parametrize("stated", [{"required": True}, {"quality": [{"metric": "nullValues", "mustBe": 0}]}])
def test_required_is_never_null_itself(
    declare: Declare, database: duckdb.DuckDBPyConnection, stated: dict[str, object]
) -> None:
    table = declare([KEY, {"name": "value", "logicalType": "string", **stated}])
    [rule] = rules_of(table)
    assert (rule.name, rule.predicate, rule.severity) == ("value_not_null", '"value" is not null', Severity.ERROR)
    assert judge(database, [rule], ["x", "", None], pa.string()) == [True, True, False]


def test_a_row_rule_in_sql_keeps_its_words(declare: Declare) -> None:
    rule = {
        "name": "ends_after_it_begins",
        "description": "Time runs forward",
        "type": "custom",
        "engine": "lakehouse",
        "implementation": {"row": "list_sum(list_transform([value, ID], x -> x + 1)) > 0 and value <> 3"},
        "severity": "warning",
    }
    table = declare([KEY, {"name": "value", "logicalType": "integer"}], quality=[rule])
    assert table.rules[-1] == Rule(
        "ends_after_it_begins", rule["implementation"]["row"], Severity.WARNING, None, "Time runs forward"
    )


def test_a_row_rule_over_one_column_belongs_to_it(declare: Declare) -> None:
    rule = {"name": "even", "type": "custom", "engine": "lakehouse", "implementation": {"row": "value % 2 = 0"}}
    columns = [KEY, {"name": "value", "logicalType": "integer"}]
    assert declare(columns, quality=[rule]).rules[-1].column == "value"
    columns[1] = columns[1] | {"quality": [rule | {"implementation": {"row": "value > id"}}]}
    assert declare(columns).rules[-1].column == "value"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (
            {"logicalType": "string", "logicalTypeOptions": {"minimum": 1}},
            "unknown option of a string column 'minimum'",
        ),
        ({"logicalType": "integer", "logicalTypeOptions": {"format": "i32"}}, "option of a long column 'format'"),
        ({"logicalType": "integer", "logicalTypeOptions": {"minimun": 1}}, "Did you mean 'minimum'"),
        ({"logicalType": "integer", "logicalTypeOptions": {"minimum": "1"}}, "'1' is not a value of the column's type"),
        ({"logicalType": "integer", "logicalTypeOptions": {"minimum": True}}, "True is not a value"),
        ({"logicalType": "date", "logicalTypeOptions": {"minimum": "2026-02-30"}}, "'2026-02-30' is not a value"),
        ({"physicalType": "timestamp", "logicalTypeOptions": {"minimum": "2026-01-01T00:00:00Z"}}, "is not a value"),
        ({"logicalType": "string", "logicalTypeOptions": {"minLength": -1}}, "a length is a whole number"),
        ({"logicalType": "string", "logicalTypeOptions": {"pattern": "(?=a)"}}, "DuckDB refuses"),
        ({"logicalType": "string", "logicalTypeOptions": {"pattern": 1}}, "a pattern is text"),
        ({"logicalType": "number", "logicalTypeOptions": {"multipleOf": 2}}, "option of a double column 'multipleOf'"),
        ({"logicalType": "integer", "logicalTypeOptions": {"multipleOf": 0}}, "a multiple is of a number above 0"),
        ({"logicalType": "integer", "enum": [{"value": "one"}]}, "'one' is not a value of the column's type"),
        ({"logicalType": "integer", "enum": [{"value": 1.5}]}, "1.5 is not a value"),
        ({"logicalType": "string", "enum": [{"value": 1}]}, "1 is not a value of the column's type"),
        ({"logicalType": "string", "enum": []}, "the list of values is empty"),
        ({"logicalType": "string", "required": True, "quality": [{"metric": "nullValues", "mustBe": 0}]}, "two rules"),
    ],
)
def test_rules_that_cannot_be(declare: Declare, column: dict[str, object], words: str) -> None:
    with pytest.raises(ContractError, match=re.escape(words)) as caught:
        declare([KEY, {"name": "value", **column}])
    assert re.match(r".*/things\.yaml:\d+: ", caught.value.what)
