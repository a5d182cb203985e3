"""Names and windows: the values that everything else is addressed by."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import SettingsError
from lakehouse.tables import Layer, Strategy, Table, TableName, Window
from lakehouse.tables.sql import literal, quote
from lakehouse.tables.window import spans

DAYS = st.dates(date(2020, 1, 1), date(2020, 3, 31))
NAMES = st.builds(TableName, st.sampled_from(Layer), st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True))


@given(st.sets(DAYS))
def test_spans_hold_the_days_and_no_others(days: set[date]) -> None:
    assert [day for window in spans(days) for day in window.days] == sorted(days)


@given(st.sets(DAYS))
def test_spans_are_as_few_as_can_be(days: set[date]) -> None:
    found = spans(days)
    for before, after in pairwise(found):
        assert before.end < after.start
    assert spans(day for window in found for day in window.days) == found


@given(st.lists(DAYS, min_size=1))
def test_the_order_and_number_of_days_do_not_matter(days: list[date]) -> None:
    assert spans(days) == spans(reversed(days)) == spans(days + days)


@given(DAYS, st.integers(0, 60))
def test_a_window_of_days_holds_both_ends(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    window = Window.of_days(first, last)
    days = list(window.days)
    assert (days[0], days[-1], len(days)) == (first, last, length + 1)
    assert window.end not in days


@given(DAYS, st.integers(0, 60))
def test_an_empty_or_reversed_window_is_refused(start: date, back: int) -> None:
    with pytest.raises(ValueError, match="at least one day"):
        Window(start, start - timedelta(days=back))


def test_a_window_reads_as_what_it_is() -> None:
    assert str(Window.of_days(date(2026, 1, 1), date(2026, 1, 2))) == "[2026-01-01, 2026-01-03)"
    assert spans([]) == ()


@pytest.mark.parametrize(
    ("name", "window", "strategy", "follows"),
    [
        ("silver.orders", "day", Strategy.OVERWRITE, True),
        ("gold.sales", "day", Strategy.OVERWRITE, True),
        ("silver.orders", "day", Strategy.APPEND, False),
        ("silver.orders", None, Strategy.REPLACE, False),
        ("bronze.orders", "day", Strategy.OVERWRITE, False),
    ],
)
def test_only_a_daily_table_that_overwrites_its_days_follows_by_days(
    name: str, window: str | None, strategy: Strategy, *, follows: bool
) -> None:
    table = Table(TableName.parse(name), "test", "", (), Path("test.yaml"), window_column=window, strategy=strategy)
    assert table.follows_by_days is follows


@given(NAMES)
def test_a_name_is_read_as_it_is_written(name: TableName) -> None:
    assert TableName.parse(str(name)) == name
    assert ".".join(name.key) == str(name)


@pytest.mark.parametrize(
    "text", ["", "orders", "silver", "silver.", ".orders", "gold.a.b", "iron.orders", "Silver.orders", "silver.Orders",
             "silver.1st", "silver.or ders", "silver.orders;drop", " silver.orders", "silver.orders\n"],
)  # fmt: skip
def test_anything_else_is_no_name(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a table name") as refused:
        TableName.parse(text)
    assert "bronze, silver, gold" in (refused.value.expected or "")


@given(st.lists(NAMES))
def test_names_have_one_order(names: list[TableName]) -> None:
    assert [str(name) for name in sorted(names)] == sorted(str(name) for name in names)


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_quoted_text_cannot_end_its_quotes(text: str) -> None:
    import duckdb

    with duckdb.connect() as connection:
        row = connection.execute(f"select {literal(text)} as {quote(text)}")
        assert [column[0] for column in row.description or ()] == [text]
        assert row.fetchall() == [(text,)]
