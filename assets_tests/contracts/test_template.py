"""A contract that was rendered is read back as the table it was rendered from, and looks as people write it."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts import read_tables, render_contract
from lakehouse.tables import Column, Layer, LoadPolicy, Strategy, Table, TableName

QUIET = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def read_back(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TableName, str], Table]:
    numbers = count()

    def read(name: TableName, text: str) -> Table:
        folder = tmp_path_factory.getbasetemp() / f"rendered{next(numbers)}"
        path = folder / "shop" / name.layer.value / f"{name.table}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
        return read_tables([folder])[name]

    return read


TYPES = st.sampled_from(
    [
        "boolean",
        "int",
        "long",
        "float",
        "double",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "string",
        "uuid",
        "binary",
        "fixed[16]",
    ]
) | st.tuples(st.integers(1, 38), st.integers(0, 38)).filter(lambda p: p[1] <= p[0]).map(lambda p: f"decimal{p}")
WORDS = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\n\t:#'\"1e"), max_size=12)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True) | st.sampled_from(["no", "null", "1e5", "date", "a b"])
COLUMNS = st.lists(
    st.builds(Column, NAMES, TYPES, st.booleans(), WORDS, st.booleans()),
    min_size=1,
    max_size=5,
    unique_by=lambda c: c.name,
)


@QUIET
@given(
    columns=COLUMNS,
    description=WORDS.filter(str.strip),
    owners=st.lists(st.emails(), min_size=1, max_size=2),
    options=st.dictionaries(st.sampled_from(keyword.kwlist), WORDS | st.integers() | st.lists(WORDS)),
    limit=st.sampled_from([0.05, 0.2, 1e-7]),
    hours=st.none() | st.integers(1, 9999),
)
def test_a_bronze_table_comes_back(  # noqa: PLR0913, PLR0917  (each is drawn)
    read_back: Callable[[TableName, str], Table], columns: list[Column], description: str, owners: list[str],
    options: dict[str, object], limit: float, hours: int | None,
) -> None:  # fmt: skip
    name = TableName(Layer.BRONZE, "things")
    load = LoadPolicy("shop", options, limit)
    fresh = None if hours is None else timedelta(minutes=hours)
    text = render_contract(name, "shop", columns, description=description, owners=owners, load=load, fresh_within=fresh)
    table = read_back(name, text)
    assert table.columns == tuple(columns)
    assert table.description == description.strip()
    assert table.owners == tuple(owners)
    assert table.load == load
    assert table.fresh_within == fresh


def test_a_windowed_model_comes_back(read_back: Callable[[TableName, str], Table]) -> None:
    name = TableName(Layer.GOLD, "days")
    columns = [
        Column("day", "date", required=True),
        Column("shop", "string", required=True),
        Column("n", "long", unique=True),
    ]
    text = render_contract(
        name, "shop", columns, description="Days", owners=["team@example.com"], primary_key=["shop", "day"],
        window=("day", date(2026, 1, 1)), strategy=Strategy.OVERWRITE,
    )  # fmt: skip
    table = read_back(name, text)
    assert table.columns == tuple(columns)
    assert table.primary_key == ("shop", "day")
    assert (table.window_column, table.window_start, table.strategy) == ("day", date(2026, 1, 1), Strategy.OVERWRITE)


def test_it_reads_as_people_write() -> None:
    text = render_contract(
        TableName(Layer.BRONZE, "orders"),
        "shop",
        [
            Column("order_id", "long", required=True, description="Number of the order"),
            Column("amount", "decimal(12, 2)"),
            Column("email", "string", personal=True),
        ],
        description="Orders as the shop holds them.",
        owners=["shop-team@example.com"],
        primary_key=["order_id"],
        load=LoadPolicy("shop", {"table": "public.orders", "watermark": "updated_at"}),
        window=("order_date", date(2026, 1, 1)),
        fresh_within=timedelta(hours=24),
    )
    assert text == Path(__file__).with_name("orders.expected.yaml").read_text("utf-8")
