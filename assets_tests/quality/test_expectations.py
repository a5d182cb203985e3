"""The expectations that contracts may name: each of them passes and fails on DuckDB, and all others are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.contracts.document import Document, Place
from lakehouse.contracts.expectations import EXPECTATIONS, check_expectation
from lakehouse.errors import ContractError
from lakehouse.quality import Finding, Outcome
from lakehouse.tables import Column, Table, TableRule, TableRuleKind

COLUMNS = tuple(
    Column(name, kind)
    for name, kind in (
        ("id", "long"),
        ("big", "long"),
        ("n", "int"),
        ("code", "string"),
        ("cat", "string"),
        ("x", "double"),
        ("nothing", "int"),
    )
)
ROWS = [
    {"id": number, "big": number * 10, "n": number, "code": f"a{letter}", "cat": cat, "x": number + 0.5}
    for number, letter, cat in ((1, "x", "a"), (2, "y", "b"), (3, "z", "a"), (4, "b", "a"))
]
HALF = {"quantiles": [0.5]}
EVEN = {"values": ["a", "b"], "weights": [0.75, 0.25]}
FIGURES = {"max": (4, 5), "mean": (2, 4), "median": (2, 4), "min": (1, 2), "stdev": (1, 2), "sum": (11, 13)}


def of(column: str, **kwargs: object) -> dict[str, object]:
    return {"column": column, **kwargs}


def pair(one: str, two: str, **kwargs: object) -> dict[str, object]:
    return {"column_A": one, "column_B": two, **kwargs}


def several(*columns: str, **kwargs: object) -> dict[str, object]:
    return {"column_list": list(columns), **kwargs}


# Arguments that hold, and such that do not. After the common beginning `expect_`.
CASES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    **{
        f"column_{name}_to_be_between": (of("x", min_value=low, max_value=high), of("x", min_value=high))
        for name, (low, high) in FIGURES.items()
    },
    "column_distinct_values_to_be_in_set": (of("cat", value_set=["a", "b", "c"]), of("cat", value_set=["a"])),
    "column_distinct_values_to_contain_set": (of("cat", value_set=["a"]), of("cat", value_set=["z"])),
    "column_distinct_values_to_equal_set": (of("cat", value_set=["a", "b"]), of("cat", value_set=["a"])),
    "column_kl_divergence_to_be_less_than": (
        of("cat", partition_object=EVEN, threshold=0.1),
        of("cat", partition_object={**EVEN, "weights": [0.01, 0.99]}, threshold=0.1),
    ),
    "column_most_common_value_to_be_in_set": (
        of("cat", value_set=["a"], ties_okay=True),
        of("cat", value_set=["b"]),
    ),
    "column_pair_values_a_to_be_greater_than_b": (pair("big", "id"), pair("id", "big", or_equal=True)),
    "column_pair_values_to_be_equal": (pair("id", "n"), pair("id", "big", mostly=0.5)),
    "column_proportion_of_non_null_values_to_be_between": (of("x", min_value=1), of("nothing", min_value=0.5)),
    "column_proportion_of_unique_values_to_be_between": (of("id", min_value=1), of("cat", min_value=0.9)),
    "column_quantile_values_to_be_between": (
        of("x", quantile_ranges={**HALF, "value_ranges": [[2, 4]]}),
        of("x", quantile_ranges={**HALF, "value_ranges": [[7, 9]]}),
    ),
    "column_unique_value_count_to_be_between": (of("cat", min_value=2, max_value=2), of("cat", min_value=3)),
    "column_value_lengths_to_be_between": (of("code", min_value=2), of("code", max_value=1, mostly=0.5)),
    "column_value_lengths_to_equal": (of("code", value=2), of("code", value=3)),
    "column_value_z_scores_to_be_less_than": (
        of("x", threshold=3, double_sided=True),
        of("x", threshold=0.1, double_sided=True),
    ),
    "column_values_to_be_between": (of("x", min_value=1, strict_min=True), of("x", min_value=2, mostly=0.9)),
    "column_values_to_be_in_set": (of("cat", value_set=["a", "b"]), of("cat", value_set=["a"])),
    "column_values_to_be_null": (of("nothing"), of("x")),
    "column_values_to_be_unique": (of("id"), of("cat")),
    "column_values_to_match_like_pattern": (of("code", like_pattern="a%"), of("code", like_pattern="%x")),
    "column_values_to_match_like_pattern_list": (
        of("code", like_pattern_list=["a%", "z%"]),
        of("code", like_pattern_list=["a%", "%x"], match_on="all"),
    ),
    "column_values_to_match_regex": (of("code", regex="[xyzb]"), of("code", regex="x")),
    "column_values_to_match_regex_list": (
        of("code", regex_list=["^a", "^z"], match_on="any"),
        of("code", regex_list=["^a", "x"], match_on="all"),
    ),
    "column_values_to_not_be_in_set": (of("cat", value_set=["z"]), of("cat", value_set=["b"])),
    "column_values_to_not_be_null": (of("x"), of("nothing")),
    "column_values_to_not_match_like_pattern": (of("code", like_pattern="z%"), of("code", like_pattern="%x")),
    "column_values_to_not_match_like_pattern_list": (
        of("code", like_pattern_list=["z%"]),
        of("code", like_pattern_list=["%x"]),
    ),
    "column_values_to_not_match_regex": (of("code", regex="q"), of("code", regex="x")),
    "column_values_to_not_match_regex_list": (of("code", regex_list=["q"]), of("code", regex_list=["x"])),
    "compound_columns_to_be_unique": (several("id", "cat"), several("cat", "constant")),
    "multicolumn_sum_to_equal": (several("id", "left", sum_total=5), several("id", "n", sum_total=3)),
    "select_column_values_to_be_unique_within_record": (several("id", "big"), several("id", "n")),
    "table_row_count_to_be_between": ({"min_value": 4}, {"max_value": 3}),
    "table_row_count_to_equal": ({"value": 4}, {"value": 3}),
}


def test_every_expectation_of_the_list_passes_and_fails(
    table: Callable[..., Table], fill: Callable[..., None], judge: Callable[..., dict[str, Finding]]
) -> None:
    assert {f"expect_{name}" for name in CASES} == set(EXPECTATIONS)
    columns = (*COLUMNS, Column("left", "long"), Column("constant", "string"))
    rules = [
        TableRule(
            f"{name}_{outcome}",
            TableRuleKind.EXPECTATION,
            tuple(str(kwargs["column"]) for _ in "1" if "column" in kwargs),
            {"type": f"expect_{name}", "kwargs": kwargs},
        )
        for name, case in CASES.items()
        for outcome, kwargs in zip(("passed", "failed"), case, strict=True)
    ]
    orders = table("silver.expected", *rules, columns=columns)
    fill(orders, [{**row, "left": 5 - int(row["id"]), "constant": "c"} for row in ROWS])
    found = judge(orders)
    # A wrong argument would show as an error.
    assert {name: str(one) for name, one in found.items() if one.outcome is Outcome.ERROR} == {}
    assert [name for name, one in found.items() if not name.endswith(one.outcome)] == []
    assert found["column_values_to_be_in_set_failed"].failed == 1
    assert found["column_values_to_be_in_set_failed"].sample == ({"cat": "b"},)
    assert found["column_mean_to_be_between_failed"].observed == "found 3"


@pytest.fixture
def place() -> Place:
    return Document.parse(Path("orders.yaml"), "quality:\n  - {type: custom}\n").top


def test_what_the_tests_run_is_what_contracts_may_say(place: Place) -> None:
    for name, case in CASES.items():
        for kwargs in case:
            check_expectation(f"expect_{name}", kwargs, place)


@pytest.mark.parametrize(
    ("expectation", "kwargs", "said"),
    [
        ("expect_column_values_to_be_nul", {"column": "x"}, "Did you mean 'expect_column_values_to_be_null'"),
        ("expect_column_values_to_be_of_type", {"column": "x", "type_": "int"}, "unknown expectation"),
        ("unexpected_rows_expectation", {}, "unknown expectation"),
        ("expect_column_values_to_be_null", {}, "column"),
        ("expect_column_values_to_be_null", {"column": "x", "mosty": 1}, "Did you mean 'mostly'"),
        ("expect_column_values_to_be_null", {"column": "x", "mostly": 2}, "a share"),
        ("expect_column_values_to_be_null", {"column": ""}, "text"),
        ("expect_column_max_to_be_between", {"column": "x"}, "min_value or max_value"),
        ("expect_column_max_to_be_between", {"column": "x", "min_value": "2026-01-01"}, "a number"),
        ("expect_column_max_to_be_between", {"column": "x", "min_value": True}, "a number"),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": []}, "a list"),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": [None]}, "a list"),
        ("expect_column_quantile_values_to_be_between", {"column": "x", "quantile_ranges": {}}, "quantiles"),
        ("expect_compound_columns_to_be_unique", {"column_list": "x"}, "a list"),
    ],
)
def test_others_are_refused_by_name(place: Place, expectation: str, kwargs: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError) as caught:
        check_expectation(expectation, kwargs, place)
    assert said in str(caught.value)
    assert "orders.yaml:" in str(caught.value)
