"""What a change of a contract means for those who read its table: one case a kind of difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from lakehouse.contracts.diff import compare
from lakehouse.contracts.difference import Difference, Move
from lakehouse.tables import Table

Declare = Callable[..., Table]
Contract = dict[str, Any]
KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}
DAY = {"name": "day", "logicalType": "date", "required": True}
WINDOW = {"window": {"column": "day", "start": "2026-01-01"}, "strategy": "overwrite"}
LOAD = {"source": "shop", "table": "things"}


def column(**keys: object) -> Contract:
    return {"properties": [KEY, {"name": "value", "logicalType": "string", **keys}]}


def number(**keys: object) -> Contract:
    return column(logicalType="integer", **keys)


def options(**limits: object) -> Contract:
    return number(logicalTypeOptions=limits)


def physical(kind: str) -> Contract:
    return {"properties": [KEY, {"name": "value", "physicalType": kind}]}


def values(*listed: str, severity: str = "error") -> Contract:
    arguments = {"validValues": [*listed]}
    return column(quality=[{"metric": "invalidValues", "arguments": arguments, "mustBe": 0, "severity": severity}])


def table_rule(**entry: object) -> Contract:
    return column() | {"quality": [entry]}


def latency(hours: int) -> Contract:
    sla = {"property": "latency", "value": hours, "unit": "h", "element": "things.day"}
    return {"properties": [KEY, DAY], "more": {"slaProperties": [sla]}}


def rows(**bound: object) -> Contract:
    return table_rule(metric="rowCount", **bound)


def expected(**kwargs: object) -> Contract:
    implementation = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "id", **kwargs}}
    return table_rule(name="mean", type="custom", engine="greatExpectations", implementation=implementation)


def custom(**properties: object) -> Contract:
    return {"properties": [KEY, DAY], "custom": properties}


def bronze(**properties: object) -> Contract:
    return column() | {"custom": {"load": LOAD, **properties}, "name": "bronze.things"}


def keyed(*names: str) -> Contract:
    known = ("id", "other")
    listed = [{"name": name, "logicalType": "integer", "required": True, "primaryKey": name in names} for name in known]
    return {"properties": listed}


def more(**keys: object) -> Contract:
    return column() | {"more": keys}


W, N, C, A, R = Move.WIDENED, Move.NARROWED, Move.CHANGED, Move.ADDED, Move.REMOVED
BREAKS, FITS = True, False
# Before, after, and the one difference: its subject, its move, whether it breaks.
CASES: Mapping[str, tuple[Contract, Contract, str, Move, bool]] = {
    "column added": ({"properties": [KEY]}, column(), "column value", A, FITS),
    "column removed": (column(), {"properties": [KEY]}, "column value", R, BREAKS),
    "column and its rules removed": (values("a"), {"properties": [KEY]}, "column value", R, BREAKS),
    "column renamed": (
        column(), column(name="now", customProperties=[{"property": "renamedFrom", "value": "value"}]),
        "column value", Move.RENAMED, BREAKS,
    ),
    "columns in another order": (
        column(), {"properties": [{"name": "value", "logicalType": "string"}, KEY]}, "columns", C, FITS,
    ),
    "int to long": (physical("int"), physical("long"), "column value", W, FITS),
    "long to int": (physical("long"), physical("int"), "column value", N, BREAKS),
    "float to double": (physical("float"), physical("double"), "column value", W, FITS),
    "double to float": (physical("double"), physical("float"), "column value", N, BREAKS),
    "more digits": (physical("decimal(9, 2)"), physical("decimal(12, 2)"), "column value", W, FITS),
    "fewer digits": (physical("decimal(9, 2)"), physical("decimal(8, 2)"), "column value", N, BREAKS),
    "another scale": (physical("decimal(9, 2)"), physical("decimal(12, 3)"), "column value", C, BREAKS),
    "another type": (physical("long"), physical("string"), "column value", C, BREAKS),
    "without a time zone": (physical("timestamptz"), physical("timestamp"), "column value", C, BREAKS),
    "optional": (column(required=True), column(), "column value", W, BREAKS),
    "required": (column(), column(required=True), "column value", N, FITS),
    "optional by its metric": (
        column(quality=[{"metric": "nullValues", "mustBe": 0}]), column(), "column value", W, BREAKS,
    ),
    "personal": (column(), column(classification="personal"), "column value", A, BREAKS),
    "no longer personal": (column(classification="personal"), column(), "column value", R, FITS),
    "description of a column": (column(description="One"), column(description="Two"), "column value", C, FITS),
    "relationship": (column(), column(relationships=[{"to": "things.id"}]), "rule value_in_silver_things", A, FITS),
    "another relationship": (
        column(relationships=[{"to": "things.id", "customProperties": []}]), column(), "rule value_in_silver_things", R,
        BREAKS,
    ),
    "key": (keyed("id"), keyed("id", "other"), "primary key", C, BREAKS),
    "unique": (column(), column(unique=True), "unique value", A, FITS),
    "not unique": (column(unique=True), column(), "unique value", R, BREAKS),
    "unique said in other words": (
        column(unique=True) | {"quality": [{"metric": "rowCount", "mustBeGreaterThan": 0}]},
        column(quality=[{"metric": "duplicateValues", "mustBe": 0}]), "rule row_count", R, BREAKS,
    ),
    "value added": (values("a"), values("a", "b"), "rule value_accepted_values", W, BREAKS),
    "value removed": (values("a", "b"), values("a"), "rule value_accepted_values", N, FITS),
    "value replaced": (values("a"), values("b"), "rule value_accepted_values", C, BREAKS),
    "value added to a warning": (
        values("a", severity="warning"), values("a", "b", severity="warning"), "rule value_accepted_values", W, FITS,
    ),
    "error to warning": (values("a"), values("a", severity="warning"), "rule value_accepted_values", W, BREAKS),
    "warning to error": (values("a", severity="warning"), values("a"), "rule value_accepted_values", N, FITS),
    "rule removed": (values("a"), column(), "rule value_accepted_values", R, BREAKS),
    "warning removed": (values("a", severity="warning"), column(), "rule value_accepted_values", R, FITS),
    "rule added": (column(), values("a"), "rule value_accepted_values", A, FITS),
    "lower minimum": (options(minimum=1), options(minimum=0), "rule value_minimum", W, BREAKS),
    "higher minimum": (options(minimum=1), options(minimum=2), "rule value_minimum", N, FITS),
    "higher maximum": (options(maximum=1), options(maximum=1.5), "rule value_maximum", W, BREAKS),
    "longer text": (
        column(logicalTypeOptions={"maxLength": 3}), column(logicalTypeOptions={"maxLength": 4}),
        "rule value_max_length", W, BREAKS,
    ),
    "another pattern": (
        column(logicalTypeOptions={"pattern": "a"}), column(logicalTypeOptions={"pattern": "b"}),
        "rule value_pattern", C, BREAKS,
    ),
    "later dates": (
        column(logicalType="date", logicalTypeOptions={"maximum": "2026-01-31"}),
        column(logicalType="date", logicalTypeOptions={"maximum": "2026-02-01"}), "rule value_maximum", W, BREAKS,
    ),
    "fewer rows": (rows(mustBeGreaterThan=9), rows(mustBeGreaterThan=8), "rule row_count", W, BREAKS),
    "in a narrower range": (rows(mustBeGreaterThan=9), rows(mustBeBetween=[10, 20]), "rule row_count", N, FITS),
    "in a range beside": (rows(mustBeBetween=[1, 5]), rows(mustBeBetween=[2, 6]), "rule row_count", C, BREAKS),
    "another query": (
        table_rule(name="q", type="sql", query="select count(*) from {object}", mustBe=0),
        table_rule(name="q", type="sql", query="select max(id) from {object}", mustBe=0), "rule q", C, BREAKS,
    ),
    "another expectation": (expected(min_value=1), expected(min_value=2), "rule mean", C, BREAKS),
    "longer latency": (latency(24), latency(48), "latency", W, BREAKS),
    "shorter latency": (latency(24), latency(12), "latency", N, FITS),
    "window": (custom(strategy="append"), custom(**WINDOW | {"strategy": "append"}), "window", C, BREAKS),
    "later start": (
        custom(**WINDOW), custom(**WINDOW | {"window": {"column": "day", "start": "2026-02-01"}}), "window", N, BREAKS,
    ),
    "more rejects": (bronze(), bronze(rejectLimit=0.2), "rejectLimit", W, BREAKS),
    "more deletes": (bronze(), bronze(deletesLimit=0.6), "deletesLimit", W, BREAKS),
    "fewer deletes": (bronze(), bronze(deletesLimit=0), "deletesLimit", N, FITS),
    "fewer rejects": (bronze(), bronze(rejectLimit={"share": 0.05, "rows": 9}), "rejectLimit", N, FITS),
    "rejects by number": (bronze(rejectLimit={"rows": 9}), bronze(rejectLimit={"rows": 10}), "rejectLimit", W, BREAKS),
    "another source": (bronze(), bronze(load=LOAD | {"table": "others"}), "load", C, FITS),
    "another drift": (bronze(), bronze(drift="freeze"), "load", C, FITS),
    "no longer append": (custom(strategy="append"), custom(strategy="replace"), "strategy", C, BREAKS),
    "append": (custom(strategy="replace"), custom(strategy="append"), "strategy", C, FITS),
    "shorter history": (custom(), custom(upkeep={"keepSnapshotsDays": 3}), "upkeep", N, BREAKS),
    "larger files": (custom(), custom(upkeep={"targetFileMb": 256}), "upkeep", C, FITS),
    "partition": (custom(), custom(partition=["day(day)"]), "partition_by", C, FITS),
    "sort": (custom(), custom(sort=["day"]), "sort_by", C, FITS),
    "freeze": (custom(), custom(evolution="freeze"), "evolution", C, FITS),
    "drop": (custom(), custom(drop=["old"]), "drop", C, FITS),
    "description": (column(), more(description={"purpose": "Other things"}), "description", C, FITS),
    "owners": (column(), more(team={"members": [{"username": "other@example.com"}]}), "owners", C, FITS),
    "tags": (column(), more(tags=["tier:gold"]), "tags", C, FITS),
    "version": (column(), more(version="2.2.0"), "version", C, FITS),
}  # fmt: skip


def differences(declare: Declare, old: Contract, new: Contract) -> tuple[Difference, ...]:
    return compare(declare(**old), declare(**new))


@pytest.mark.parametrize("case", CASES)
def test_one_difference(declare: Declare, case: str) -> None:
    old, new, subject, move, breaking = CASES[case]
    found = differences(declare, old, new)
    told = [one for one in found if one.subject != "version" or case == "version"]
    assert [(one.subject, one.move, one.breaking) for one in told] == [(subject, move, breaking)]
    assert told[0].reason
    assert [one.breaking for one in found if one.subject == "version" and case != "version"] == [True] * breaking


@pytest.mark.parametrize(
    ("version", "breaking"), [("2.1.0", True), ("2.9.0", True), ("1.0.0", True), ("3.0.0", False), ("v10", False)]
)
def test_what_breaks_asks_for_a_major_version(declare: Declare, version: str, breaking: bool) -> None:
    found = differences(declare, column(), {"properties": [KEY], "more": {"version": version}})
    [told] = [one for one in found if one.subject == "version"]
    assert told.breaking is breaking
    assert "3.0.0" in told.reason or not breaking
    assert found[0].breaking


def test_a_value_that_is_only_warned_of_may_be_missing(declare: Declare) -> None:
    old, new = (
        column(quality=[{"metric": "nullValues", "mustBe": 0, **more}]) for more in ({}, {"severity": "warning"})
    )
    there, back = differences(declare, old, new), differences(declare, new, old)
    assert [(one.subject, one.move) for one in there if one.breaking][:1] == [("column value", Move.WIDENED)]
    assert [one for one in back if one.breaking] == []


def test_a_change_names_what_came_and_went(declare: Declare) -> None:
    [values_changed, _] = differences(declare, values("a", "b", "c"), values("a", "d"))
    assert values_changed.change == "with d, without b, c"
    [limit, _] = differences(declare, options(minimum=3), options(minimum=2))
    assert limit.change == "limit >= 3 -> limit >= 2"
    [count, _] = differences(declare, rows(mustBeGreaterThan=3), rows(mustBeBetween=[0, 4]))
    assert count.change == "is above 3 -> is between 0 and 4"
    [late, _] = differences(declare, latency(24), latency(36))
    assert late.change == "1 day -> 36 hours"
