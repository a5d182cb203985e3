from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.scaffold.candidate import CandidateColumn, Sample, table_word
from lakehouse.scaffold.profile import ColumnProfile, Profile, profile
from lakehouse.scaffold.types import postgres_type
from lakehouse.sources.postgres.catalog import CatalogColumn


def profiled(columns: dict[str, pa.Array], *, complete: bool = True) -> Profile:
    rows = pa.table(columns)
    return profile(Sample(rows, complete), [CandidateColumn(name) for name in rows.column_names])


def seen(values: list[object], name: str = "x") -> ColumnProfile:
    return profiled({name: pa.array(values)}).columns[name]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-20", "0", None], "long"),
        (["9223372036854775807"], "long"),
        (["9223372036854775808"], "double"),
        (["007", "123"], "string"),
        (["+49", "12"], "string"),
        (["1_000"], "string"),
        (["0x1F"], "string"),
        (["1.5", "2"], "double"),
        (["1e3", "2.25"], "double"),
        (["00.5"], "string"),
        (["true", "False"], "boolean"),
        (["yes", "no"], "string"),
        (["t", "f"], "string"),
        (["2026-01-31", "2025-12-01"], "date"),
        (["2026-02-30"], "string"),
        (["31.01.2026"], "string"),
        (["2026-01-31T10:00:00Z", "2026-01-31 10:00:00+02:00"], "timestamptz"),
        (["2026-01-31T10:00:00", "2026-01-31 10:00:00.5"], "timestamp"),
        (["2026-01-31T10:00:00", "2026-01-31T10:00:00Z"], "timestamptz"),
        (["2026-01-31", "2026-01-31T10:00:00Z"], "string"),
        (["1", "one"], "string"),
        (["NaN", "1.0"], "string"),
        ([None, None], "string"),
        ([" 12 "], "string"),
    ],
)
def test_text_is_of_the_type_that_all_of_it_is_meant_as(values: list[str | None], expected: str) -> None:
    assert profiled({"x": pa.array(values, pa.string())}).columns["x"].type == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["12.30", "7"], "decimal(18, 2)"),
        (["12", "7"], "decimal(18, 2)"),
        (["12.345"], "double"),
        (["1e2"], "double"),
        (["12345678901234567"], "long"),
    ],
)
def test_money_is_exact_to_the_cent_where_it_can_be(values: list[str], expected: str) -> None:
    assert seen([*values], "unit_price").type == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2], pa.int16()), "int"),
        (pa.array([1, 2], pa.uint32()), "long"),
        (pa.array([1, 2], pa.uint64()), "decimal(20, 0)"),
        (pa.array([1.5], pa.float32()), "float"),
        (pa.array(["1.25"]).cast(pa.decimal128(9, 3)), "decimal(9, 3)"),
        (pa.array([0], pa.date32()), "date"),
        (pa.array([0], pa.timestamp("ms")), "timestamp"),
        (pa.array([0], pa.timestamp("us", "Europe/Berlin")), "timestamptz"),
        (pa.array([b"x"]), "binary"),
        (pa.array([[1, 2]]), "string"),
        (pa.array([{"a": 1}]), "string"),
        (pa.array([1], pa.time64("us")), "time"),
    ],
)
def test_typed_columns_keep_their_types(array: pa.Array, expected: str) -> None:
    found = profiled({"x": array}).columns["x"]
    assert (found.type, found.misfits) == (expected, 0)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (CatalogColumn("x", "integer", False, "int4", "N"), "int"),
        (CatalogColumn("x", "numeric(10,2)", False, "numeric", "N", 10, 2), "decimal(10, 2)"),
        (CatalogColumn("x", "numeric(50,2)", False, "numeric", "N", 50, 2), "string"),
        (CatalogColumn("x", "numeric(3,-2)", False, "numeric", "N", 3, -2), None),
        (CatalogColumn("x", "numeric", False, "numeric", "N"), None),
        (CatalogColumn("x", "jsonb", False, "jsonb", "U"), "string"),
        (CatalogColumn("x", "uuid", False, "uuid", "U"), "string"),
        (CatalogColumn("x", "timestamp without time zone", False, "timestamp", "D"), "timestamp"),
    ],
)
def test_a_database_says_the_type_itself(column: CatalogColumn, expected: str | None) -> None:
    assert postgres_type(column) == expected


def test_figures_of_a_column() -> None:
    found = seen(["b", "a", None, "b"])
    assert (found.nulls, found.distinct, found.values) == (1, 2, ("a", "b"))
    assert (seen([3, 1, 2]).minimum, seen([3, 1, 2]).maximum) == (1, 3)


def test_a_nan_leaves_a_column_without_limits() -> None:
    assert seen([1.0, float("nan")]).minimum is None


def test_a_word_for_nothing_is_told_apart_from_texts() -> None:
    assert (seen(["2004", "NA"]).blank, seen(["2004", "NA"]).without_blank) == ("NA", "long")
    assert seen(["NA", "EU"]).blank is None
    assert seen(["NA"]).blank is None


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ({"name": ["a", "b"], "customer_id": ["2", "1"]}, ("customer_id",)),
        ({"code": ["a", "b"], "name": ["x", "y"]}, ("code",)),
        ({"weight": ["1.5", "2.5"], "kind": ["a", "a"]}, ()),
        ({"code": ["a", None], "kind": ["x", "y"]}, ("kind",)),
        ({"place": ["a", "a", "b", "b"], "day": ["1", "2", "1", "2"]}, ("place", "day")),
        ({"place": ["a", "a"], "day": ["1", "1"]}, ()),
        ({"code": ["a"]}, ()),
    ],
)
def test_what_identifies_a_row(columns: dict[str, list[str | None]], key: tuple[str, ...]) -> None:
    assert profiled({name: pa.array(values) for name, values in columns.items()}).key == key


def test_no_key_is_concluded_from_a_part_of_the_rows() -> None:
    assert profiled({"id": pa.array([1, 2, 3])}, complete=False).key == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Order Items (2024)", "order_items_2024"),
        ("OrderItems", "order_items"),
        ("2024-sales", "t_2024_sales"),
        ("é", "t"),
    ],
)
def test_any_text_becomes_a_name(text: str, word: str) -> None:
    assert table_word(text) == word
