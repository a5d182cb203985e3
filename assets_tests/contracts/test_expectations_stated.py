"""Expectations that a contract states: which column they are about, and what is refused, by name and place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lakehouse.errors import ContractError
from lakehouse.tables import Table, TableRule, TableRuleKind

KEY = {"name": "id", "logicalType": "integer", "primaryKey": True}
Declare = Callable[..., Table]
Data = Mapping[str, object]


def entry(kind: str, **kwargs: object) -> Data:
    return {"type": "custom", "engine": "greatExpectations", "implementation": {"type": kind, "kwargs": kwargs}}


def stated(declare: Declare, *, column: Data | None = None, table: Data | None = None) -> TableRule:
    value = {"name": "value", "logicalType": "integer", "quality": [column] if column else []}
    found = declare([KEY, value], quality=[table] if table else []).table_rules
    [rule] = [rule for rule in found if rule.kind is TableRuleKind.EXPECTATION]
    return rule


def test_at_a_column_it_is_about_that_column(declare: Declare) -> None:
    rule = stated(declare, column=entry("expect_column_values_to_be_between", min_value=1, mostly=0.9))
    assert rule.columns == ("value",)
    assert rule.arguments["kwargs"] == {"column": "value", "min_value": 1, "mostly": 0.9}


def test_at_the_table_it_names_its_columns(declare: Declare) -> None:
    one = stated(declare, table=entry("expect_column_values_to_be_unique", column="value"))
    two = stated(declare, table=entry("expect_column_pair_values_to_be_equal", column_B="id", column_A="value"))
    many = stated(declare, table=entry("expect_compound_columns_to_be_unique", column_list=["value", "id"]))
    none = stated(declare, table=entry("expect_table_row_count_to_equal", value=3))
    assert [rule.columns for rule in (one, two, many, none)] == [("value",), ("value", "id"), ("value", "id"), ()]


# What is stated at the table or at the column, the end of the way down to it, and words of the message.
REFUSED: dict[str, tuple[str, Data, str, str]] = {
    "unknown": ("table", entry("expect_column_values_to_be_of_type", column="id"), ".type", "unknown expectation"),
    "misspelt": ("table", entry("expect_table_row_count_to_equl", value=1), ".type", "_to_equal'?"),
    "argument": ("column", entry("expect_column_values_to_be_unique", most=1), ".kwargs.most", "Did you mean 'mostly'"),
    "kind of argument": ("column", entry("expect_column_values_to_be_null", mostly=2), ".kwargs.mostly", "0 to 1"),
    "nothing to compare with": ("column", entry("expect_column_max_to_be_between"), ".kwargs", "needs more"),
    "column": ("table", entry("expect_column_values_to_be_null", column="valu"), ".kwargs.column", "column 'valu'"),
    "columns": (
        "table",
        entry("expect_compound_columns_to_be_unique", column_list=["id", "x"]),
        ".kwargs.column_list[1]",
        "column 'x'",
    ),
    "of the table": ("column", entry("expect_table_row_count_to_equal", value=1), "", "is not about one column"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused_by_name(declare: Declare, case: str) -> None:
    where, given, end, words = REFUSED[case]
    with pytest.raises(ContractError) as caught:
        stated(declare, column=given if where == "column" else None, table=given if where == "table" else None)
    file, line, path, _ = caught.value.what.split(":", 3)
    above = "schema[0].properties[1]" if where == "column" else "schema[0]"
    assert path.strip() == f"{above}.quality[0].implementation{end}"
    assert 0 < int(line) <= len(Path(file).read_text("utf-8").splitlines())
    assert words in str(caught.value)
